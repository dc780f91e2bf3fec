//! Writing a status: server-side apply of the subresource, to the very object that was looked at.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sluice_crds::reference::ObjectKey;

use crate::context::Context;
use crate::error::Error;
use crate::events;
use crate::names::MANAGER;

/// The status that was written last, also while the cache does not show it yet.
pub fn before<K, S>(context: &Context, object: &K, cached: Option<&S>) -> S
where
    K: Resource,
    S: Clone + Default + DeserializeOwned,
{
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    let written = context.last_written(uid, object.meta().resource_version.as_deref());
    let written = written.and_then(|status| serde_json::from_value(status).ok());
    written.or_else(|| cached.cloned()).unwrap_or_default()
}

/// Writes a status and tells of the transitions.
pub async fn write<K, S>(
    context: &Context,
    kind: &'static str,
    object: &K,
    status: &S,
    conditions: (&[Condition], &[Condition]),
) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let key = ObjectKey::of(object.meta());
    let uid = object.meta().uid.clone().unwrap_or_default();
    let status = json!(status);
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // An object that was made again under the same name is another one.
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
        "status": status,
    });
    let api: Api<K> = Api::namespaced(context.client.clone(), &key.namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    match api.patch_status(&key.name, &parameters, &Patch::Apply(&body)).await {
        Ok(_) => {
            context.metrics.status_written(kind);
            context.wrote(&uid, object.meta().resource_version.clone(), status);
        }
        // It was deleted meanwhile, or deleted and made again: there is nothing to say any more.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => return Ok(()),
        Err(source) => return Err(Error::Status { kind, key, source }),
    }
    let about = object.object_ref(&());
    events::publish(context, &about, events::transitions(conditions.0, conditions.1)).await;
    tracing::debug!(kind, object = %key, name = object.name_any(), "status written");
    Ok(())
}
