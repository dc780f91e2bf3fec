//! The Kafka side of a connection.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{CertificateAndKeyRef, CredentialsRef, PasswordRef, SecretKeyRef, Texts, Tls, optional_texts};

/// A Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.tls) || !has(self.authentication) || !(self.authentication.type in ['tls', 'aws-msk-iam'])")
    .message("authentication of type tls or aws-msk-iam works over TLS only: add tls: {}"))]
pub struct KafkaConnection {
    /// The brokers to ask first, as `host:port`; the others are found through them. Name two or three, so that one may be down.
    /// Example: `["kafka-0.corp:9093", "kafka-1.corp:9093"]`
    #[schemars(length(min = 1, max = 32), inner(length(min = 3, max = 261)))]
    pub bootstrap_servers: Vec<String>,
    /// Present: TLS, also as the empty object `{}`. Omit it for plaintext.
    /// Example: `{trustedCertificates: [{secretName: corp-ca, certificate: ca.crt}]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// How to log in. Omit it where the brokers ask for nothing.
    /// Example: `{type: scram-sha-512, username: etl, passwordSecret: {secretName: etl-user, password: password}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<KafkaAuthenticationSpec>,
    /// The schema registry of this cluster (Confluent's API), for Avro. Not supported yet. Example: `{url: "https://registry.corp"}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_registry: Option<SchemaRegistry>,
    /// Further properties of librdkafka, as texts. Those that Sluice owns are refused by name: `group.id`, `isolation.level`,
    /// `auto.offset.reset`, `security.protocol`, everything of `sasl.` and the certificates of `ssl.`, and some more.
    /// Example: `{fetch.min.bytes: "65536"}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_texts")]
    pub config: Option<Texts>,
}

/// How a Kafka client logs in: a type, and the members that this type needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'tls') == has(self.certificateAndKey)")
        .message("type tls, and no other, needs certificateAndKey: {secretName, certificate, key}"),
    validation = Rule::new("(self.type in ['plain', 'scram-sha-256', 'scram-sha-512']) == has(self.username) && has(self.username) == has(self.passwordSecret)")
        .message("types plain, scram-sha-256 and scram-sha-512, and no others, need username and passwordSecret: {secretName, password}"),
    validation = Rule::new("(self.type == 'oauthbearer') == has(self.tokenEndpointUri) && has(self.clientId) == has(self.tokenEndpointUri) && has(self.clientSecret) == has(self.tokenEndpointUri)")
        .message("type oauthbearer, and no other, needs tokenEndpointUri, clientId and clientSecret: {secretName, key}"),
    validation = Rule::new("(self.type == 'aws-msk-iam') == has(self.region)")
        .message("type aws-msk-iam, and no other, needs region"),
    validation = Rule::new("(self.type == 'oauthbearer' || !has(self.scope)) && (self.type == 'aws-msk-iam' || !has(self.credentials))")
        .message("scope belongs to type oauthbearer, and credentials to type aws-msk-iam")
)]
pub struct KafkaAuthenticationSpec {
    /// One of `tls` (a client certificate), `plain`, `scram-sha-256`, `scram-sha-512`, `oauthbearer` and `aws-msk-iam`. The last two
    /// are not supported yet. Example: `scram-sha-512`
    #[serde(rename = "type")]
    pub type_: KafkaAuthenticationType,
    /// The user, for `plain` and `scram-…`. Example: `etl`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub username: Option<String>,
    /// Where the password is, for `plain` and `scram-…`. Example: `{secretName: etl-user, password: password}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<PasswordRef>,
    /// The client certificate and its key, for `tls`. Example: `{secretName: etl-client, certificate: tls.crt, key: tls.key}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_and_key: Option<CertificateAndKeyRef>,
    /// Where tokens are fetched, for `oauthbearer`. Example: `https://login.corp/oauth2/token`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub token_endpoint_uri: Option<String>,
    /// The client's id, for `oauthbearer`. Example: `etl`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id: Option<String>,
    /// Where the client's secret is, for `oauthbearer`. Example: `{secretName: etl-oauth, key: clientSecret}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretKeyRef>,
    /// The scope that is asked for, for `oauthbearer`. Default: none. Example: `kafka`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub scope: Option<String>,
    /// The AWS region of the cluster, for `aws-msk-iam`. Example: `eu-central-1`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Access keys in a Secret, for `aws-msk-iam`. Default: the pod's own identity (IRSA, Pod Identity).
    /// Example: `{secretName: msk, accessKeyId: accessKeyId, secretAccessKey: secretAccessKey}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsRef>,
}

/// The ways to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = crate::reference::words_only)]
pub enum KafkaAuthenticationType {
    /// A client certificate.
    Tls,
    /// SASL PLAIN.
    Plain,
    /// SASL SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// SASL SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
    /// SASL OAUTHBEARER with a client's credentials.
    Oauthbearer,
    /// AWS MSK IAM.
    AwsMskIam,
}

/// A schema registry that speaks Confluent's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaRegistry {
    /// The root of its API. Example: `https://registry.corp`
    #[schemars(length(min = 1, max = 1024))]
    pub url: String,
    /// A user and a password (HTTP Basic). Default: none.
    /// Example: `{username: etl, passwordSecret: {secretName: etl-registry, password: password}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<RegistryAuthentication>,
    /// Certificate authorities that are trusted besides those of the system, for an `https://` url.
    /// Example: `{trustedCertificates: [{secretName: corp-ca, certificate: ca.crt}]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// HTTP Basic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryAuthentication {
    /// The user. Example: `etl`
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// Where the password is. Example: `{secretName: etl-registry, password: password}`
    pub password_secret: PasswordRef,
}
