//! What resources name one another by, and the pieces of schema that several of them share.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace; `default` where a manifest has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// The key of these two words.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object; a missing namespace is `default`, a missing name is empty.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            metadata.name.clone().unwrap_or_default(),
        )
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The name of another object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object. It is looked up in this object's own namespace. Example: `lake`
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A folder in an object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.url.startsWith('s3:') || has(self.connectionRef)")
    .message("an s3:// url needs a connectionRef: {name: ...} that names an s3 Connection"))]
pub struct ObjectStoreLocation {
    /// The folder, as `s3://bucket/prefix/`. A missing slash at the end is added. `file:///absolute/path/` works in local runs
    /// (`sluice run`) only. Example: `s3://lake/payments/transactions/`
    #[schemars(length(min = 1, max = 1024))]
    pub url: String,
    /// The Connection (of kind `s3`, in this namespace) that says how to reach the bucket. Needed for `s3://`.
    /// Example: `{name: lake}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_ref: Option<LocalRef>,
}

/// A certificate in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRef {
    /// Name of a Secret in this namespace. Example: `corp-ca`
    #[schemars(schema_with = "secret_name")]
    pub secret_name: String,
    /// Key inside of the Secret that holds the PEM text. Example: `ca.crt`
    #[schemars(schema_with = "secret_key")]
    pub certificate: String,
}

/// A certificate and its private key in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAndKeyRef {
    /// Name of a Secret in this namespace. Example: `etl-client`
    #[schemars(schema_with = "secret_name")]
    pub secret_name: String,
    /// Key inside of the Secret that holds the certificate chain in PEM. Example: `tls.crt`
    #[schemars(schema_with = "secret_key")]
    pub certificate: String,
    /// Key inside of the Secret that holds the private key in PEM. Example: `tls.key`
    #[schemars(schema_with = "secret_key")]
    pub key: String,
}

/// A password in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PasswordRef {
    /// Name of a Secret in this namespace. Example: `etl-user`
    #[schemars(schema_with = "secret_name")]
    pub secret_name: String,
    /// Key inside of the Secret that holds the password. This is the name of the key, not the password. Example: `password`
    #[schemars(schema_with = "secret_key")]
    pub password: String,
}

/// A key of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of a Secret in this namespace. Example: `etl-oauth`
    #[schemars(schema_with = "secret_name")]
    pub secret_name: String,
    /// Key inside of the Secret that holds the value. Example: `clientSecret`
    #[schemars(schema_with = "secret_key")]
    pub key: String,
}

/// An access key pair in a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsRef {
    /// Name of a Secret in this namespace. Example: `lake`
    #[schemars(schema_with = "secret_name")]
    pub secret_name: String,
    /// Key inside of the Secret that holds the access key id. Example: `accessKeyId`
    #[schemars(schema_with = "secret_key")]
    pub access_key_id: String,
    /// Key inside of the Secret that holds the secret access key. Example: `secretAccessKey`
    #[schemars(schema_with = "secret_key")]
    pub secret_access_key: String,
}

/// TLS of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// The certificate authorities that are trusted, as PEM in Secrets. Default: those of the system.
    /// Example: `[{secretName: corp-ca, certificate: ca.crt}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub trusted_certificates: Option<Vec<CertificateRef>>,
    /// Compare the server's name with the names in its certificate. Default: true, because without it anybody with any trusted
    /// certificate can be the server. Set it to false only for a server whose certificate cannot be corrected. Example: `true`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname_verification: Option<bool>,
}

/// The name of a Secret: a DNS subdomain, as for most objects.
fn secret_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_NAME,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
            "message": "this is no name of a Secret, which has small letters, digits, hyphens and dots, and begins and ends with a \
                letter or a digit: write the name as kubectl get secrets shows it",
        }],
    })
}

/// The name of a key in a Secret.
fn secret_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": LONGEST_NAME,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",
            "message": "this is no key of a Secret, which has letters, digits, hyphens, underscores and dots, and does not begin with \
                two dots: write the name of the key as kubectl describe secret shows it, and not its value",
        }],
    })
}

/// Names and keys of Secrets in Kubernetes have at most so many characters.
const LONGEST_NAME: usize = 253;

/// Can a Secret have this name? The same as its rule in the schema, for objects that passed by no schema.
pub fn is_secret_name(name: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge);
        ends && bytes.iter().all(|byte| edge(byte) || *byte == b'-')
    };
    name.len() <= LONGEST_NAME && name.split('.').all(label)
}

/// Can a key of a Secret have this name? The same as its rule in the schema.
pub fn is_secret_key(key: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let length = (1..=LONGEST_NAME).contains(&key.len());
    length && key.bytes().all(legal) && key != "." && !key.starts_with("..")
}

/// `status.observedGeneration` of an object at which nobody looked yet.
pub(crate) fn nobody_looked() -> i64 {
    -1
}

/// Takes the description from an enum's schema: in an optional field it would replace the field's own.
pub(crate) fn words_only(schema: &mut Schema) {
    schema.remove("description");
}

/// The members of a condition. What Kubernetes says of them is for those who write conditions.
const CONDITION: [(&str, &str); 6] = [
    ("type", "Which aspect it is. Example: `Ready`"),
    ("status", "`True`, `False` or `Unknown`. Example: `False`"),
    ("reason", "Why, as one word that stays the same in later releases. Example: `SinkUnavailable`"),
    ("message", "Why, in words for people. Example: `2 of 2 workers own all 12 partitions`"),
    ("lastTransitionTime", "Since when the status is what it is. Example: `2026-01-31T10:15:00Z`"),
    ("observedGeneration", "The `metadata.generation` that this condition is about. Example: `7`"),
];

/// Conditions, as a map by type.
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut item = Condition::json_schema(generator);
    item.insert("description".to_owned(), "One aspect of the state of the resource.".into());
    for (name, description) in CONDITION {
        if let Some(property) = item.pointer_mut(&format!("/properties/{name}")) {
            property["description"] = description.into();
        }
    }
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

/// A map of texts with bounds: at most 128 members of at most 8192 characters.
pub(crate) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": {"type": "string", "maxLength": 8192},
    })
}

/// [`texts`], or nothing.
pub(crate) fn optional_texts(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = texts(generator);
    schema.insert("nullable".to_owned(), true.into());
    schema
}

/// A list of short texts with bounds: 1 to 128 of at most 8192 characters; or nothing.
pub(crate) fn optional_list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "nullable": true,
        "minItems": 1,
        "maxItems": 128,
        "items": {"type": "string", "minLength": 1, "maxLength": 8192},
    })
}

/// A map of names to values.
pub type Texts = BTreeMap<String, String>;
