//! `Connection`: one endpoint, and how to log in there.
//!
//! A connection names Secrets and never holds a secret value. Exactly one of its members says what kind of endpoint it is.

mod kafka;
mod s3;

pub use kafka::{
    KafkaAuthenticationSpec, KafkaAuthenticationType, KafkaConnection, RegistryAuthentication, SchemaRegistry,
};
pub use s3::{AccessStyle, EncryptionType, S3Connection, S3Encryption};

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::SecretFile;
use crate::reference::{self, is_secret_key, is_secret_name};
use crate::units::Duration;

/// One endpoint: exactly one of `kafka` and `s3`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "Connection",
    namespaced,
    category = "sluice",
    shortname = "conn",
    status = "ConnectionStatus",
    derive = "PartialEq",
    doc = "A Connection is one endpoint, Kafka or S3, and how to log in there. Tables and jobs of the same namespace name it.",
    cel,
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "PROBED", type_ = "date", json_path = ".status.lastProbeTime"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "CERTIFICATE-EXPIRY", type_ = "string", json_path = ".status.certificateExpiry", priority = 1)
)]
#[x_kube(validation = Rule::new("[has(self.kafka), has(self.s3)].exists_one(x, x)")
    .message("exactly one of kafka and s3 must be given"))]
pub struct ConnectionSpec {
    /// A Kafka cluster, or anything that speaks its protocol. Example: `{bootstrapServers: ["kafka.streaming.svc:9092"]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaConnection>,
    /// An S3 endpoint: AWS, MinIO, Ceph or another one that knows conditional writes (`If-None-Match`).
    /// Example: `{region: eu-central-1}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Connection>,
    /// How often the connection is tested besides after each change of the spec or of its secrets. Example: `{period: 1m}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl ConnectionSpec {
    /// The files of Secrets that this connection names, whatever a release makes of them. What can be no name is left out: a volume with it
    /// would be refused as a whole, and with it the pod of all other connections.
    pub fn secret_files(&self) -> BTreeSet<SecretFile> {
        let mut files = BTreeSet::new();
        let mut add = |secret: &str, keys: &[&str]| {
            let keys = keys.iter().filter(|key| is_secret_name(secret) && is_secret_key(key));
            files.extend(keys.map(|key| SecretFile { secret_name: secret.to_owned(), key: (*key).to_owned() }));
        };
        let kafka = self.kafka.as_ref();
        let s3 = self.s3.as_ref();
        let registry = kafka.and_then(|kafka| kafka.schema_registry.as_ref());
        let tls = [
            kafka.and_then(|kafka| kafka.tls.as_ref()),
            s3.and_then(|s3| s3.tls.as_ref()),
            registry.and_then(|registry| registry.tls.as_ref()),
        ];
        for certificate in tls.into_iter().flatten().flat_map(|tls| tls.trusted_certificates.iter().flatten()) {
            add(&certificate.secret_name, &[&certificate.certificate]);
        }
        let login = kafka.and_then(|kafka| kafka.authentication.as_ref());
        let basic = registry.and_then(|registry| registry.authentication.as_ref()).map(|basic| &basic.password_secret);
        for it in login.and_then(|login| login.password_secret.as_ref()).into_iter().chain(basic) {
            add(&it.secret_name, &[&it.password]);
        }
        if let Some(it) = login.and_then(|login| login.certificate_and_key.as_ref()) {
            add(&it.secret_name, &[&it.certificate, &it.key]);
        }
        if let Some(it) = login.and_then(|login| login.client_secret.as_ref()) {
            add(&it.secret_name, &[&it.key]);
        }
        let keys = s3.and_then(|s3| s3.credentials.as_ref());
        for it in login.and_then(|login| login.credentials.as_ref()).into_iter().chain(keys) {
            add(&it.secret_name, &[&it.access_key_id, &it.secret_access_key]);
        }
        files
    }
}

/// When a connection is tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Time between two tests, as a duration of at least 10s. Default: 5m. Example: `1m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')")
        .message("probe.period must be at least 10s"))]
    pub period: Option<Duration>,
}

