//! A second reader of the ledger, written from its description and not from the worker's code: it reads the records of a
//! checkpoint from the store, decides which count, and adds them up.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::bucket::Bucket;
use crate::kafka::Offsets;

/// What a ledger says after its last record.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Partition to next offset.
    pub positions: Offsets,
    /// Partitions whose first commit may begin above their start, for it was "the first record there is".
    earliest: BTreeSet<i32>,
    plan: String,
    /// Sum of the commits that count.
    pub counts: Counts,
    /// Commits that count, by sequence number, with the urls and rows of their files.
    pub commits: BTreeMap<u64, Vec<File>>,
    /// Those of them whose files are not known to be visible.
    pub unpublished: BTreeSet<u64>,
    /// Commits that do not count.
    pub voided: BTreeSet<u64>,
    /// Plans, in order.
    pub plans: Vec<String>,
    /// Repairs.
    pub repairs: u64,
    /// Resets.
    pub resets: u64,
    /// Is a bounded run open?
    pub run: Option<String>,
}

/// What became of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Rows written.
    pub written: u64,
    /// Removed by a filter.
    pub filtered: u64,
    /// Dead letters.
    pub dead: u64,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// `s3://bucket/key`
    pub url: String,
    /// Rows.
    pub rows: u64,
    /// `Table` or `DeadLetter`.
    pub role: String,
    /// The multipart upload that it waits in until it is published.
    pub upload: Option<String>,
}

impl Ledger {
    /// Reads the ledger of a checkpoint, from its first record to its last.
    pub async fn read(bucket: &Bucket, checkpoint: &str) -> Result<Self> {
        let mut ledger = Self::default();
        let mut last = None;
        for object in bucket.list(&format!("{}/ledger", checkpoint.trim_end_matches('/'))).await? {
            let key = &object.location;
            let name =
                key.filename().and_then(|name| name.strip_suffix(".json")).context("a foreign object in the ledger")?;
            let seq: u64 = name.parse().with_context(|| format!("{key} is no record"))?;
            ensure!(last.is_none_or(|last| seq == last + 1), "the ledger has a gap before {key}");
            last = Some(seq);
            let record: Value = serde_json::from_slice(&bucket.content(&object).await?)
                .with_context(|| format!("cannot read {key}"))?;
            ledger.apply(seq, &record).with_context(|| format!("{key}: {record}"))?;
        }
        Ok(ledger)
    }

    fn apply(&mut self, seq: u64, record: &Value) -> Result<()> {
        ensure!(record["version"] == 1, "an unknown version");
        match text(record, "kind")? {
            "Start" => self.start(record),
            "Plan" => {
                text(record, "hash")?.clone_into(&mut self.plan);
                self.plans.push(self.plan.clone());
                Ok(())
            }
            "Commit" => self.commit(seq, record),
            "Published" => {
                self.published(&record["seqs"]);
                Ok(())
            }
            "Repair" => {
                self.repairs += 1;
                Ok(())
            }
            "Reset" => self.reset(record),
            "Run" => {
                self.run = Some(text(record, "id")?.to_owned());
                Ok(())
            }
            "RunEnd" => {
                self.run = None;
                Ok(())
            }
            other => bail!("an unknown kind {other}"),
        }
    }

    fn start(&mut self, record: &Value) -> Result<()> {
        let positions = offsets(&record["positions"], Value::as_i64)?;
        // The loser of a race counts for nothing.
        if positions.keys().any(|partition| self.positions.contains_key(partition)) {
            return Ok(());
        }
        if record["earliest"] == true {
            self.earliest.extend(positions.keys());
        }
        self.positions.extend(positions);
        Ok(())
    }

    fn commit(&mut self, seq: u64, record: &Value) -> Result<()> {
        self.published(&record["published"]);
        let ranges = record["ranges"].as_array().context("no ranges")?;
        let ranges: Vec<(i32, i64, i64)> = ranges.iter().map(range).collect::<Result<_>>()?;
        let current = text(record, "plan")? == self.plan;
        if !current || !ranges.iter().all(|range| self.continues(range)) {
            self.voided.insert(seq);
            return Ok(());
        }
        for (partition, _, to) in ranges {
            self.positions.insert(partition, to);
            self.earliest.remove(&partition);
        }
        self.counts.add(&record["counts"])?;
        let files = record["files"].as_array().context("no files")?;
        let files: Vec<File> = files.iter().map(File::read).collect::<Result<_>>()?;
        if !files.is_empty() {
            self.unpublished.insert(seq);
        }
        self.commits.insert(seq, files);
        Ok(())
    }

