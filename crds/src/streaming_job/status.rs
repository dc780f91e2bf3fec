//! What is known of a job.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference;

/// What is known of a job. `Ready` is about data that was committed, not about pods that exist.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct StreamingJobStatus {
    /// The `metadata.generation` that this status is about; -1: nobody looked yet. Example: `7`
    #[serde(default = "reference::nobody_looked")]
    pub observed_generation: i64,
    /// `Ready`, `ConfigValid`, `LagWithinTarget`, `ScalingLimited` and `DeadLettersPresent`; `Reconciling` and `Stalled` only when true.
    /// Example: `[{type: Ready, status: "True", reason: Running, message: "2 of 2 workers own all 12 partitions", lastTransitionTime: "2026-01-31T10:15:00Z"}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reference::conditions")]
    pub conditions: Vec<Condition>,
    /// How far behind the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// The number of workers that should and that do run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkersStatus>,
    /// The number of worker pods, for the scale subresource. Example: `2`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The label selector of the worker pods, for the scale subresource. Example: `sluice.dev/job=transactions`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The last commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<LastCommit>,
    /// Sums over the life of the job, by its ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<JobTotals>,
    /// Where the ledger is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointStatus>,
    /// The last ten runs of mode `UntilCaughtUp`, newest first.
    /// Example: `[{id: 1f0c9a3e, startTime: "2026-01-31T03:15:00Z", completionTime: "2026-01-31T03:21:40Z", reason: Completed, records: 1200000}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub runs: Vec<RunStatus>,
    /// What the lag says about the number of workers. Not told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// The last replay that was done. Not told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayStatus>,
    /// Texts for the printer columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// How far behind a job is. Committed positions are those of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// End offset minus committed position, over all partitions. Example: `1500`
    pub records: i64,
    /// The age of the oldest record that is not committed. Example: `42`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// The number of partitions. Example: `12`
    pub partitions: i32,
    /// The partitions that are furthest behind, at most five.
    /// Example: `[{topic: transactions, partition: 3, committed: 10500, end: 12000, lag: 1500}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub worst: Vec<PartitionLag>,
    /// When this was measured. Example: `2026-01-31T10:15:00Z`
    pub observed_time: Time,
}

/// How far behind a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionLag {
    /// The topic. Example: `transactions`
    pub topic: String,
    /// The partition. Example: `3`
    pub partition: i32,
    /// The next offset to commit. Example: `10500`
    pub committed: i64,
    /// The end offset. Example: `12000`
    pub end: i64,
    /// `end - committed`. Example: `1500`
    pub lag: i64,
}

/// The number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkersStatus {
    /// That should run. Example: `2`
    pub desired: i32,
    /// That run and own partitions. Example: `2`
    pub ready: i32,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCommit {
    /// Its number in the ledger. Example: `1041`
    pub seq: i64,
    /// The id of its batch. Example: `3f9a1c0752bd884e00064f2b8c1d2e40`
    pub batch: String,
    /// When it was decided. Example: `2026-01-31T10:15:00Z`
    pub time: Time,
    /// Records read. Example: `120000`
    pub records: i64,
    /// Files written. Example: `4`
    pub files: i64,
    /// Bytes of the files. Example: `7340032`
    pub bytes: i64,
}

/// Sums over the life of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobTotals {
    /// Records read. Example: `86400000`
    pub read: i64,
    /// Rows written. Example: `86000000`
    pub written: i64,
    /// Records that a filter removed. Example: `399900`
    pub filtered: i64,
    /// Dead letters. Example: `100`
    pub dead: i64,
    /// Bytes of the files. Example: `5368709120`
    pub bytes: i64,
    /// Batches committed. Example: `864`
    pub batches: i64,
}

/// Where the ledger is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// Its folder, resolved. Example: `s3://lake/payments/_sluice/etl.transactions/`
    pub url: String,
    /// The number of its newest record. Example: `1042`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
}

/// One run of mode `UntilCaughtUp`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its id. Example: `1f0c9a3e`
    pub id: String,
    /// When it started. Example: `2026-01-31T03:15:00Z`
    pub start_time: Time,
    /// When it ended; absent: it is going on. Example: `2026-01-31T03:21:40Z`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// How it ended: `Completed`, or the reason of its failure. Example: `Completed`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Records read. Example: `1200000`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
}

/// What the lag says about the number of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// The number that is right now. Example: `4`
    pub recommended: i32,
    /// Why. Example: `CatchingUp`
    pub reason: String,
    /// The last five changes, newest first. Example: `[{time: "2026-01-31T10:15:00Z", from: 2, to: 4, reason: CatchingUp}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub history: Vec<AutoscalingDecision>,
}

/// One change of the number of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingDecision {
    /// When. Example: `2026-01-31T10:15:00Z`
    pub time: Time,
    /// From this number. Example: `2`
    pub from: i32,
    /// To this number. Example: `4`
    pub to: i32,
    /// Why. Example: `CatchingUp`
    pub reason: String,
}

/// A replay that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayStatus {
    /// Its nonce. Example: `1`
    pub nonce: i64,
    /// When it was done. Example: `2026-01-31T10:15:00Z`
    pub time: Time,
}

/// Texts for the printer columns, which cannot compute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Ready of desired. Example: `2/2`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<String>,
    /// What is read. Example: `onprem/transactions`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where rows go. Example: `s3://lake/payments/transactions/`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    /// Records in a second. Example: `12.3k/s`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
}
