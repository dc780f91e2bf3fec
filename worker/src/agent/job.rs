//! What is known of a job without its workers: its ledger, read and never written, against the ends of its topic.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use sluice_crds::plan::{JobPlan, Location};
use sluice_crds::report::{CommitReport, LagReport, LedgerReport, PartitionReport, Totals};

use super::world::JobFacts;
use super::{Tools, visible};
use crate::error::Stop;
use crate::ledger::state::{LastCommit, State};
use crate::ledger::{Ledger, LedgerError};
use crate::pipeline::start::{blocking, check_topic, client_name, describe, positions_of};
use crate::source::{TopicInfo, record_times};

/// How long brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a look at a job found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobLook {
    /// The lag; nothing when it could not be measured for all partitions.
    pub lag: Option<LagReport>,
    /// The ledger; nothing when there is none, or it is another job's.
    pub ledger: Option<LedgerReport>,
}

/// What one look leaves for the next one.
#[derive(Debug, Default)]
pub struct Kept {
    /// Where the ledger lies, and the ledger as it was read.
    ledger: Option<(Location, Ledger)>,
    last_commit: Option<CommitReport>,
    /// Files that were seen, of commits that the ledger does not call visible.
    visible: BTreeSet<String>,
    /// When the first record at a position was written, by partition. A record does not change.
    times: BTreeMap<i32, (i64, Option<i64>)>,
    /// Why the last look found less than there is.
    trouble: Option<Stop>,
}

impl Kept {
    /// Did the look find all that there is?
    pub fn is_whole(&self) -> bool {
        self.trouble.is_none()
    }
}

/// Looks at a job. What cannot be found out is missing in the answer, and the log says why: once, and not every time.
pub async fn look(facts: &JobFacts, tools: &Tools, mut kept: Kept) -> (JobLook, Kept) {
    let mut found = JobLook::default();
    let trouble = look_into(facts, tools, &mut kept, &mut found).await.err();
    if let Some(stop) = trouble.as_ref().filter(|stop| kept.trouble.as_ref() != Some(stop)) {
        let JobPlan { job, .. } = &facts.plan;
        tracing::warn!(job = job.name, error = %stop, "lag or ledger of the job cannot be told");
    }
    kept.trouble = trouble;
    (found, kept)
}

async fn look_into(facts: &JobFacts, tools: &Tools, kept: &mut Kept, found: &mut JobLook) -> Result<(), Stop> {
    let plan = &facts.plan;
    let ledger = ledger(plan, tools, kept).await?;
    if let Some(ledger) = &ledger {
        let mut report = ledger_report(ledger, &plan.checkpoint.url, &mut kept.last_commit).await?;
        report.unpublished = visible::unpublished(facts, tools, ledger, &mut kept.visible).await;
        found.ledger = Some(report);
    }
    let lag = lag(plan, tools, ledger.as_ref(), &mut kept.times).await;
    // After an error of the ledger it is opened again; what Kafka says does not concern it.
    kept.ledger = ledger.map(|ledger| (plan.checkpoint.clone(), ledger));
    found.lag = Some(lag?);
    Ok(())
}

