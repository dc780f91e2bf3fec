//! How the data is: positions, lag, commits, sums.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sluice_crds::report::{CommitReport, LagReport, LedgerReport, PartitionReport, Phase, Totals, WorkerReport};
use sluice_crds::streaming_job::{JobTotals, Lag, LastCommit, PartitionLag};

use super::{Facts, Outcome};
use crate::condition::seconds;
use crate::streaming_job::rollout::Step;

/// Partitions that status names.
const WORST: usize = 5;
/// The shortest time after which a commit is not fresh any more.
const LEAST_FRESH: SignedDuration = SignedDuration::from_mins(2);

/// See the module.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Workers of the present plan that own partitions.
    pub ready: i32,
    /// The partitions that workers of the present plan own.
    pub owned: BTreeSet<i32>,
    /// How many partitions the topic has, as far as it is known.
    pub partitions: Option<usize>,
    /// How far behind the job is; nothing when it cannot be told.
    pub lag: Option<Lag>,
    /// The last commit of the ledger that anybody told of.
    pub last_commit: Option<LastCommit>,
    /// Sums over the life of the job.
    pub totals: Option<JobTotals>,
    /// The newest record of the ledger that anybody told of.
    pub tail: Option<i64>,
    /// Records in a second.
    pub rate: f64,
    /// Records read by the workers that live, since they started.
    pub read: u64,
    /// Is something read that is not committed?
    pub in_flight: bool,
    /// Is the last commit young, or nothing to commit?
    pub fresh: bool,
    /// Commits that are decided and not visible, of a job that should have no workers; nothing when it is not known.
    pub unpublished: Option<u64>,
}

impl Progress {
    /// From all reports.
    pub fn of(facts: &Facts<'_>) -> Self {
        let agent = facts.observed.of_job(&facts.key.name);
        let workers: Vec<&WorkerReport> = facts.observed.workers.iter().collect();
        let owned: BTreeSet<i32> =
            current(facts).iter().flat_map(|worker| &worker.partitions).map(|it| it.partition).collect();
        // A worker that said nothing may own what is missing.
        let everybody_told = current(facts).len() >= facts.alive();
        let by_agent = agent.and_then(|job| job.lag.as_ref());
        let partitions =
            by_agent.map(|lag| lag.partitions.len()).or_else(|| gapless(&owned).filter(|_| everybody_told));
        let known = merged(by_agent, &workers);
        let lag = lag(facts, &known, partitions, by_agent.and_then(|lag| lag.seconds));
        // The ledger of another place is another ledger.
        let moved = facts.valid.is_some_and(|valid| {
            facts.before.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.url != valid.plan.checkpoint.url)
        });
        let before = (!moved).then_some(facts.before);
        let ledger = agent.and_then(|job| job.ledger.as_ref()).filter(|ledger| is_ours(facts, ledger));
        // Workers of another plan may have another ledger; what they commit to this one, the agent sees.
        let plan = facts.valid.map(|valid| valid.hash.as_str());
        let of_plan = || workers.iter().filter(|worker| plan.is_none_or(|plan| worker.plan_hash == plan));
        let commits = of_plan().flat_map(|worker| &worker.commits);
        let newest =
            commits.chain(ledger.and_then(|ledger| ledger.last_commit.as_ref())).max_by_key(|commit| commit.seq);
        let last_commit = newer(newest.map(last_commit), before.and_then(|before| before.last_commit.clone()));
        let tails = of_plan().filter_map(|worker| worker.ledger_tail).chain(ledger.and_then(|ledger| ledger.tail));
        let old_tail = before.and_then(|before| before.checkpoint.as_ref()?.seq);
        let in_flight = workers.iter().flat_map(|worker| &worker.partitions).any(|it| it.position > it.committed);
        let fresh = lag.as_ref().is_some_and(|lag| lag.records == 0) || is_fresh(facts, last_commit.as_ref());
        Self {
            ready: current(facts).iter().filter(|worker| is_at_work(worker) && !worker.partitions.is_empty()).count()
                as i32,
            owned,
            partitions,
            lag,
            last_commit,
            totals: totals(
                ledger.map(|ledger| ledger.totals),
                &workers,
                before.and_then(|before| before.totals.clone()),
            ),
            tail: tails.max().map(|tail| tail as i64).max(old_tail),
            rate: workers.iter().map(|worker| rate(facts, worker)).sum(),
            read: workers.iter().map(|worker| worker.totals.read).sum(),
            in_flight,
            fresh,
            unpublished: ledger.and_then(|ledger| ledger.unpublished),
        }
    }

    /// Does somebody own each partition?
    pub fn all_owned(&self) -> bool {
        self.partitions.is_some_and(|partitions| partitions > 0 && self.owned.len() >= partitions)
    }

    /// `12.3k/s`
    pub fn rate_text(&self) -> String {
        // An empty sum is minus zero.
        let rate = self.rate.abs();
        match rate {
            _ if rate >= 1e6 => format!("{:.1}M/s", rate / 1e6),
            _ if rate >= 1e3 => format!("{:.1}k/s", rate / 1e3),
            _ if rate >= 10.0 || rate == 0.0 => format!("{rate:.0}/s"),
            _ => format!("{rate:.1}/s"),
        }
    }
}

