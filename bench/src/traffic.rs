//! What the pods of one job would tell at a given time, if there were a topic, records and workers. Pure.
//!
//! A topic is silent until a moment from which on records come evenly. Workers commit once in a window whatever came until then, the
//! agent measures as often as the real one does: so the numbers in reports change when those of a cluster would.

use jiff::{SignedDuration, Timestamp};
use sluice_crds::data_catalog_table::TopicFindings;
use sluice_crds::report::{
    CommitReport, Finding, JobReport, LagReport, LedgerReport, PartitionReport, Phase, PlanCheck, TableReport, Totals,
    WorkerReport,
};

/// Partitions of each topic.
pub const PARTITIONS: usize = 4;
/// Records that come in a second in each partition, once they come.
const RATE: i64 = 100;
/// Bytes of a record.
const RECORD: u64 = 200;
/// Commits that a worker tells of.
const TOLD: i64 = 10;
/// Records of the ledger before the traffic begins.
const OLD: u64 = 1000;
/// How old the last of these is at the start of the benchmark: nothing was committed for a long time.
const SILENCE: SignedDuration = SignedDuration::from_hours(1);
/// So often the agent measures the lag of a job.
const LAG_EVERY: SignedDuration = SignedDuration::from_secs(15);
/// So often it looks at a topic.
const TOPIC_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// A job whose pods are played.
#[derive(Debug, Clone)]
pub struct PlayedJob {
    /// `namespace/name`.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// `plan_hash` of its plan.
    pub plan_hash: String,
    /// Where its ledger lies.
    pub ledger: String,
    /// Period of its window.
    pub window: SignedDuration,
    /// The end offsets of the silent topic.
    pub ends: [i64; PARTITIONS],
    /// How far into a window the job is when the traffic begins: jobs do not commit all at once.
    pub phase: SignedDuration,
}

/// When things begin.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// The benchmark.
    pub start: Timestamp,
    /// The records; nothing: the topics are silent.
    pub moves: Option<Timestamp>,
}

/// A job at one moment.
struct Look<'a> {
    job: &'a PlayedJob,
    traffic: Traffic,
    at: Timestamp,
}

impl Look<'_> {
    /// How long records have been coming.
    fn moving(&self) -> SignedDuration {
        let since = self.traffic.moves.map_or(SignedDuration::ZERO, |moves| self.at.duration_since(moves));
        since.max(SignedDuration::ZERO)
    }

    /// Windows that were committed since records came.
    fn windows(&self) -> i64 {
        let (moving, window) = (self.moving(), self.job.window.as_secs().max(1));
        if moving.is_zero() { 0 } else { (moving + self.job.phase).as_secs() / window }
    }

    /// Seconds of traffic up to the end of a window.
    fn until(&self, window: i64) -> i64 {
        (window * self.job.window.as_secs() - self.job.phase.as_secs()).max(0)
    }

    fn partition(&self, partition: usize) -> PartitionReport {
        let old = self.job.ends[partition];
        let end = old + self.moving().as_millis() as i64 * RATE / 1000;
        let committed = old + self.until(self.windows()) * RATE;
        PartitionReport {
            topic: self.job.topic.clone(),
            partition: partition as i32,
            committed,
            position: end,
            end: Some(end),
            lag: Some(end - committed),
        }
    }

    /// The last commits, newest first.
    fn commits(&self) -> Vec<CommitReport> {
        (0..TOLD).map(|back| self.commit(self.windows() - back)).collect()
    }

    /// A commit, counted from the beginning of the traffic; those before it have numbers up to 0.
    fn commit(&self, window: i64) -> CommitReport {
        let seconds = if window > 0 { self.until(window) - self.until(window - 1) } else { self.job.window.as_secs() };
        let read = (seconds * RATE * PARTITIONS as i64) as u64;
        let time = match self.traffic.moves.filter(|_| window > 0) {
            Some(moves) => moves + SignedDuration::from_secs(self.until(window)),
            None => self.traffic.start - SILENCE + self.job.window * (window as i32),
        };
        CommitReport {
            seq: OLD.saturating_add_signed(window),
            batch: format!("batch-{window}"),
            time,
            read,
            written: read,
            files: 4,
            bytes: read * RECORD,
            positions: (0..PARTITIONS).map(|it| (it as i32, self.job.ends[it] + self.until(window) * RATE)).collect(),
        }
    }

    fn totals(&self) -> Totals {
        let read = (0..PARTITIONS).map(|it| self.partition(it).committed as u64).sum();
        Totals {
            read,
            written: read,
            bytes_read: read * RECORD,
            bytes_written: read * RECORD / 4,
            files: 4 * (OLD + self.windows() as u64),
            batches: OLD + self.windows() as u64,
            ..Totals::default()
        }
    }
}

