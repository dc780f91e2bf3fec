//! An audit of a ledger: does its history keep the promises?
//!
//! The audit is pure and keeps books of its own, so that a fault in the fold does not hide itself. It looks at records
//! only; whether the files exist and hold their rows is for whoever has the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Entry;
use super::record::{Body, Commit, FileRole, OffsetRange, Record, Reset, Start};

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Legal commits.
    pub commits: u64,
    /// Records read by them.
    pub records: u64,
    /// Rows written by them.
    pub written: u64,
    /// Records that filters removed.
    pub filtered: u64,
    /// Dead letters.
    pub dead: u64,
    /// Files, dead letters included.
    pub files: u64,
    /// Bytes of these files, repairs applied.
    pub bytes: u64,
    /// Commits that no record names as published.
    pub unpublished: Vec<u64>,
    /// Void records, each with the rule it breaks. They are no problem: they say nothing.
    pub voids: Vec<String>,
    /// Offsets left out for a reason that the ledger records. They are no problem either.
    pub gaps: Vec<String>,
    /// Ranges that will be or were read again because a reset said so.
    pub replays: Vec<String>,
    /// Broken promises. Empty: the ledger is sound.
    pub problems: Vec<String>,
}

/// Audits a whole history, as `Ledger::history` yields it.
///
/// `aggregating`: hashes of the plans that make other rows than they read, so that `read = written + filtered + dead` does not hold.
pub fn verify(history: &[Entry], aggregating: &BTreeSet<String>) -> Report {
    let mut audit = Audit { aggregating: aggregating.clone(), ..Audit::default() };
    for (expected, (seq, record, verdict)) in (0..).zip(history) {
        if *seq != expected {
            audit.problem(*seq, &format!("comes where record {expected} must be"));
        }
        if let Some(other) = audit.ids.insert(record.id.clone(), *seq) {
            audit.problem(*seq, &format!("is the same as record {other}"));
        }
        match verdict {
            Ok(()) => audit.legal(*seq, record),
            Err(illegal) => audit.report.voids.push(format!("record {seq}: {illegal}")),
        }
    }
    audit.report.unpublished = audit.open.into_iter().collect();
    audit.report
}

/// The books.
#[derive(Default)]
struct Audit {
    aggregating: BTreeSet<String>,
    report: Report,
    ids: HashMap<String, u64>,
    /// Partition to the next offset.
    next: BTreeMap<i32, i64>,
    /// Partitions that started at their beginning and were not read yet.
    fresh: BTreeSet<i32>,
    /// Every legal commit, to know what may be published.
    commits: BTreeSet<u64>,
    /// Those of them that are not published.
    open: BTreeSet<u64>,
    /// File to its bytes.
    files: HashMap<String, u64>,
}

impl Audit {
    fn problem(&mut self, seq: u64, text: &str) {
        self.report.problems.push(format!("record {seq}: {text}"));
    }

    fn legal(&mut self, seq: u64, record: &Record) {
        match &record.body {
            Body::Start(start) => self.start(seq, start),
            Body::Commit(commit) => {
                self.published(seq, &commit.published);
                self.commit(seq, commit);
            }
            Body::Published(published) => self.published(seq, &published.seqs),
            Body::Repair(repair) => match self.files.insert(repair.url.clone(), repair.bytes) {
                Some(before) => self.report.bytes = self.report.bytes - before + repair.bytes,
                None => self.problem(seq, &format!("repairs {}, which no commit names", repair.url)),
            },
            Body::Reset(reset) => self.reset(seq, reset),
            Body::Plan(_) | Body::Run(_) | Body::RunEnd(_) => {}
        }
    }

    fn start(&mut self, seq: u64, start: &Start) {
        for (&partition, &offset) in &start.positions {
            if self.next.insert(partition, offset).is_some() {
                self.problem(seq, &format!("starts partition {partition} a second time"));
            }
            if start.earliest {
                self.fresh.insert(partition);
            }
        }
    }