/// What the last test found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct ConnectionStatus {
    /// The `metadata.generation` that this status is about; -1: nobody looked yet. Example: `3`
    #[serde(default = "reference::nobody_looked")]
    pub observed_generation: i64,
    /// `Ready`, with the cause as its reason (`Connected`, `SecretNotFound`, `Unreachable`, `CertificateInvalid`,
    /// `AuthenticationFailed`, `AuthorizationFailed`, `ConditionalWritesUnsupported`) and the server's own words as its message.
    /// Example: `[{type: Ready, status: "False", reason: Unreachable, message: "connection refused", lastTransitionTime: "2026-01-31T10:15:00Z"}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reference::conditions")]
    pub conditions: Vec<Condition>,
    /// What is known of the Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaFindings>,
    /// What is known of the S3 endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Findings>,
    /// When the first of the certificates concerned expires. Example: `2026-12-31T23:59:59Z`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiry: Option<Time>,
    /// When the connection was last tested. Example: `2026-01-31T10:15:00Z`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe_time: Option<Time>,
    /// The tables and jobs that name this connection, as `Kind/name`, at most 50.
    /// Example: `[DataCatalogTable/transactions, StreamingJob/transactions]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub used_by: Vec<String>,
}

/// What is known of a Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaFindings {
    /// The id of the cluster, as the brokers tell it. Example: `MkU3OEVBNTcwNTJENDM2Qg`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The number of brokers. Example: `3`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brokers: Option<i64>,
    /// The time of one metadata request and its answer. Example: `12ms`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<Duration>,
}

/// What is known of an S3 endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Findings {
    /// Does the endpoint refuse a second create of the same key? Exactly once needs it. Example: `true`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditional_writes: Option<bool>,
    /// Do multipart uploads work? Example: `true`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart: Option<bool>,
    /// How far the endpoint's clock is from ours, without its direction. Signatures fail from 15m on. Example: `150ms`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(spec: &str) -> Vec<String> {
        let spec: ConnectionSpec = serde_saphyr::from_str(spec).expect("a connection");
        spec.secret_files().into_iter().map(|file| format!("{}/{}", file.secret_name, file.key)).collect()
    }

    #[test]
    fn every_secret_that_a_connection_names_is_found() {
        let kafka = "
kafka:
  bootstrapServers: [a:1]
  tls: {trustedCertificates: [{secretName: ca, certificate: ca.crt}]}
  authentication: {type: tls, certificateAndKey: {secretName: me, certificate: tls.crt, key: tls.key}}
  schemaRegistry:
    url: https://r
    authentication: {username: u, passwordSecret: {secretName: registry, password: p}}
    tls: {trustedCertificates: [{secretName: rca, certificate: ca.crt}]}";
        assert_eq!(files(kafka), ["ca/ca.crt", "me/tls.crt", "me/tls.key", "rca/ca.crt", "registry/p"]);
        let login = |login: &str| files(&format!("kafka: {{bootstrapServers: [a:1], authentication: {login}}}"));
        assert_eq!(login("{type: plain, username: u, passwordSecret: {secretName: s, password: p}}"), ["s/p"]);
        assert_eq!(
            login("{type: oauthbearer, tokenEndpointUri: t, clientId: c, clientSecret: {secretName: s, key: k}}"),
            ["s/k"]
        );
        let keys = "{secretName: s, accessKeyId: i, secretAccessKey: k}";
        assert_eq!(login(&format!("{{type: aws-msk-iam, region: r, credentials: {keys}}}")), ["s/i", "s/k"]);
        assert_eq!(files(&format!("s3: {{region: r, credentials: {keys}}}")), ["s/i", "s/k"]);
        assert_eq!(files("s3: {region: r}"), Vec::<String>::new());
        let wrong = "s3: {region: r, credentials: {secretName: s, accessKeyId: ../../i, secretAccessKey: k}}";
        assert_eq!(files(wrong), ["s/k"], "a path is no key");
        assert_eq!(files(&wrong.replace("secretName: s", "secretName: ../s")), Vec::<String>::new());
    }
}
