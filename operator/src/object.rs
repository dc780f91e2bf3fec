//! An object as it is applied: JSON, with what is needed to address it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client, Resource};
use serde_json::Value;
use sluice_crds::reference::ObjectKey;

use crate::names;

/// A kind and a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The kind, such as `ConfigMap`.
    pub kind: String,
    /// Namespace and name.
    pub key: ObjectKey,
}

/// An object that should be there.
#[derive(Debug, Clone)]
pub struct Object {
    /// What it is called.
    pub address: Address,
    /// Where it is served.
    pub resource: ApiResource,
    /// All of it.
    pub body: Value,
}

impl Object {
    /// An object of this kind. `parts` are its members besides kind and metadata, such as `spec`; `metadata` are added to.
    pub fn new<K: Resource<DynamicType = ()>>(key: ObjectKey, metadata: Value, parts: Value) -> Self {
        let mut body = parts;
        body["apiVersion"] = K::api_version(&()).into();
        body["kind"] = K::kind(&()).into();
        body["metadata"] = metadata;
        body["metadata"]["name"] = key.name.as_str().into();
        body["metadata"]["namespace"] = key.namespace.as_str().into();
        let address = Address { kind: K::kind(&()).into_owned(), key };
        Self { address, resource: ApiResource::erase::<K>(&()), body }
    }

    /// An object that is there already: only its name matters.
    pub fn existing<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::new::<K>(
            ObjectKey::of(object.meta()),
            Value::Object(serde_json::Map::new()),
            Value::Object(serde_json::Map::new()),
        )
    }

    /// Its address in the API.
    pub fn api(&self, client: &Client) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), &self.address.key.namespace, &self.resource)
    }

    /// Changes with everything that would be applied.
    pub fn hash(&self) -> String {
        names::hash(self.body.to_string().as_bytes())
    }
}

/// What stands on the ConfigMap of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut {
    /// Hash of the plan.
    pub hash: String,
    /// Its generation.
    pub generation: i64,
}

impl HandedOut {
    fn of(metadata: &ObjectMeta) -> Option<Self> {
        let annotation = |name: &str| metadata.annotations.as_ref()?.get(name);
        let generation = annotation(names::PLAN_GENERATION)?.parse().ok()?;
        Some(Self { hash: annotation(names::PLAN_HASH)?.clone(), generation })
    }
}

/// What is remembered of a live object: whose it is, and which state of it this was. Of a thousand jobs there are six thousand, and the
/// whole metadata, with who manages which field, would take twenty times the memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// Which state of it.
    pub mark: Mark,
    /// Is it on its way out?
    pub leaving: bool,
    /// Does its label say that we made it?
    pub managed: bool,
    /// Whose it is.
    pub owners: Vec<OwnerReference>,
    /// Which plan it hands out.
    pub plan: Option<HandedOut>,
}

impl Trace {
    /// The trace of these metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let labels = metadata.labels.as_ref();
        let managed = labels.and_then(|labels| labels.get("app.kubernetes.io/managed-by"));
        Self {
            mark: Mark::of(metadata),
            leaving: metadata.deletion_timestamp.is_some(),
            managed: managed.is_some_and(|by| by == names::MANAGER),
            owners: metadata.owner_references.clone().unwrap_or_default(),
            plan: HandedOut::of(metadata),
        }
    }

    /// The UID of the object.
    pub fn uid(&self) -> Option<&str> {
        self.mark.uid.as_deref()
    }
}

/// Tells apart the states of a live object. Where the API server counts generations, a change of status is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    uid: Option<String>,
    version: String,
}

impl Mark {
    /// The mark of these metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        let version = metadata.generation.map(|generation| generation.to_string());
        let version = version.or_else(|| metadata.resource_version.clone()).unwrap_or_default();
        Self { uid: metadata.uid.clone(), version }
    }

    /// Is this a later state of the same object? What cannot be compared is not.
    pub fn is_later_state_of(&self, other: &Self) -> bool {
        let numbers = (self.version.parse::<u64>(), other.version.parse::<u64>());
        self.uid == other.uid && matches!(numbers, (Ok(ours), Ok(others)) if ours > others)
    }
}
