//! The fold: what all records of a ledger together say.
//!
//! [`apply`] is pure. Two readers that have seen the same records have the same state, whoever they are and whenever they
//! read. A record that breaks a rule is void: it changes nothing but the tail and the count of voids.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::position::Position;
use super::record::{Body, Commit, Counts, PlanChange, Record, Repair, Run};
use super::rules::{self, Illegal, Moves};

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// The topic, from the first start.
    pub topic: Option<String>,
    /// Its id. A topic that was created again has another one.
    pub topic_id: Option<String>,
    /// Partition to how far it is. A partition that is missing is a later one: it will be read from its beginning.
    pub positions: BTreeMap<i32, Position>,
    /// The plan in force.
    pub plan: Option<PlanChange>,
    /// The open bounded run.
    pub run: Option<Run>,
    /// Id of the bounded run that ended last.
    pub last_run: Option<String>,
    /// Commits whose files are not known to be visible, by sequence number, with repairs applied. A commit without
    /// files is among them, too, until a record names it as published.
    pub unpublished: BTreeMap<u64, Commit>,
    /// What else is known of the unpublished commits.
    pub marks: BTreeMap<u64, Mark>,
    /// The highest nonce of a reset.
    pub nonce: Option<i64>,
    /// Sums over all records.
    pub totals: Totals,
    /// The last commit.
    pub last_commit: Option<LastCommit>,
    /// Sequence number of the last record that is folded in; none: the ledger is empty.
    pub tail: Option<u64>,
}

/// What else is known of an unpublished commit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// Id of its record.
    pub record: String,
    /// Urls of its files that were repaired.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub repaired: BTreeSet<String>,
}

/// Sums over all legal records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// What became of the records read.
    pub counts: Counts,
    /// Commits.
    pub commits: u64,
    /// Files, dead letters included.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
    /// Records that were void.
    pub voids: u64,
    /// Offsets that nobody has read: retention moved a beginning, or a reset went forward.
    pub skipped: u64,
    /// Offsets that were read again because a reset went back.
    pub replayed: u64,
}

/// The last commit, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastCommit {
    /// Its sequence number.
    pub seq: u64,
    /// Id of its batch.
    pub batch: String,
    /// When its record was written, by the writer's clock.
    pub time: Timestamp,
    /// When its window closed.
    pub window_end: Timestamp,
    /// Records read.
    pub records: u64,
    /// Files, dead letters included.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// Folds one record in. `seq` must be [`State::next_seq`].
///
/// A record that breaks a rule is void: only the tail and the count of voids move, and the rule is returned.
pub fn apply(state: &mut State, seq: u64, record: &Record) -> Result<(), Illegal> {
    let verdict = rules::check(state, &record.body);
    state.tail = Some(seq);
    match verdict {
        Ok(moves) => {
            state.perform(seq, record, moves);
            Ok(())
        }
        Err(illegal) => {
            state.totals.voids += 1;
            Err(illegal)
        }
    }
}

impl State {
    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.tail.map_or(0, |tail| tail + 1)
    }

    /// Would this record be legal as the next one?
    pub fn check(&self, record: &Record) -> Result<(), Illegal> {
        rules::check(self, &record.body).map(drop)
    }

    /// The next offset to read of a partition; `None`: a later partition, to be read from its beginning.
    pub fn next_offset(&self, partition: i32) -> Option<i64> {
        self.positions.get(&partition).map(|position| position.next)
    }

    /// Carries out what the rules allowed.
    fn perform(&mut self, seq: u64, record: &Record, moves: Moves) {
        self.positions.extend(moves.positions);
        self.totals.skipped = self.totals.skipped.saturating_add(moves.skipped);
        self.totals.replayed = self.totals.replayed.saturating_add(moves.replayed);
        match &record.body {
            Body::Start(start) => {
                self.topic = Some(start.topic.clone());
                self.topic_id = Some(start.topic_id.clone());
            }
            Body::Plan(plan) => self.plan = Some(plan.clone()),
            Body::Commit(commit) => self.commit(seq, record, commit),
            Body::Published(published) => self.publish(&published.seqs),
            Body::Repair(repair) => self.repair(repair),
            Body::Reset(reset) => self.nonce = reset.nonce.or(self.nonce),
            Body::Run(run) => self.run = Some(run.clone()),
            Body::RunEnd(_) => self.last_run = self.run.take().map(|run| run.id),
        }
    }

    fn commit(&mut self, seq: u64, record: &Record, commit: &Commit) {
        self.publish(&commit.published);
        self.unpublished.insert(seq, commit.clone());
        self.marks.insert(seq, Mark { record: record.id.clone(), repaired: BTreeSet::new() });
        let (files, bytes) = (commit.files.len() as u64, commit.files.iter().map(|file| file.bytes).sum());
        self.totals.add(&commit.counts, files, bytes);
        self.last_commit = Some(LastCommit {
            seq,
            batch: commit.batch.clone(),
            time: record.time,
            window_end: commit.window_end,
            records: commit.counts.read,
            files,
            bytes,
        });
    }

    /// Numbers that are no unpublished commits say nothing new: two workers may publish the same commit.
    fn publish(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.unpublished.remove(seq);
            self.marks.remove(seq);
        }
    }

    fn repair(&mut self, repair: &Repair) {
        let files = self.unpublished.get_mut(&repair.seq).into_iter().flat_map(|commit| &mut commit.files);
        for file in files.filter(|file| file.url == repair.url) {
            self.totals.bytes = self.totals.bytes.saturating_sub(file.bytes).saturating_add(repair.bytes);
            file.bytes = repair.bytes;
            file.upload = repair.upload.clone();
        }
        self.marks.entry(repair.seq).or_default().repaired.insert(repair.url.clone());
    }
}

impl Totals {
    fn add(&mut self, counts: &Counts, files: u64, bytes: u64) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.counts.read, counts.read);
        add(&mut self.counts.written, counts.written);
        add(&mut self.counts.filtered, counts.filtered);
        add(&mut self.counts.dead, counts.dead);
        add(&mut self.counts.bytes, counts.bytes);
        add(&mut self.commits, 1);
        add(&mut self.files, files);
        add(&mut self.bytes, bytes);
    }
}

#[cfg(test)]
mod tests;
