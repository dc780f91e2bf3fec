//! What a worker and an agent tell over `GET /report`.

mod agent;

pub use agent::{AgentReport, ConnectionReport, Finding, JobReport, LagReport, LedgerReport, PlanCheck, TableReport};

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The state of one worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerReport {
    /// Format of this structure: 1.
    pub version: u32,
    /// Identity of the worker process (random, new at every start).
    pub worker: String,
    /// `namespace/name` of the job.
    pub job: String,
    /// Hash of the plan at work.
    pub plan_hash: String,
    /// Generation of the plan at work.
    pub generation: i64,
    /// What it is doing.
    pub phase: Phase,
    /// Why it does not get on, when it does not: `Reason: message`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The partitions that this worker owns now.
    pub partitions: Vec<PartitionReport>,
    /// Sums since the worker started.
    pub totals: Totals,
    /// The last commits of this worker, newest first, at most ten.
    pub commits: Vec<CommitReport>,
    /// Tail of the ledger as last seen: the sequence number of its newest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_tail: Option<u64>,
    /// Commits that are decided and whose files are not all visible yet.
    pub unpublished: u64,
    /// Bytes of the memory budget in use.
    pub memory_used: u64,
    /// The memory budget in bytes.
    pub memory_budget: u64,
    /// When this was written.
    pub time: Timestamp,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Opening the ledger, joining the group.
    Starting,
    /// At work.
    Running,
    /// A window failed and waits for its next try.
    Retrying,
    /// Committing what is open before it leaves.
    Draining,
    /// A bounded run is done.
    Completed,
    /// It stopped; `trouble` says why.
    Stopped,
}

/// One owned partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionReport {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Next offset to commit, by the ledger.
    pub committed: i64,
    /// Next offset to read.
    pub position: i64,
    /// End offset (last stable offset), when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// `end - committed`, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
}

/// Sums of records, files and bytes. Always `read = written + filtered + dead`, unless a plan aggregates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Records read, of committed batches.
    pub read: u64,
    /// Rows written.
    pub written: u64,
    /// Records that a filter removed.
    pub filtered: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of keys and values read.
    pub bytes_read: u64,
    /// Bytes of the files written.
    pub bytes_written: u64,
    /// Files written.
    pub files: u64,
    /// Batches committed.
    pub batches: u64,
    /// Batches that the ledger voided.
    pub voided: u64,
    /// Windows that failed and were tried again.
    pub retried: u64,
}

/// One commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitReport {
    /// Sequence number in the ledger.
    pub seq: u64,
    /// Id of the batch.
    pub batch: String,
    /// When it was decided.
    pub time: Timestamp,
    /// Records read.
    pub read: u64,
    /// Rows written.
    pub written: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Partition to next offset.
    pub positions: BTreeMap<i32, i64>,
}