/// The reports of the workers that count: those of the present plan once it is rolled out, and until then those that there are.
fn current<'a>(facts: &'a Facts<'_>) -> Vec<&'a WorkerReport> {
    // What could not be rolled out is not at work, whoever else is.
    let rolled_out =
        matches!(facts.outcome, Outcome::Done(Step::Set { .. } | Step::Run { .. }) | Outcome::Failed { .. });
    let hash = facts.valid.filter(|_| rolled_out).map(|valid| valid.hash.as_str());
    let of_plan = |worker: &&WorkerReport| hash.is_none_or(|hash| worker.plan_hash == hash);
    facts.observed.workers.iter().filter(of_plan).collect()
}

/// Is it the ledger of the present plan, and not one that the agent has looked at before the job moved?
fn is_ours(facts: &Facts<'_>, ledger: &LedgerReport) -> bool {
    facts.valid.is_none_or(|valid| ledger.url == valid.plan.checkpoint.url)
}

fn is_at_work(worker: &WorkerReport) -> bool {
    matches!(worker.phase, Phase::Running | Phase::Retrying)
}

/// The number of partitions when workers own 0, 1, 2, … without a gap: then these are probably all.
fn gapless(owned: &BTreeSet<i32>) -> Option<usize> {
    let last = owned.last()?;
    (usize::try_from(*last).ok()? + 1 == owned.len()).then_some(owned.len())
}

/// What is known of a partition, and since when.
type Known = (PartitionReport, Timestamp);

/// Each partition once: positions and ends only go forward, so the larger number is the newer one.
fn merged(by_agent: Option<&LagReport>, workers: &[&WorkerReport]) -> BTreeMap<i32, Known> {
    let mut known: BTreeMap<i32, Known> = BTreeMap::new();
    let measured = by_agent.map(|lag| (&lag.partitions, lag.time));
    let reports = measured.into_iter().chain(workers.iter().map(|worker| (&worker.partitions, worker.time)));
    for (report, time) in reports.flat_map(|(partitions, time)| partitions.iter().map(move |it| (it, time))) {
        known
            .entry(report.partition)
            .and_modify(|(partition, since)| {
                partition.committed = partition.committed.max(report.committed);
                partition.end = partition.end.max(report.end);
                // Who knows no end has measured no lag.
                *since = if report.end.is_some() { time.max(*since) } else { *since };
            })
            .or_insert_with(|| (report.clone(), time));
    }
    known
}