/// The ledger as it is now. None: the job has never run.
async fn ledger(plan: &JobPlan, tools: &Tools, kept: &mut Kept) -> Result<Option<Ledger>, Stop> {
    let known = kept.ledger.take().filter(|(place, _)| *place == plan.checkpoint);
    let ledger = if let Some((_, mut ledger)) = known {
        ledger.sync().await?;
        ledger
    } else {
        kept.last_commit = None;
        let (objects, prefix) = tools.lakes.open(&plan.checkpoint)?.objects();
        match Ledger::open_existing(objects, prefix, &plan.checkpoint.url).await {
            Ok(ledger) => ledger,
            Err(LedgerError::NoLedger { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let (owner, job) = (ledger.owner(), &plan.job);
    if (&owner.cluster, &owner.namespace, &owner.name) != (&job.cluster, &job.namespace, &job.name) {
        let ours = format!("job {}/{} of cluster {}", job.namespace, job.name, job.cluster);
        return Err(LedgerError::Foreign { url: plan.checkpoint.url.clone(), found: owner.to_string(), ours }.into());
    }
    Ok(Some(ledger))
}

async fn ledger_report(ledger: &Ledger, url: &str, known: &mut Option<CommitReport>) -> Result<LedgerReport, Stop> {
    let state = ledger.state();
    match &state.last_commit {
        None => *known = None,
        Some(last) if known.as_ref().is_some_and(|known| known.seq == last.seq) => {}
        Some(last) => {
            // The state has the commits that are not known to be visible, and only the numbers of others.
            let commit = match state.unpublished.get(&last.seq) {
                Some(commit) => Some(commit.clone()),
                None => ledger.commit(last.seq).await?,
            };
            *known = commit.map(|commit| {
                let positions = commit.ranges.iter().map(|range| (range.partition, range.to)).collect();
                commit_report(last, commit.counts.written, positions)
            });
        }
    }
    let (url, last_commit) = (url.to_owned(), known.clone());
    Ok(LedgerReport { url, tail: state.tail, last_commit, totals: totals(state), unpublished: None })
}

fn commit_report(last: &LastCommit, written: u64, positions: BTreeMap<i32, i64>) -> CommitReport {
    CommitReport {
        seq: last.seq,
        batch: last.batch.clone(),
        time: last.window_end,
        read: last.records,
        written,
        files: last.files,
        bytes: last.bytes,
        positions,
    }
}

fn totals(state: &State) -> Totals {
    let sums = &state.totals;
    Totals {
        read: sums.counts.read,
        written: sums.counts.written,
        filtered: sums.counts.filtered,
        dead: sums.counts.dead,
        bytes_read: sums.counts.bytes,
        bytes_written: sums.bytes,
        files: sums.files,
        batches: sums.commits,
        voided: sums.voids,
        // Windows that were tried again leave nothing in a ledger.
        retried: 0,
    }
}

async fn lag(
    plan: &JobPlan,
    tools: &Tools,
    ledger: Option<&Ledger>,
    times: &mut BTreeMap<i32, (i64, Option<i64>)>,
) -> Result<LagReport, Stop> {
    let partitions = measure(plan, tools, ledger).await?;
    let behind = behind(&partitions);
    times.retain(|partition, (offset, _)| behind.get(partition) == Some(offset));
    let unknown: BTreeMap<i32, i64> =
        behind.iter().filter(|(partition, _)| !times.contains_key(partition)).map(|(p, at)| (*p, *at)).collect();
    if !unknown.is_empty() {
        match read_times(plan, tools, unknown.clone()).await {
            Ok(read) => {
                times.extend(read.into_iter().filter_map(|(p, time)| Some((p, (*unknown.get(&p)?, time)))));
            }
            // A lag without an age is worth telling all the same.
            Err(stop) => tracing::debug!(job = client_name(plan), error = %stop, "the age of the lag is not known"),
        }
    }
    let now = Timestamp::now();
    Ok(LagReport { seconds: age(&behind, times, now), partitions, time: now })
}

/// The ends of the topic against the positions of the ledger.
async fn measure(plan: &JobPlan, tools: &Tools, ledger: Option<&Ledger>) -> Result<Vec<PartitionReport>, Stop> {
    let source = &plan.source;
    let asked = tools.brokers.ask(&source.kafka, &source.topic, |topic| async move {
        let info = describe(&topic).await?;
        let committed = if let Some(ledger) = ledger.filter(|ledger| ledger.state().topic.is_some()) {
            check_topic(plan, ledger, &info)?;
            positions_of(&topic, ledger, &info.partitions.iter().copied().collect()).await?
        } else {
            // The first worker would begin there.
            let (from, partitions) = (plan.source.start_position, info.partitions.clone());
            blocking(&topic, move |topic| topic.start_positions(&partitions, from, PATIENCE)).await?
        };
        let partitions = info.partitions.clone();
        let ends = blocking(&topic, move |topic| topic.ends(&partitions, PATIENCE)).await?;
        Ok(partitions_of(&source.topic, &info, &committed, &ends))
    });
    asked.await
}

/// When the first records behind these offsets were written.
async fn read_times(
    plan: &JobPlan,
    tools: &Tools,
    from: BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, Option<i64>>, Stop> {
    let (source, job, folder) = (plan.source.clone(), client_name(plan), tools.secrets.folder().to_owned());
    let read = tools.brokers.ask(&plan.source.kafka, &plan.source.topic, |client| async move {
        blocking(&client, move |_| record_times(&source, &job, &folder, &from, PATIENCE)).await
    });
    read.await
}

/// Pure. An end that a slow broker tells may be before the position.
fn partitions_of(
    topic: &str,
    info: &TopicInfo,
    committed: &BTreeMap<i32, i64>,
    ends: &BTreeMap<i32, i64>,
) -> Vec<PartitionReport> {
    let known = info.partitions.iter().filter_map(|partition| {
        let committed = *committed.get(partition)?;
        let end = ends.get(partition).map(|end| (*end).max(committed));
        Some(PartitionReport {
            topic: topic.to_owned(),
            partition: *partition,
            committed,
            position: committed,
            end,
            lag: end.map(|end| end - committed),
        })
    });
    known.collect()
}

/// The positions of the partitions that have a lag.
fn behind(partitions: &[PartitionReport]) -> BTreeMap<i32, i64> {
    let behind = partitions.iter().filter(|partition| partition.lag.is_some_and(|lag| lag > 0));
    behind.map(|partition| (partition.partition, partition.committed)).collect()
}

/// Pure. The age of the oldest record that is not committed; nothing while one of them is not known.
fn age(behind: &BTreeMap<i32, i64>, times: &BTreeMap<i32, (i64, Option<i64>)>, now: Timestamp) -> Option<i64> {
    let known: Option<Vec<Option<i64>>> =
        behind.keys().map(|partition| times.get(partition).map(|(_, time)| *time)).collect();
    // Markers of transactions have no time that anybody waits for.
    let oldest = known?.into_iter().flatten().min();
    Some(oldest.map_or(0, |oldest| (now.as_millisecond() - oldest).max(0) / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_000).expect("a time")
    }

    #[test]
    fn the_age_of_a_lag_is_that_of_its_oldest_record_and_is_never_guessed() {
        let behind = BTreeMap::from([(0, 5), (1, 7), (2, 9)]);
        let mut times = BTreeMap::from([(0, (5, Some(990_000))), (1, (7, Some(940_500)))]);
        assert_eq!(age(&behind, &times, now()), None, "partition 2 is not known");
        times.insert(2, (9, None));
        assert_eq!(age(&behind, &times, now()), Some(59), "behind it are markers only");
        times.insert(1, (7, Some(2_000_000)));
        assert_eq!(age(&behind, &times, now()), Some(10), "a clock that is ahead");
        assert_eq!(age(&BTreeMap::new(), &times, now()), Some(0));
    }

    #[test]
    fn an_end_that_is_before_the_position_is_no_lag() {
        let info = TopicInfo { topic_id: String::new(), partitions: vec![0, 1, 2] };
        let (committed, ends) = ([(0, 10), (1, 10)].into(), [(0, 15), (1, 8), (2, 3)].into());
        let found = partitions_of("t", &info, &committed, &ends);
        let told: Vec<_> = found.iter().map(|it| (it.partition, it.committed, it.end, it.lag)).collect();
        assert_eq!(told, [(0, 10, Some(15), Some(5)), (1, 10, Some(10), Some(0))]);
        assert_eq!(behind(&found), [(0, 10)].into());
    }
}