    /// A partition that is in no Start is a later one: it begins at its beginning.
    fn continues(&self, &(partition, from, _): &(i32, i64, i64)) -> bool {
        let position = self.positions.get(&partition).copied();
        match position {
            Some(position) => from == position || (from > position && self.earliest.contains(&partition)),
            None => true,
        }
    }

    fn published(&mut self, seqs: &Value) {
        for seq in seqs.as_array().into_iter().flatten().filter_map(Value::as_u64) {
            self.unpublished.remove(&seq);
        }
    }

    fn reset(&mut self, record: &Value) -> Result<()> {
        self.resets += 1;
        let expected = offsets(&record["positions"], |moved| moved["expected"].as_i64())?;
        if expected.iter().all(|(partition, offset)| self.positions.get(partition).unwrap_or(&0) == offset) {
            self.positions.extend(offsets(&record["positions"], |moved| moved["to"].as_i64())?);
        }
        Ok(())
    }

    /// Do the commits reach these ends?
    pub fn reaches(&self, ends: &Offsets) -> bool {
        ends.iter().all(|(partition, &end)| end == 0 || self.positions.get(partition).is_some_and(|&at| at >= end))
    }
}

impl Counts {
    fn add(&mut self, record: &Value) -> Result<()> {
        let number = |field: &str| record[field].as_u64().with_context(|| format!("no {field} among the counts"));
        self.read += number("read")?;
        self.written += number("written")?;
        self.filtered += number("filtered")?;
        self.dead += number("dead")?;
        Ok(())
    }
}

impl File {
    fn read(record: &Value) -> Result<Self> {
        let rows = record["rows"].as_u64().context("a file without rows")?;
        let upload = record["upload"]["id"].as_str().map(str::to_owned);
        Ok(Self { url: text(record, "url")?.to_owned(), rows, role: text(record, "role")?.to_owned(), upload })
    }
}

fn text<'a>(record: &'a Value, field: &str) -> Result<&'a str> {
    record[field].as_str().with_context(|| format!("no {field}"))
}

fn range(record: &Value) -> Result<(i32, i64, i64)> {
    let number = |field: &str| record[field].as_i64().with_context(|| format!("a range without {field}"));
    Ok((number("partition")? as i32, number("from")?, number("to")?))
}

fn offsets(record: &Value, offset: impl Fn(&Value) -> Option<i64>) -> Result<Offsets> {
    let members = record.as_object().context("no positions")?;
    members.iter().map(|(partition, value)| Ok((partition.parse()?, offset(value).context("no offset")?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn commit(plan: &str, from: i64, to: i64) -> Value {
        json!({"version": 1, "kind": "Commit", "plan": plan, "ranges": [{"partition": 0, "from": from, "to": to}], "files": [],
               "counts": {"read": to - from, "written": to - from, "filtered": 0, "dead": 0}})
    }

    #[test]
    fn commits_that_do_not_continue_or_are_of_another_plan_do_not_count() -> Result<()> {
        let mut ledger = Ledger::default();
        let records = [
            json!({"version": 1, "kind": "Plan", "generation": 1, "hash": "a"}),
            json!({"version": 1, "kind": "Start", "earliest": true, "positions": {"0": 0}}),
            commit("a", 3, 10),
            commit("a", 3, 12),
            commit("b", 10, 12),
            commit("a", 10, 12),
        ];
        for (seq, record) in records.iter().enumerate() {
            ledger.apply(seq as u64, record)?;
        }
        assert_eq!(ledger.positions, Offsets::from([(0, 12)]));
        assert_eq!(ledger.counts.read, 9);
        assert_eq!(ledger.voided, BTreeSet::from([3, 4]));
        Ok(())
    }
}