fn lag(facts: &Facts<'_>, known: &BTreeMap<i32, Known>, partitions: Option<usize>, age: Option<i64>) -> Option<Lag> {
    // A sum over some of the partitions would be a lie.
    let partitions = partitions.filter(|partitions| *partitions > 0 && known.len() >= *partitions)?;
    let mut all = Vec::with_capacity(known.len());
    for (report, _) in known.values() {
        let end = report.end?.max(report.committed);
        all.push(PartitionLag {
            topic: report.topic.clone(),
            partition: report.partition,
            committed: report.committed,
            end,
            lag: end - report.committed,
        });
    }
    let records = all.iter().map(|partition| partition.lag).sum();
    let mut worst: Vec<PartitionLag> = all.into_iter().filter(|partition| partition.lag > 0).collect();
    worst.sort_by_key(|partition| (std::cmp::Reverse(partition.lag), partition.partition));
    worst.truncate(WORST);
    // A sum is as old as the oldest of its parts; a clock that is ahead makes nothing newer than now.
    let observed = known.values().map(|(_, since)| *since).min()?.min(facts.now);
    let seconds_behind = if records == 0 { Some(0) } else { age };
    Some(Lag {
        records,
        seconds: seconds_behind,
        partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
        worst,
        observed_time: Time(seconds(observed)),
    })
}

fn last_commit(commit: &CommitReport) -> LastCommit {
    LastCommit {
        seq: commit.seq as i64,
        batch: commit.batch.clone(),
        time: Time(seconds(commit.time)),
        records: commit.read as i64,
        files: commit.files as i64,
        bytes: commit.bytes as i64,
    }
}

fn newer(a: Option<LastCommit>, b: Option<LastCommit>) -> Option<LastCommit> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.seq > a.seq { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// No older than three windows. Records that arrive after an hour of silence are not late because the last commit is an hour old: the clock
/// starts when there is something to commit.
fn is_fresh(facts: &Facts<'_>, last: Option<&LastCommit>) -> bool {
    let times = last.map(|last| last.time.0).into_iter().chain(facts.caught_up);
    times.max().is_some_and(|time| facts.now.duration_since(time) <= patience(facts))
}

/// How long a job with lag may go without a commit.
pub fn patience(facts: &Facts<'_>) -> SignedDuration {
    let period = facts
        .valid
        .map_or(LEAST_FRESH, |valid| SignedDuration::try_from(valid.plan.window.period).unwrap_or(LEAST_FRESH));
    (period * 3).max(LEAST_FRESH)
}

/// The ledger knows the sums of all times; a worker knows its own since its start. Without an agent the sums stay as they were told last,
/// but dead letters are never overlooked.
fn totals(ledger: Option<Totals>, workers: &[&WorkerReport], before: Option<JobTotals>) -> Option<JobTotals> {
    let dead = workers.iter().map(|worker| worker.totals.dead).sum::<u64>() as i64;
    let known = ledger.map(|totals| JobTotals {
        read: totals.read as i64,
        written: totals.written as i64,
        filtered: totals.filtered as i64,
        dead: totals.dead as i64,
        bytes: totals.bytes_written as i64,
        batches: totals.batches as i64,
    });
    match known.or(before) {
        Some(totals) => Some(JobTotals { dead: totals.dead.max(dead), ..totals }),
        None => (dead > 0).then(|| JobTotals { dead, ..JobTotals::default() }),
    }
}

/// Between the commits that a worker tells of. A worker whose last commit is old does nothing.
fn rate(facts: &Facts<'_>, worker: &WorkerReport) -> f64 {
    let (Some(newest), Some(oldest)) = (worker.commits.first(), worker.commits.last()) else { return 0.0 };
    if facts.now.duration_since(newest.time) > patience(facts) {
        return 0.0;
    }
    let span = newest.time.duration_since(oldest.time).as_secs_f64();
    if span > 0.0 {
        let read: u64 = worker.commits.iter().rev().skip(1).map(|commit| commit.read).sum();
        return read as f64 / span;
    }
    let period = facts.valid.map_or(0.0, |valid| valid.plan.window.period.as_secs_f64());
    if period > 0.0 { newest.read as f64 / period } else { 0.0 }
}