    fn reset(&mut self, seq: u64, reset: &Reset) {
        for (&partition, change) in &reset.positions {
            let found = self.next.insert(partition, change.to);
            self.fresh.remove(&partition);
            if found != Some(change.expected) {
                let expected = change.expected;
                self.problem(seq, &format!("resets partition {partition} from {expected}, but it is at {found:?}"));
            }
            let (expected, to, reason) = (change.expected, change.to, &reset.reason);
            if to > expected {
                self.report.gaps.push(format!("partition {partition}: {expected}..{to} by reset {seq} ({reason})"));
            } else if to < expected {
                self.report.replays.push(format!("partition {partition}: {to}..{expected} by reset {seq} ({reason})"));
            }
        }
    }

    fn commit(&mut self, seq: u64, commit: &Commit) {
        self.commits.insert(seq);
        self.open.insert(seq);
        for range in &commit.ranges {
            self.range(seq, range);
        }
        self.counts(seq, commit);
        for file in &commit.files {
            if self.files.insert(file.url.clone(), file.bytes).is_some() {
                self.problem(seq, &format!("names file {}, which was named before", file.url));
            }
            for source in &file.sources {
                let inside = |range: &OffsetRange| {
                    range.partition == source.partition && range.from <= source.from && source.to <= range.to
                };
                if !commit.ranges.iter().any(inside) {
                    let (partition, from, to) = (source.partition, source.from, source.to);
                    self.problem(
                        seq,
                        &format!("file {} has partition {partition}, {from}..{to}, which was not read", file.url),
                    );
                }
            }
        }
    }

    fn range(&mut self, seq: u64, range: &OffsetRange) {
        let &OffsetRange { partition, from, to, .. } = range;
        let known = self.next.insert(partition, to);
        let may_begin_higher = self.fresh.remove(&partition) || known.is_none();
        let next = known.unwrap_or(0);
        if from < next {
            self.problem(
                seq,
                &format!("reads partition {partition} from {from} although {from}..{next} was read before"),
            );
        } else if from > next && may_begin_higher {
            self.report
                .gaps
                .push(format!("partition {partition}: {next}..{from}, gone before commit {seq} read it first"));
        } else if from > next {
            self.problem(seq, &format!("leaves out partition {partition}, {next}..{from}"));
        }
        if to < from {
            self.problem(seq, &format!("reads partition {partition} backwards, {from}..{to}"));
        }
    }

    fn counts(&mut self, seq: u64, commit: &Commit) {
        let counts = &commit.counts;
        let (mut rows, mut dead) = (0, 0);
        for file in &commit.files {
            *(if file.role == FileRole::Table { &mut rows } else { &mut dead }) += file.rows;
        }
        self.report.commits += 1;
        self.report.records += counts.read;
        self.report.written += counts.written;
        self.report.filtered += counts.filtered;
        self.report.dead += counts.dead;
        self.report.files += commit.files.len() as u64;
        self.report.bytes += commit.files.iter().map(|file| file.bytes).sum::<u64>();
        let (read, written, filtered) = (counts.read, counts.written, counts.filtered);
        if !self.aggregating.contains(&commit.plan) && read != written + filtered + counts.dead {
            let dead = counts.dead;
            self.problem(
                seq,
                &format!("read {read} records, but wrote {written}, filtered {filtered} and refused {dead}"),
            );
        }
        if rows != written {
            self.problem(seq, &format!("wrote {written} rows, but its files have {rows}"));
        }
        if dead != counts.dead {
            self.problem(seq, &format!("refused {} records, but its dead letter files have {dead}", counts.dead));
        }
    }

    fn published(&mut self, seq: u64, seqs: &[u64]) {
        for published in seqs {
            self.open.remove(published);
            if !self.commits.contains(published) {
                self.problem(seq, &format!("names record {published} as published, which is no commit"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
