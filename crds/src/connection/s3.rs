//! The S3 side of a connection.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{CredentialsRef, Tls};

/// An S3 endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.region) || has(self.endpoint)")
        .message("AWS needs a region, such as eu-central-1; another server needs an endpoint, such as http://minio.storage:9000")
)]
pub struct S3Connection {
    /// The root of the server, as `http://host:port` or `https://host:port`. Omit it for AWS. Example: `http://minio.storage:9000`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("self.startsWith('http://') || self.startsWith('https://')")
        .message("endpoint must begin with http:// or https://"))]
    pub endpoint: Option<String>,
    /// The region. Needed for AWS; with an `endpoint` the default is `us-east-1`, which most servers take. Example: `eu-central-1`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Where the bucket's name stands: `Path` (`http://host/bucket/key`) or `VirtualHosted` (`http://bucket.host/key`). Default:
    /// `Path` with an `endpoint`, because few servers have a name for each bucket; `VirtualHosted` for AWS. Example: `Path`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_style: Option<AccessStyle>,
    /// Access keys in a Secret. Default: the pod's own identity (IRSA, Pod Identity), or the environment in local runs.
    /// Example: `{secretName: lake, accessKeyId: accessKeyId, secretAccessKey: secretAccessKey}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsRef>,
    /// Certificate authorities that are trusted besides those of the system, for an `https://` endpoint.
    /// Example: `{trustedCertificates: [{secretName: corp-ca, certificate: ca.crt}]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Encryption on the server, asked for with each object. Default: the bucket's own. Not supported yet. Example: `{type: SSE-S3}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<S3Encryption>,
}

/// Where the bucket's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum AccessStyle {
    /// In the path.
    Path,
    /// In the host's name.
    VirtualHosted,
}

/// Encryption on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.type == 'SSE-KMS' || !has(self.keyId)")
    .message("keyId belongs to type SSE-KMS"))]
pub struct S3Encryption {
    /// `SSE-S3` (keys of the server) or `SSE-KMS` (a key of a key management service). Example: `SSE-KMS`
    #[serde(rename = "type")]
    pub type_: EncryptionType,
    /// The key, for `SSE-KMS`. Default: the account's own key for S3.
    /// Example: `arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub key_id: Option<String>,
}

/// Who has the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum EncryptionType {
    /// The server.
    #[serde(rename = "SSE-S3")]
    SseS3,
    /// A key management service.
    #[serde(rename = "SSE-KMS")]
    SseKms,
}