impl PlayedJob {
    /// The job as it is now.
    fn look(&self, traffic: Traffic, at: Timestamp) -> Look<'_> {
        Look { job: self, traffic, at }
    }

    /// The job as somebody saw it who looks so often. Not all are looked at in the same second.
    fn last_look(&self, traffic: Traffic, now: Timestamp, every: SignedDuration) -> Look<'_> {
        let age = (now.as_second() + self.phase.as_secs()).rem_euclid(every.as_secs());
        let parts = SignedDuration::from_nanos(i64::from(now.subsec_nanosecond()));
        self.look(traffic, now - SignedDuration::from_secs(age) - parts)
    }

    /// What the worker of this ordinal tells. They share the partitions evenly.
    pub fn worker(&self, ordinal: usize, workers: usize, traffic: Traffic, now: Timestamp) -> WorkerReport {
        let look = self.look(traffic, now);
        WorkerReport {
            version: 1,
            worker: format!("{}-{ordinal}", self.name.replace('/', "-")),
            job: self.name.clone(),
            plan_hash: self.plan_hash.clone(),
            generation: 1,
            phase: Phase::Running,
            trouble: None,
            partitions: (ordinal..PARTITIONS).step_by(workers.max(1)).map(|it| look.partition(it)).collect(),
            totals: look.totals(),
            commits: look.commits(),
            ledger_tail: Some(OLD + look.windows() as u64),
            unpublished: 0,
            memory_used: 64 << 20,
            memory_budget: 192 << 20,
            time: now,
        }
    }

    /// What the agent tells of the job.
    pub fn job(&self, traffic: Traffic, now: Timestamp) -> JobReport {
        let look = self.last_look(traffic, now, LAG_EVERY);
        let partitions: Vec<_> = (0..PARTITIONS).map(|it| look.partition(it)).collect();
        let behind = look.moving() - SignedDuration::from_secs(look.until(look.windows()));
        let finding =
            Finding { ok: true, reason: "Valid".to_owned(), message: "the transforms are planned".to_owned() };
        JobReport {
            name: self.name.rsplit('/').next().unwrap_or_default().to_owned(),
            check: Some(PlanCheck { plan_hash: self.plan_hash.clone(), finding }),
            lag: Some(LagReport { partitions, seconds: Some(behind.as_secs()), time: look.at }),
            ledger: Some(LedgerReport {
                url: self.ledger.clone(),
                tail: Some(OLD + look.windows() as u64),
                last_commit: look.commits().into_iter().next(),
                totals: look.totals(),
                unpublished: None,
            }),
        }
    }

    /// What the agent tells of the table that is the topic.
    pub fn table(&self, name: &str, traffic: Traffic, now: Timestamp) -> TableReport {
        let look = self.last_look(traffic, now, TOPIC_EVERY);
        let ends = (0..PARTITIONS).filter_map(|it| look.partition(it).end).collect();
        let rate = if look.moving().is_zero() { 0 } else { RATE * PARTITIONS as i64 };
        let message = format!("topic {} has {PARTITIONS} partitions", self.topic);
        TableReport {
            name: name.to_owned(),
            uid: String::new(),
            generation: 1,
            finding: Finding { ok: true, reason: "Valid".to_owned(), message },
            kafka: Some(TopicFindings {
                partitions: PARTITIONS as i64,
                end_offsets: ends,
                records_per_second: Some(rate as f64),
            }),
            object_store: None,
        }
    }

    /// What it tells of the table that is the folder: the real agent does not look into folders.
    pub fn folder(name: &str) -> TableReport {
        let finding = Finding { ok: true, reason: "Valid".to_owned(), message: "it can be planned".to_owned() };
        TableReport {
            name: name.to_owned(),
            uid: String::new(),
            generation: 1,
            finding,
            kafka: None,
            object_store: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> PlayedJob {
        PlayedJob {
            name: "etl/orders".to_owned(),
            topic: "orders".to_owned(),
            plan_hash: "h".to_owned(),
            ledger: "s3://lake/orders/_sluice/".to_owned(),
            window: SignedDuration::from_secs(100),
            ends: [1000, 2000, 3000, 4000],
            phase: SignedDuration::from_secs(30),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time")
    }

    fn silent() -> Traffic {
        Traffic { start: at(0), moves: None }
    }

    fn moving() -> Traffic {
        Traffic { moves: Some(at(0)), ..silent() }
    }

    #[test]
    fn a_silent_topic_looks_the_same_whenever_it_is_looked_at() {
        let (first, later) = (job().worker(0, 1, silent(), at(0)), job().worker(0, 1, silent(), at(5000)));
        assert_eq!(WorkerReport { time: later.time, ..first }, later);
        assert!(later.partitions.iter().all(|it| it.lag == Some(0)));
        let of_agent = |second| (job().job(silent(), at(second)), job().table("raw", silent(), at(second)));
        let ((first, table), (later, same)) = (of_agent(0), of_agent(5000));
        assert_eq!((first.ledger, table), (later.ledger, same));
    }

    #[test]
    fn records_come_evenly_and_are_committed_once_in_a_window() {
        // The first window was 30 s old when the first record came.
        for (second, committed, end) in [(0, 1000, 1000), (69, 1000, 7900), (70, 8000, 8000), (171, 18_000, 18_100)] {
            let report = job().worker(0, 1, moving(), at(second));
            assert_eq!((report.partitions[0].committed, report.partitions[0].end), (committed, Some(end)), "{second}");
        }
    }

    #[test]
    fn commits_lie_a_window_apart_and_say_what_they_read() {
        let report = job().worker(0, 1, moving(), at(200));
        let commits: Vec<_> =
            report.commits.iter().map(|it| (it.seq, it.time.as_second() - at(0).as_second(), it.read)).collect();
        assert_eq!(commits[..3], [(1002, 170, 40_000), (1001, 70, 28_000), (1000, -3600, 40_000)]);
        assert_eq!((commits.len(), report.ledger_tail), (10, Some(1002)));
    }

    #[test]
    fn workers_share_the_partitions() {
        let owned = |ordinal| -> Vec<i32> {
            job().worker(ordinal, 3, silent(), at(0)).partitions.iter().map(|it| it.partition).collect()
        };
        assert_eq!([owned(0), owned(1), owned(2)], [vec![0, 3], vec![1], vec![2]]);
    }

    #[test]
    fn the_agent_measures_now_and_then() {
        let lag = |tenth: i64| {
            let now = at(0) + SignedDuration::from_millis(100 * tenth);
            let partitions = job().job(moving(), now).lag.expect("a lag").partitions;
            partitions[0].end.expect("an end")
        };
        let ends: std::collections::BTreeSet<_> = (0..600).map(lag).collect();
        assert!(ends.len() <= 5, "{ends:?}");
    }
}
