//! The plan of a job: everything a worker needs, with all references resolved and all defaults filled in, and nothing secret.
//!
//! `resolve` makes it; the operator stores it in a ConfigMap, `sluice run` keeps it in memory, and the ledger keeps a
//! copy under its hash, because a file of a commit can be made again only with the plan that made it.

mod format;
mod read;

pub use format::{ParquetCompatibility, ParquetCompression, SinkFormat};
pub use read::PlanError;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::types::HiveType;

/// The format of this structure. A worker refuses a plan of a format that it does not know.
pub const PLAN_VERSION: u32 = 1;

/// A job, ready to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobPlan {
    /// [`PLAN_VERSION`] of the program that made it.
    pub version: u32,
    /// Whose plan this is.
    pub job: JobIdentity,
    /// Does it end by itself?
    pub mode: Mode,
    /// What is read.
    pub source: SourcePlan,
    /// When a batch is closed.
    pub window: WindowPlan,
    /// The values of `${name}` in transforms.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The steps, in order.
    #[serde(default)]
    pub transforms: Vec<TransformStep>,
    /// Where rows go.
    pub sink: SinkPlan,
    /// Where refused records go; none: a refused record stops the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetterPlan>,
    /// Where the ledger lives.
    pub checkpoint: Location,
    /// How often a failing window is tried again.
    pub retries: RetriesPlan,
    /// Bytes that a worker may hold in prefetch, open row groups and parts in flight.
    pub memory_budget: u64,
}

impl JobPlan {
    /// The files of Secrets that a worker reads.
    pub fn secret_files(&self) -> BTreeSet<SecretFile> {
        let dead_letter = self.dead_letter.as_ref().map(|dead| &dead.location);
        let stores = [Some(&self.sink.location), Some(&self.checkpoint), dead_letter];
        let stores = stores.into_iter().flatten().filter_map(|location| location.s3.as_ref());
        self.source.kafka.secret_files().into_iter().chain(stores.flat_map(S3Plan::secret_files)).collect()
    }

    /// The names of the connections that a worker uses: that of the source, and those of the stores.
    pub fn connections(&self) -> (&str, BTreeSet<&str>) {
        let dead_letter = self.dead_letter.as_ref().map(|dead| &dead.location);
        let stores = [Some(&self.sink.location), Some(&self.checkpoint), dead_letter];
        let stores = stores.into_iter().flatten().filter_map(|store| Some(store.s3.as_ref()?.connection.as_str()));
        (&self.source.kafka.connection, stores.collect())
    }
}

impl KafkaPlan {
    /// The files of Secrets that a client reads.
    pub fn secret_files(&self) -> BTreeSet<SecretFile> {
        let certificates = self.tls.iter().flat_map(|tls| tls.trusted_certificates.iter().cloned());
        certificates.chain(self.authentication.iter().flat_map(KafkaAuthentication::secret_files)).collect()
    }
}

impl S3Plan {
    /// The files of Secrets that a client reads.
    pub fn secret_files(&self) -> BTreeSet<SecretFile> {
        let keys = self.credentials.iter().flat_map(|keys| [&keys.access_key_id, &keys.secret_access_key]);
        self.trusted_certificates.iter().chain(keys).cloned().collect()
    }
}

impl KafkaAuthentication {
    fn secret_files(&self) -> Vec<SecretFile> {
        match self {
            Self::Tls { certificate, key } => vec![certificate.clone(), key.clone()],
            Self::Plain { password, .. } | Self::ScramSha256 { password, .. } | Self::ScramSha512 { password, .. } => {
                vec![password.clone()]
            }
        }
    }
}

/// The name of a plan in the ledger: the first 32 hexadecimal digits of a SHA-256 over its canonical JSON.
///
/// Two plans with one hash make the same rows and files from the same records. So what changes neither is left out: the
/// generation, the memory budget, retries, the window and the mode. A change of these needs no new plan in the ledger.
pub fn plan_hash(plan: &JobPlan) -> String {
    // A plan has only text as keys, so that it always becomes JSON.
    let mut value = serde_json::to_value(plan).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        for name in ["memoryBudget", "retries", "window", "mode"] {
            members.remove(name);
        }
        if let Some(job) = members.get_mut("job").and_then(Value::as_object_mut) {
            job.remove("generation");
        }
    }
    let text = canonical_json(&value);
    let mut hash = format!("{:x}", Sha256::digest(text.as_bytes()));
    hash.truncate(32);
    hash
}

