//! `StreamingJob`: reads a topic, transforms its records, and writes each of them exactly once into a table.

mod source;
mod status;
mod transform;
mod workers;

pub use source::{JobSource, StartPositionSpec, StartPositionType};
pub use status::{
    AutoscalingDecision, AutoscalingStatus, CheckpointStatus, JobTotals, Lag, LastCommit, PartitionLag, ReplayStatus,
    RunStatus, StreamingJobStatus, Summary, WorkersStatus,
};
pub use transform::{Aggregate, AggregateWindow, Explode, Flatten, OnError, Scope, Step};
pub use workers::{Autoscaling, AutoscalingMode, ResourceList, Resources, Workers};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data_catalog_table::DataCatalogTableSpec;
use crate::plan::Mode;
use crate::reference::{LocalRef, ObjectStoreLocation, Texts, optional_texts};
use crate::units::{Duration, Size};

/// A job: a source, transforms and a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "StreamingJob",
    namespaced,
    category = "sluice",
    shortname = "sj",
    status = "StreamingJobStatus",
    derive = "PartialEq",
    doc = "A StreamingJob reads a Kafka topic in windows, transforms the records, and writes each of them exactly once into a table. \
        Records that cannot be processed are kept aside with their reason.",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 52")
        .message("the name of a StreamingJob has at most 52 characters, because the names of its pods are made from it"),
    scale(
        spec_replicas_path = ".spec.workers.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "WORKERS", type_ = "string", json_path = ".status.summary.workers"),
    printcolumn(name = "LAG", type_ = "integer", json_path = ".status.lag.records"),
    printcolumn(name = "LAST-COMMIT", type_ = "date", json_path = ".status.lastCommit.time"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "SOURCE", type_ = "string", json_path = ".status.summary.source", priority = 1),
    printcolumn(name = "SINK", type_ = "string", json_path = ".status.summary.sink", priority = 1),
    printcolumn(name = "DEAD", type_ = "integer", json_path = ".status.totals.dead", priority = 1),
    printcolumn(name = "RATE", type_ = "string", json_path = ".status.summary.rate", priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.autoscaling) || !has(self.workers) || !has(self.workers.replicas)")
        .message("workers.replicas and autoscaling exclude each other: remove one of them"),
    validation = Rule::new("!has(self.schedule) || has(self.mode) && self.mode == 'UntilCaughtUp'")
        .message("schedule needs mode: UntilCaughtUp, because a continuous job never ends")
)]
pub struct StreamingJobSpec {
    /// Stop the job without losing its place: the open window is committed, then all workers leave. With `false` again it goes on exactly
    /// there. Default: false. Example: `true`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// `Continuous` (runs until it is suspended or deleted) or `UntilCaughtUp` (reads to the end offsets that it saw at the start, then
    /// completes). Default: `Continuous`. Example: `UntilCaughtUp`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Start runs of mode `UntilCaughtUp` at these times; never two at once. Not supported yet.
    /// Example: `{cron: "15 3 * * *", timeZone: Europe/Berlin}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// A run that takes longer is stopped and marked as failed with the reason `TimedOut`. Default: none. Not supported yet.
    /// Example: `48h`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Values for `${name}` in transforms. They are put in as literals, never as SQL text. Example: `{minAmount: "0"}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_texts")]
    pub parameters: Option<Texts>,
    /// What is read: a table with a `kafka` location. Example: `{tableRef: {name: transactions-raw}}`
    pub source: JobSource,
    /// When a batch is closed. Default: after 100s. Example: `{period: 5m, maxRecords: 1000000}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// What is done to the records, step by step, in order; one member for each step. Default: nothing.
    /// Example: `[{filter: "amount > 0"}, {drop: [metadata]}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub transforms: Option<Vec<Step>>,
    /// Where rows go: a table with an `objectStore` location. Example: `{tableRef: {name: transactions}}`
    pub sink: JobSink,
    /// Where a record goes that cannot be decoded, transformed or written, together with the reason. Default: none; such a record stops
    /// the job. Example: `{objectStore: {url: "s3://lake/dead-letter/transactions/", connectionRef: {name: lake}}, maxPercent: 5}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
    /// Where the job keeps its place: the ledger of what was read and written. Default: beside the sink, as
    /// `<parent of the sink's url>/_sluice/<namespace>.<name>/`, with the sink's connection. Needed when the sink is a topic or is at the
    /// root of a bucket. Do not change it while the job has data to go on from.
    /// Example: `{url: "s3://lake/checkpoints/transactions/", connectionRef: {name: lake}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<ObjectStoreLocation>,
    /// How often a failing window is tried again. Default: three times, from 10s on. Example: `{perWindow: 5, backoff: 30s}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// How many workers there are, and what they get. Default: one worker. Example: `{replicas: 2, resources: {limits: {memory: 512Mi}}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<Workers>,
    /// Let the lag decide on the number of workers. Excludes `workers.replicas`. Not supported yet.
    /// Example: `{minReplicas: 1, maxReplicas: 12}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Read again from an earlier (or go to a later) place; done once for each nonce. Not supported yet.
    /// Example: `{nonce: 1, from: {type: Timestamp, time: "2026-01-31T00:00:00Z"}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
    /// Change this number to restart all workers, one after the other. It changes nothing else. Default: 0. Example: `1`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub restart_nonce: Option<i64>,
}

