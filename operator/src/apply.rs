//! Server-side apply of one object, without ever taking what belongs to somebody else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use serde_json::json;
use sluice_crds::reference::ObjectKey;

use crate::error::Error;
use crate::live::Live;
use crate::names::MANAGER;
use crate::object::{Address, Object, Trace};

/// Whose an object is.
#[derive(Debug, Clone)]
pub enum Owner {
    /// One object is the controller of what it owns.
    Controller {
        /// Kind of the owner.
        kind: &'static str,
        /// The owner.
        key: ObjectKey,
        /// Its UID.
        uid: String,
    },
    /// All objects of one kind in the namespace own it together.
    Shared {
        /// Kind of the owners.
        kind: &'static str,
    },
}

/// What a live object is to us.
#[derive(Debug, PartialEq, Eq)]
enum Claim {
    Ours,
    /// It belonged to an owner of the same name that was deleted.
    Orphan,
    Foreign,
}

impl Owner {
    fn claim(&self, trace: &Trace) -> Claim {
        match self {
            Self::Controller { kind, key, uid } => {
                match trace.owners.iter().find(|owner| owner.controller == Some(true)) {
                    Some(owner) if owner.uid == *uid => Claim::Ours,
                    Some(owner) if owner.kind == *kind && owner.name == key.name => Claim::Orphan,
                    _ => Claim::Foreign,
                }
            }
            Self::Shared { kind } => {
                let ours = trace.managed && trace.owners.iter().all(|owner| owner.kind == *kind);
                if ours { Claim::Ours } else { Claim::Foreign }
            }
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Controller { kind, key, .. } => format!("{kind} {key}"),
            Self::Shared { kind } => format!("the {kind}s of the namespace"),
        }
    }
}

/// No object has this version: the first revision of etcd is older than all of them. An apply with it makes an object, and is refused
/// when there is one, whoever made it.
const NONE_YET: &str = "1";

/// Makes an object what it should be; does nothing when it is so already.
pub async fn apply(client: &Client, live: &Live, owner: &Owner, object: &Object) -> Result<(), Error> {
    let (hash, address) = (object.hash(), &object.address);
    if live.is_applied(address, &hash) {
        return Ok(());
    }
    // What is ours is in the cache. So what is not there is most likely nowhere, and nobody needs to ask before. Only what can be changed
    // at once is believed: of what leaves, the cache may not know yet that it is gone.
    let changeable = |trace: &Trace| owner.claim(trace) == Claim::Ours && !trace.leaving;
    let known = match live.get(address).filter(changeable) {
        Some(trace) => Some(trace),
        None => match create(client, object).await {
            Err(kube::Error::Api(status)) if status.code == 409 => look(client, object).await?,
            answer => return applied(live, address, hash, answer),
        },
    };
    let Some(known) = known else {
        // It is gone again, or it is not this object that the API server has a conflict about: a quota, for example.
        return applied(live, address, hash, create(client, object).await);
    };
    match owner.claim(&known) {
        Claim::Foreign => Err(conflict(owner, address)),
        // With its UID: an object that was made again in the meantime is not the one that we looked at.
        Claim::Ours if !known.leaving => {
            applied(live, address, hash, patch(client, object, json!({"uid": known.uid()}), true).await)
        }
        Claim::Ours | Claim::Orphan => {
            Err(Error::StillDeleting { kind: address.kind.clone(), key: address.key.clone() })
        }
    }
}

/// An apply that is refused when there is such an object.
async fn create(client: &Client, object: &Object) -> Result<ObjectMeta, kube::Error> {
    patch(client, object, json!({"resourceVersion": NONE_YET}), false).await
}

/// One apply, under a precondition in its metadata.
async fn patch(
    client: &Client,
    object: &Object,
    precondition: serde_json::Value,
    force: bool,
) -> Result<ObjectMeta, kube::Error> {
    let mut body = object.body.clone();
    for (name, value) in precondition.as_object().into_iter().flatten() {
        body["metadata"][name] = value.clone();
    }
    let parameters = PatchParams { force, ..PatchParams::apply(MANAGER) };
    let answer = object.api(client).patch_metadata(&object.address.key.name, &parameters, &Patch::Apply(&body)).await;
    answer.map(|applied| applied.metadata)
}

