//! The records of a ledger, as they lie in object storage.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format of records. A worker that meets another one stops.
pub const RECORD_VERSION: u32 = 1;

/// Every kind of [`Body`], as it stands in `kind`: what this program knows. Any other kind was written by a newer one.
pub const KINDS: [&str; 8] = ["Start", "Plan", "Commit", "Published", "Repair", "Reset", "Run", "RunEnd"];

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
    #[serde(with = "by_partition")]
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
        /// `ETag`s of the parts, in order.
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
    /// Of a replay that a person asked for: higher than every nonce before. A gap that retention made has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<i64>,
    /// Partition to what it was and what it will be.
    #[serde(with = "by_partition")]
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
    /// Id of the run. (`id` in the object is the record's own.)
    #[serde(rename = "run")]
    pub id: String,
    /// Partition to the `read_committed` end offset at which it is done.
    #[serde(with = "by_partition")]
    pub ends: BTreeMap<i32, i64>,
}

/// The end of a bounded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// Id of the run. (`id` in the object is the record's own.)
    #[serde(rename = "run")]
    pub id: String,
}

/// Maps whose keys are partitions.
///
/// JSON's keys are strings, and serde gives a flattened or tagged value its keys as they are, so the numbers are made here.
mod by_partition {
    use std::collections::BTreeMap;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub fn serialize<V: Serialize, S: Serializer>(map: &BTreeMap<i32, V>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(partition, value)| (partition.to_string(), value)))
    }

    pub fn deserialize<'de, V: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<i32, V>, D::Error> {
        let map = BTreeMap::<String, V>::deserialize(from)?;
        let number = |key: String| key.parse().map_err(|_| D::Error::custom(format!("{key:?} is not a partition")));
        map.into_iter().map(|(key, value)| Ok((number(key)?, value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> Vec<Body> {
        let upload = Upload::Multipart { id: "u".into(), parts: vec!["e1".into()] };
        let file = FileRecord {
            role: FileRole::DeadLetter,
            url: "s3://b/k".into(),
            rows: 1,
            bytes: 2,
            partition: vec![("day".into(), None)],
            sources: vec![SourceRange { partition: 0, from: 0, to: 1 }],
            upload: upload.clone(),
        };
        let range = OffsetRange { topic: "t".into(), topic_id: "i".into(), partition: 0, from: 0, to: i64::MAX };
        vec![
            Body::Start(Start {
                topic: "t".into(),
                topic_id: "i".into(),
                earliest: true,
                positions: [(0, 5), (11, 7)].into(),
            }),
            Body::Plan(PlanChange { generation: -1, hash: "h".into() }),
            Body::Commit(Commit {
                worker: "w".into(),
                batch: "b".into(),
                plan: "h".into(),
                window_start: Timestamp::UNIX_EPOCH,
                window_end: Timestamp::UNIX_EPOCH,
                ranges: vec![range],
                files: vec![file],
                counts: Counts { read: u64::MAX, ..Counts::default() },
                published: vec![3],
            }),
            Body::Published(Published { seqs: vec![1, 2] }),
            Body::Repair(Repair { seq: 1, url: "s3://b/k".into(), bytes: 3, upload }),
            Body::Reset(Reset {
                nonce: Some(1),
                positions: [(10, Move { expected: 1, to: 2 })].into(),
                reason: "r".into(),
            }),
            Body::Run(Run { id: "r".into(), ends: [(0, 9)].into() }),
            Body::RunEnd(RunEnd { id: "r".into() }),
        ]
    }

    #[test]
    fn every_record_is_read_as_it_was_written() {
        let mut kinds = Vec::new();
        for body in bodies() {
            let record = Record { version: RECORD_VERSION, id: "id".into(), time: Timestamp::UNIX_EPOCH, body };
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).expect(&text), record);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            kinds.push(value["kind"].as_str().unwrap().to_owned());
        }
        assert_eq!(kinds, KINDS, "every kind is known by its name");
    }

    #[test]
    fn a_partition_that_is_no_number_is_refused() {
        let text = r#"{"version":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"Run","run":"r","ends":{"x":1}}"#;
        assert!(serde_json::from_str::<Record>(text).is_err());
    }
}