/// When runs start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    /// Minute, hour, day of the month, month, day of the week. Example: `15 3 * * *`
    #[schemars(length(min = 1, max = 128))]
    pub cron: String,
    /// The zone in which `cron` is read, by its IANA name. Default: UTC. Example: `Europe/Berlin`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// How late a run may still start, when the run before it took longer or the operator was away. Default: 10m. Example: `30m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline: Option<Duration>,
}

/// When a batch is closed: whatever comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// How long a window stays open, from 1s to 12h. Default: 100s. Longer windows make fewer and larger files, shorter ones make data
    /// visible sooner. Example: `5m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('12h')")
        .message("window.period must be from 1s to 12h"))]
    pub period: Option<Duration>,
    /// Close the window after so many records of one worker. Default: no limit. Example: `1000000`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub max_records: Option<i64>,
    /// Close the window after so many bytes of keys and values of one worker, as a quantity. Default: no limit. Example: `1Gi`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Size>,
}

/// Where rows go: exactly one of `tableRef` and `table`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.tableRef), has(self.table)].exists_one(x, x)")
    .message("exactly one of tableRef and table must be given"))]
pub struct JobSink {
    /// A DataCatalogTable of this namespace. Example: `{name: transactions}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_ref: Option<LocalRef>,
    /// The spec of a DataCatalogTable, written here: for a table that is nobody else's.
    /// Example: `{database: payments, location: {objectStore: {url: "s3://lake/payments/transactions/", connectionRef: {name: lake}}}, format: {parquet: {}}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<DataCatalogTableSpec>,
}

/// Where refused records go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// The folder. It must not be inside of the sink's folder, where readers would take its files for rows.
    /// Example: `{url: "s3://lake/dead-letter/transactions/", connectionRef: {name: lake}}`
    pub object_store: ObjectStoreLocation,
    /// Percent of the records read in a batch of at least 100, from 0 to 100. Above it the job stalls, instead of emptying a topic into the
    /// dead letters. Default: no limit. Example: `5`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_percent: Option<f64>,
}

/// How often a failing window is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// Tries after the first one; then the job stalls with the reason `RetriesExhausted`. Default: 3. Example: `5`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub per_window: Option<i32>,
    /// The wait before the first retry. It doubles for each further one, up to five minutes. Default: 10s. Example: `30s`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// Read again from another place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// A number that is higher than that of the replay before. A replay is done once for each nonce. Example: `1`
    #[schemars(range(min = 1))]
    pub nonce: i64,
    /// Where all partitions go on. Example: `{type: Earliest}`
    pub from: StartPositionSpec,
}
