//! What a worker tells about itself: the board that the pipeline writes and HTTP and the command line read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sluice_crds::plan::JobPlan;
use sluice_crds::report::{CommitReport, PartitionReport, Phase, Totals, WorkerReport};

use crate::budget::Budget;
use crate::error::Stop;
use crate::metrics::Metrics;
use crate::pipeline::commit::Committed;
use crate::pipeline::start::Opened;
use crate::source::Reader;
use crate::write::DeadCodes;

/// Commits that a report shows.
const SHOWN_COMMITS: usize = 10;

/// The state of one worker, shared.
pub struct Board {
    worker: String,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

struct State {
    job: String,
    topic: String,
    plan_hash: String,
    generation: i64,
    phase: Phase,
    trouble: Option<String>,
    committed: BTreeMap<i32, i64>,
    totals: Totals,
    commits: VecDeque<CommitReport>,
    ledger_tail: Option<u64>,
    unpublished: u64,
    budget: Option<Arc<Budget>>,
    reader: Option<Arc<Reader>>,
}

impl Board {
    /// A board for a worker that has not begun. Its identity is 64 random bits in hex: half of the id of each of its batches.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            worker: format!("{:016x}", rand::random::<u64>()),
            metrics: Metrics::new(),
            state: Mutex::new(State {
                job: String::new(),
                topic: String::new(),
                plan_hash: String::new(),
                generation: 0,
                phase: Phase::Starting,
                trouble: None,
                committed: BTreeMap::new(),
                totals: Totals::default(),
                commits: VecDeque::new(),
                ledger_tail: None,
                unpublished: 0,
                budget: None,
                reader: None,
            }),
        })
    }

    /// Identity of the worker.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Its metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pipeline stands.
    pub fn begin(&self, plan: &JobPlan, opened: &Opened, budget: Arc<Budget>, reader: Arc<Reader>) {
        let mut state = self.state();
        state.job = format!("{}/{}", plan.job.namespace, plan.job.name);
        state.topic.clone_from(&plan.source.topic);
        state.plan_hash.clone_from(&opened.plan_hash);
        state.generation = opened.generation;
        state.ledger_tail = opened.ledger.state().tail;
        state.budget = Some(budget);
        state.reader = Some(reader);
    }

    /// What it is doing now.
    pub fn phase(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = phase;
        state.trouble = None;
    }

    /// Owned partitions with their committed positions.
    pub fn positions(&self, committed: &BTreeMap<i32, i64>) {
        self.state().committed.clone_from(committed);
    }

    /// A batch is visible.
    pub fn committed(&self, committed: &Committed, dead: &DeadCodes) {
        let (commit, counts) = (&committed.commit, &committed.commit.counts);
        self.metrics.committed(counts, &commit.files, dead);
        let mut state = self.state();
        state.phase = if state.phase == Phase::Retrying { Phase::Running } else { state.phase };
        let positions: BTreeMap<i32, i64> = commit.ranges.iter().map(|range| (range.partition, range.to)).collect();
        for (partition, position) in &positions {
            if let Some(committed) = state.committed.get_mut(partition) {
                *committed = *position;
            }
        }
        let bytes = commit.files.iter().map(|file| file.bytes).sum();
        let totals = &mut state.totals;
        totals.read += counts.read;
        totals.written += counts.written;
        totals.filtered += counts.filtered;
        totals.dead += counts.dead;
        totals.bytes_read += counts.bytes;
        totals.bytes_written += bytes;
        totals.files += commit.files.len() as u64;
        totals.batches += 1;
        state.ledger_tail = Some(committed.seq);
        state.commits.truncate(SHOWN_COMMITS - 1);
        state.commits.push_front(CommitReport {
            seq: committed.seq,
            batch: commit.batch.clone(),
            time: commit.window_end,
            read: counts.read,
            written: counts.written,
            files: commit.files.len() as u64,
            bytes,
            positions,
        });
    }

    /// How many decided commits are not visible yet, as far as this worker knows.
    pub fn unpublished(&self, commits: u64) {
        self.state().unpublished = commits;
    }

    /// A batch was refused by the ledger.
    pub fn voided(&self) {
        self.metrics.voided();
        self.state().totals.voided += 1;
    }

    /// A window failed and will be tried again.
    pub fn retrying(&self, why: &Stop) {
        self.metrics.retried();
        let mut state = self.state();
        state.totals.retried += 1;
        state.phase = Phase::Retrying;
        state.trouble = Some(why.to_string());
    }

    /// The worker stops.
    pub fn stopped(&self, why: &Stop) {
        let mut state = self.state();
        state.phase = Phase::Stopped;
        state.trouble = Some(why.to_string());
    }

    /// Is it at work, with a partition or as a spare?
    pub fn is_ready(&self) -> bool {
        matches!(self.state().phase, Phase::Running | Phase::Retrying | Phase::Draining | Phase::Completed)
    }

    /// The text of `GET /metrics`.
    pub fn render_metrics(&self) -> String {
        let report = self.report();
        let topic = self.state().topic.clone();
        let lags: Vec<(i32, i64)> =
            report.partitions.iter().filter_map(|partition| Some((partition.partition, partition.lag?))).collect();
        self.metrics.render(&topic, &lags, (report.memory_used, report.memory_budget))
    }

    /// The body of `GET /report`.
    pub fn report(&self) -> WorkerReport {
        let state = self.state();
        let reader = state.reader.as_deref();
        let ends = reader.map(Reader::ends).unwrap_or_default();
        let positions = reader.map(Reader::positions).unwrap_or_default();
        let partitions = state.committed.iter().map(|(&partition, &committed)| {
            // The broker may tell an end that is older than our own position.
            let end = ends.get(&partition).map(|end| (*end).max(committed));
            PartitionReport {
                topic: state.topic.clone(),
                partition,
                committed,
                position: positions.get(&partition).copied().unwrap_or(committed),
                end,
                lag: end.map(|end| end - committed),
            }
        });
        WorkerReport {
            version: 1,
            worker: self.worker.clone(),
            job: state.job.clone(),
            plan_hash: state.plan_hash.clone(),
            generation: state.generation,
            phase: state.phase,
            trouble: state.trouble.clone().or_else(|| {
                reader.and_then(Reader::trouble).map(|trouble| format!("{}: {}", trouble.reason, trouble.message))
            }),
            partitions: partitions.collect(),
            totals: state.totals,
            commits: state.commits.iter().cloned().collect(),
            ledger_tail: state.ledger_tail,
            unpublished: state.unpublished,
            memory_used: state.budget.as_ref().map_or(0, |budget| budget.used()),
            memory_budget: state.budget.as_ref().map_or(0, |budget| budget.limit()),
            time: Timestamp::now(),
        }
    }
}