/// JSON without white space, with the members of objects in the order of their names: the same text for the same value, whoever wrote it.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    text
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            for (index, (name, member)) in members.into_iter().enumerate() {
                text.push(if index == 0 { '{' } else { ',' });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(member, text);
            }
            text.push_str(if value.as_object().is_some_and(serde_json::Map::is_empty) { "{}" } else { "}" });
        }
        Value::Array(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(element, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Whose plan it is. The ledger belongs to this identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobIdentity {
    /// UID of the cluster's `kube-system` namespace, or `local`.
    pub cluster: String,
    /// `metadata.namespace`; `default` where a manifest has none.
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.generation`; absent in local runs, where a changed plan takes the generation after the ledger's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// Does the job end by itself?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum Mode {
    /// Runs until it is stopped.
    Continuous,
    /// Reads to the end offsets that were seen at the start, then completes.
    UntilCaughtUp,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourcePlan {
    /// How to reach the brokers.
    pub kafka: KafkaPlan,
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group_id: String,
    /// Where partitions without a position begin.
    pub start_position: StartPosition,
    /// What to do when a position is not in the topic any more.
    pub on_offset_out_of_range: OnOffsetOutOfRange,
    /// Adds the struct column `_kafka`.
    #[serde(default)]
    pub kafka_metadata: bool,
    /// How a value is decoded.
    pub format: SourceFormat,
    /// The declared columns, in order.
    pub columns: Vec<ColumnPlan>,
}

/// How a Kafka value is decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceFormat {
    /// One JSON object for each message.
    Json {},
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnPlan {
    /// The name; case is kept everywhere.
    pub name: String,
    /// The type.
    #[serde(rename = "type")]
    pub type_: HiveType,
    /// May the value be null?
    pub nullable: bool,
}

/// Where partitions without a position begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum StartPosition {
    /// The first record that the topic still has.
    Earliest,
    /// The end, as seen when the job first starts.
    Latest,
    /// The first record at or after this time.
    Timestamp {
        /// The time.
        time: jiff::Timestamp,
    },
}

/// What to do when a position is not in the topic any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum OnOffsetOutOfRange {
    /// Stop and say so.
    Stall,
    /// Go on at the first record there is, and record the gap in the ledger.
    Earliest,
    /// Go on at the end, and record the gap in the ledger.
    Latest,
}

/// A file of a mounted secret: `<secrets dir>/<secret_name>/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretFile {
    /// Name of the Secret.
    pub secret_name: String,
    /// Key inside of the Secret.
    pub key: String,
}

/// How to reach the brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaPlan {
    /// Name of the Connection, for messages.
    pub connection: String,
    /// `host:port`, one or more.
    pub bootstrap_servers: Vec<String>,
    /// Present: TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPlan>,
    /// Present: log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<KafkaAuthentication>,
    /// Further librdkafka properties; those that Sluice owns were refused.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// TLS of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsPlan {
    /// CA certificates in PEM; none: the system's.
    #[serde(default)]
    pub trusted_certificates: Vec<SecretFile>,
    /// Compare the server's name with its certificate.
    pub hostname_verification: bool,
}

/// How a Kafka client logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum KafkaAuthentication {
    /// A client certificate.
    Tls {
        /// The certificate chain in PEM.
        certificate: SecretFile,
        /// The private key in PEM.
        key: SecretFile,
    },
    /// SASL PLAIN.
    Plain {
        /// The user.
        username: String,
        /// The password.
        password: SecretFile,
    },
    /// SASL SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256 {
        /// The user.
        username: String,
        /// The password.
        password: SecretFile,
    },
    /// SASL SCRAM-SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512 {
        /// The user.
        username: String,
        /// The password.
        password: SecretFile,
    },
}

/// When a batch is closed: whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WindowPlan {
    /// The time that a window stays open.
    pub period: Duration,
    /// Records of one worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_records: Option<u64>,
    /// Bytes of keys and values of one worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// One step of the transforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TransformStep {
    /// Keep the rows for which this SQL expression is true.
    Filter(String),
    /// Add or replace columns; all expressions see the step's input.
    Derive(BTreeMap<String, String>),
    /// Keep these expressions (`a`, `b AS c`), in this order.
    Select(Vec<String>),
    /// Old name to new name.
    Rename(BTreeMap<String, String>),
    /// Drop these columns.
    Drop(Vec<String>),
    /// Column to type; lossless, or the record is refused.
    Cast(BTreeMap<String, HiveType>),
    /// Groups over one batch.
    Aggregate {
        /// Grouping expressions, in order.
        group_by: Vec<String>,
        /// Output column to aggregate expression.
        select: BTreeMap<String, String>,
    },
    /// One SELECT over the table `input`.
    Sql {
        /// The text.
        query: String,
        /// The user accepts that GROUP BY, DISTINCT and LIMIT see one batch.
        batch_scope: bool,
    },
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkPlan {
    /// The root of the table.
    pub location: Location,
    /// The file format.
    pub format: SinkFormat,
    /// Declared columns; none: whatever the plan yields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<ColumnPlan>>,
    /// The folders of the Hive layout, outermost first. Not among `columns`.
    #[serde(default)]
    pub partition_keys: Vec<ColumnPlan>,
}

/// A folder in an object store, or (in local runs) in a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// `s3://bucket/prefix/` or `file:///folder/`; always ends with a slash.
    pub url: String,
    /// How to reach it; absent for `file://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Plan>,
}

/// How to reach an S3 endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Plan {
    /// Name of the Connection, for messages.
    pub connection: String,
    /// `http(s)://host:port`; absent: AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// Bucket in the path (`true`) or in the host name.
    pub path_style: bool,
    /// Keys; absent: the pod's own identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<S3Credentials>,
    /// CA certificates in PEM; none: the system's.
    #[serde(default)]
    pub trusted_certificates: Vec<SecretFile>,
}

/// Keys of an S3 user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Credentials {
    /// The access key id.
    pub access_key_id: SecretFile,
    /// The secret access key.
    pub secret_access_key: SecretFile,
}

/// Where refused records go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterPlan {
    /// The folder.
    pub location: Location,
    /// Percent of the records of a batch (of at least 100) above which the job stalls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_percent: Option<f64>,
}

/// How often a failing window is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetriesPlan {
    /// Tries after the first.
    pub per_window: u32,
    /// Wait before the first retry; doubles for each further one, up to five minutes.
    pub backoff: Duration,
}