fn applied(live: &Live, address: &Address, hash: String, answer: Result<ObjectMeta, kube::Error>) -> Result<(), Error> {
    match answer {
        Ok(metadata) => {
            tracing::debug!(kind = address.kind, object = %address.key, "applied");
            live.applied(address.clone(), hash, &metadata);
            Ok(())
        }
        Err(source) => {
            match &source {
                // It is not the object that we knew.
                kube::Error::Api(status) if matches!(status.code, 404 | 409) => live.gone(address),
                _ => live.forget(address),
            }
            Err(Error::Apply { kind: address.kind.clone(), key: address.key.clone(), source })
        }
    }
}

/// The object that the cache does not show: one of somebody else, or ours, when the watch is late.
async fn look(client: &Client, object: &Object) -> Result<Option<Trace>, Error> {
    let address = &object.address;
    match object.api(client).get_metadata_opt(&address.key.name).await {
        Ok(found) => Ok(found.map(|found| Trace::of(&found.metadata))),
        Err(source) => Err(Error::Read { kind: address.kind.clone(), key: address.key.clone(), source }),
    }
}

fn conflict(owner: &Owner, address: &Address) -> Error {
    Error::NameConflict { kind: address.kind.clone(), key: address.key.clone(), owner: owner.name() }
}

/// Changes some fields of an object that is known to be ours.
pub async fn change(
    client: &Client,
    live: &Live,
    object: &Object,
    uid: &str,
    fields: &serde_json::Value,
) -> Result<(), Error> {
    let mut body = fields.clone();
    body["metadata"]["uid"] = json!(uid);
    let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let address = &object.address;
    // It is not as it was applied any more.
    live.forget(address);
    match object.api(client).patch(&address.key.name, &parameters, &Patch::Merge(&body)).await {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Apply { kind: address.kind.clone(), key: address.key.clone(), source }),
    }
}

/// Deletes an object that is known to be ours. It stays until what it owns is gone. One that is gone is fine.
pub async fn delete(client: &Client, object: &Object, uid: &str) -> Result<(), Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    let parameters = DeleteParams {
        preconditions: Some(preconditions),
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::default()
    };
    let address = &object.address;
    match object.api(client).delete(&address.key.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(source) => Err(Error::Delete { kind: address.kind.clone(), key: address.key.clone(), source }),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;
    use crate::testing::FakeApi;

    const PATH: &str = "/api/v1/namespaces/etl/services/a";

    fn owner() -> Owner {
        Owner::Controller { kind: "StreamingJob", key: ObjectKey::new("etl", "a"), uid: "u".to_owned() }
    }

    fn service(port: i32) -> Object {
        let owner = json!({"kind": "StreamingJob", "name": "a", "uid": "u", "controller": true, "apiVersion": "v1"});
        let spec = json!({"spec": {"ports": [{"port": port}]}});
        Object::new::<Service>(ObjectKey::new("etl", "a"), json!({"ownerReferences": [owner]}), spec)
    }

    #[tokio::test]
    async fn an_object_that_is_gone_without_a_word_is_made_again() {
        let (api, live) = (FakeApi::default(), Live::default());
        let client = api.client();
        apply(&client, &live, &owner(), &service(1)).await.expect("made");
        api.remove(PATH);
        apply(&client, &live, &owner(), &service(2)).await.expect_err("it is not there");
        apply(&client, &live, &owner(), &service(2)).await.expect("made again");
        assert_eq!(api.get(PATH).expect("a service")["spec"]["ports"][0]["port"], 2);
    }

    #[tokio::test]
    async fn a_conflict_about_something_else_is_no_conflict_of_names() {
        let (api, live) = (FakeApi::default(), Live::default());
        let client = api.client();
        // As a quota answers that others use at the same moment: for changes, not for questions.
        api.refuse_changes("services", 409);
        let error = apply(&client, &live, &owner(), &service(1)).await.expect_err("refused");
        assert!(matches!(error, Error::Apply { .. }), "{error}");
        api.allow_everything();
        apply(&client, &live, &owner(), &service(1)).await.expect("made");
    }
}
