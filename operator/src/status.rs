//! Writing a status: server-side apply of the subresource, to the very object that was looked at.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sluice_crds::reference::ObjectKey;

use crate::context::Context;
use crate::error::Error;
use crate::events;
use crate::names::MANAGER;

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
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        // An object that was made again under the same name is another one.
        "metadata": {"name": key.name, "namespace": key.namespace, "uid": uid},
        "status": status,
    });
    // Of the answer, nothing but the metadata is of interest.
    let api: Api<PartialObjectMeta<K>> = Api::namespaced(context.client.clone(), &key.namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    match api.patch_status(&key.name, &parameters, &Patch::Apply(&body)).await {
        Ok(answer) => {
            context.metrics.status_written(kind);
            // When it was there already, the watch shows nothing new.
            if let Some(base) =
                object.resource_version().filter(|base| answer.resource_version().as_ref() != Some(base))
            {
                context.wrote(&uid, base);
            }
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
