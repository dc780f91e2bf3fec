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
    /// The `metadata.generation` that this status is about; -1: nobody looked yet.
    #[serde(default = "reference::nobody_looked")]
    pub observed_generation: i64,
    /// `Ready`, `ConfigValid`, `LagWithinTarget`, `ScalingLimited` and `DeadLettersPresent`; `Reconciling` and `Stalled` only when true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reference::conditions")]
    pub conditions: Vec<Condition>,
    /// How far behind the job is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// The number of workers that should and that do run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkersStatus>,
    /// The number of worker pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The label selector of the worker pods, for the scale subresource.
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub runs: Vec<RunStatus>,
    /// What the lag says about the number of workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingStatus>,
    /// The last replay that was done.
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
    /// End offset minus committed position, over all partitions.
    pub records: i64,
    /// The age of the oldest record that is not committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// The number of partitions.
    pub partitions: i32,
    /// The partitions that are furthest behind, at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub worst: Vec<PartitionLag>,
    /// When this was measured.
    pub observed_time: Time,
}

/// How far behind a partition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to commit.
    pub committed: i64,
    /// The end offset.
    pub end: i64,
    /// `end - committed`.
    pub lag: i64,
}

/// The number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkersStatus {
    /// That should run.
    pub desired: i32,
    /// That run and own partitions.
    pub ready: i32,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastCommit {
    /// Its number in the ledger.
    pub seq: i64,
    /// The id of its batch.
    pub batch: String,
    /// When it was decided.
    pub time: Time,
    /// Records read.
    pub records: i64,
    /// Files written.
    pub files: i64,
    /// Bytes of the files.
    pub bytes: i64,
}

/// Sums over the life of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobTotals {
    /// Records read.
    pub read: i64,
    /// Rows written.
    pub written: i64,
    /// Records that a filter removed.
    pub filtered: i64,
    /// Dead letters.
    pub dead: i64,
    /// Bytes of the files.
    pub bytes: i64,
    /// Batches committed.
    pub batches: i64,
}

/// Where the ledger is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointStatus {
    /// Its folder, resolved.
    pub url: String,
    /// The number of its newest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
}

/// One run of mode `UntilCaughtUp`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its id.
    pub id: String,
    /// When it started.
    pub start_time: Time,
    /// When it ended; absent: it is going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// How it ended: `Completed`, or the reason of its failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Records read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<i64>,
}

/// What the lag says about the number of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingStatus {
    /// The number that is right now.
    pub recommended: i32,
    /// Why.
    pub reason: String,
    /// The last five changes, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub history: Vec<AutoscalingDecision>,
}

/// One change of the number of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalingDecision {
    /// When.
    pub time: Time,
    /// From this number.
    pub from: i32,
    /// To this number.
    pub to: i32,
    /// Why.
    pub reason: String,
}

/// A replay that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayStatus {
    /// Its nonce.
    pub nonce: i64,
    /// When it was done.
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
