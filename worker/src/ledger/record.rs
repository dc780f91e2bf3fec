//! The records of a ledger, as they lie in object storage.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format of records. A worker that meets another one stops.
pub const RECORD_VERSION: u32 = 1;

/// One object of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`RECORD_VERSION`]
    pub version: u32,
    /// 128 random bits in hex: whose record a slot holds is decided by comparing this.
    pub id: String,
    /// When it was written, by the writer's clock; for people.
    pub time: Timestamp,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Body {
    /// Starting positions of all partitions then known.
    Start(Start),
    /// From here on batches of this plan.
    Plan(PlanChange),
    /// One batch.
    Commit(Commit),
    /// The files of these commits are visible.
    Published(Published),
    /// A lost upload is replaced under the same key.
    Repair(Repair),
    /// A replay that a person asked for, or a gap that retention made.
    Reset(Reset),
    /// A bounded run begins.
    Run(Run),
    /// A bounded run is done.
    RunEnd(RunEnd),
}

/// Starting positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The topic.
    pub topic: String,
    /// Its id, from the broker.
    pub topic_id: String,
    /// Does it start at the first record there is? Then retention may move that record before the first commit.
    pub earliest: bool,
    /// Partition to the first offset that will be read.
    pub positions: BTreeMap<i32, i64>,
}

/// A new plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanChange {
    /// Higher than every generation before.
    pub generation: i64,
    /// Name of the plan in `plans/`.
    pub hash: String,
}

/// One batch: offset ranges in, files out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// The worker process.
    pub worker: String,
    /// Id of the batch; part of the name of each of its files.
    pub batch: String,
    /// Hash of the plan that made it.
    pub plan: String,
    /// When the window opened: `now()` of its transforms.
    pub window_start: Timestamp,
    /// When it closed.
    pub window_end: Timestamp,
    /// What was read.
    pub ranges: Vec<OffsetRange>,
    /// What was staged.
    pub files: Vec<FileRecord>,
    /// What became of the records.
    pub counts: Counts,
    /// Earlier commits whose files are visible, as this worker knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<u64>,
}

/// A half-open range of offsets of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OffsetRange {
    /// The topic.
    pub topic: String,
    /// Its id, asked from the broker after the last record was read.
    pub topic_id: String,
    /// The partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// Behind the last one, transaction markers included.
    pub to: i64,
}

/// What became of the records of a batch. Without aggregates `read = written + filtered + dead`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Rows written.
    pub written: u64,
    /// Records that a filter removed.
    pub filtered: u64,
    /// Dead letters.
    pub dead: u64,
    /// Bytes of keys, values and headers read.
    pub bytes: u64,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FileRole {
    /// Rows of the sink table.
    Table,
    /// Refused records.
    DeadLetter,
}

/// One staged file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileRecord {
    /// Of the table, or of the dead letters.
    pub role: FileRole,
    /// Where it becomes visible: `s3://bucket/key` or `file:///path`, Hive encoding included.
    pub url: String,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// Partition keys and values as in the path (decoded), outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition: Vec<(String, Option<String>)>,
    /// Where its rows came from. Files of one batch with the same partition values have disjoint ranges.
    pub sources: Vec<SourceRange>,
    /// How it is made visible.
    pub upload: Upload,
}

/// A half-open range of offsets that a file's rows came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRange {
    /// The partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// Behind the last one.
    pub to: i64,
}

/// Staged bytes, and how they become the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Upload {
    /// A multipart upload that is complete but for its completion.
    Multipart {
        /// Upload id.
        id: String,
        /// ETags of the parts, in order.
        parts: Vec<String>,
    },
    /// A file beside its final name that waits for its rename.
    Rename {
        /// Name of the staged file, in the same folder.
        from: String,
    },
}

/// Commits whose files are visible.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Their sequence numbers.
    pub seqs: Vec<u64>,
}

/// A new upload for a file whose upload was lost before it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// The commit.
    pub seq: u64,
    /// The file's url.
    pub url: String,
    /// Bytes of the new upload; rows are the same.
    pub bytes: u64,
    /// The new upload.
    pub upload: Upload,
}

/// Positions that are set by hand or by retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reset {
    /// Higher than every nonce before.
    pub nonce: i64,
    /// Partition to what it was and what it will be.
    pub positions: BTreeMap<i32, Move>,
    /// Why, in words.
    pub reason: String,
}

/// From where to where a position moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Move {
    /// The position before.
    pub expected: i64,
    /// The position after.
    pub to: i64,
}

/// A bounded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Id of the run.
    pub id: String,
    /// Partition to the read_committed end offset at which it is done.
    pub ends: BTreeMap<i32, i64>,
}

/// The end of a bounded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// Id of the run.
    pub id: String,
}
