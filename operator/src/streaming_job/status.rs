//! The status of a job, made from facts. Pure.
//!
//! `Ready` is about data that was committed: workers that exist and commit nothing are not ready, and workers that die between two
//! commits in time are. What cannot be seen is told as unknown, and never as zero.

mod conditions;
mod progress;
mod runs;
mod troubles;

pub use progress::Progress;
pub use troubles::Trouble;

use jiff::{SignedDuration, Timestamp};
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::{CheckpointStatus, StreamingJobStatus, Summary, WorkersStatus};

use super::dereference::World;
use super::observe::Observed;
use super::rollout::Step;
use super::validate::{Invalid, Validated};
use crate::condition;
use crate::context::Settled;
use crate::names;

/// Numbers that change all the time are written at most so often.
const REFRESH: SignedDuration = SignedDuration::from_secs(15);

/// How far the reconcile came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The job cannot run.
    Invalid(Invalid),
    /// The agent has not looked at the plan yet.
    Checking,
    /// This was done.
    Done(Step),
    /// An object could not be made.
    Failed {
        /// Its name belongs to somebody else.
        conflict: bool,
        /// It will not get better without a person.
        user: bool,
        /// What the API server says.
        message: String,
    },
}

/// Everything that status is made from.
pub struct Facts<'a> {
    /// The job's name.
    pub key: &'a ObjectKey,
    /// Its generation.
    pub generation: i64,
    /// Should it have no workers?
    pub suspended: bool,
    /// The job, checked; nothing when it is invalid.
    pub valid: Option<&'a Validated>,
    /// What there is.
    pub world: &'a World,
    /// What pods say.
    pub observed: &'a Observed,
    /// How far the reconcile came.
    pub outcome: &'a Outcome,
    /// The status before.
    pub before: &'a StreamingJobStatus,
    /// When the job was last seen to have nothing left to read.
    pub caught_up: Option<Timestamp>,
    /// How far behind it was after its last commit but this one.
    pub settled: Option<Settled>,
    /// Now.
    pub now: Timestamp,
}

impl Facts<'_> {
    /// How many workers there should be.
    fn desired(&self) -> i32 {
        match (self.valid, self.outcome) {
            (_, Outcome::Done(Step::Done)) => 0,
            _ if self.suspended => 0,
            (Some(valid), _) => valid.replicas,
            (None, _) => self.before.workers.as_ref().map_or(0, |workers| workers.desired),
        }
    }

    /// Is a pod at work that was made from an earlier state of the job?
    fn outdated(&self) -> bool {
        let Some(valid) = self.valid else { return false };
        self.world.pods.iter().any(|pod| !pod.finished && pod.inputs.as_ref() != Some(&valid.inputs))
    }

    /// How many pods have not ended.
    fn alive(&self) -> usize {
        self.world.pods.iter().filter(|pod| !pod.finished).count()
    }
}

/// The status now.
pub fn status(facts: &Facts<'_>) -> StreamingJobStatus {
    let progress = Progress::of(facts);
    let desired = facts.desired();
    let before = facts.before;
    let (aspects, runs) = (conditions::aspects(facts, &progress), runs::runs(facts, &progress));
    // While the plan is not let through, the checkpoint is that of the plan before.
    let let_through = !matches!(facts.outcome, Outcome::Invalid(_) | Outcome::Checking);
    let checkpoint = facts
        .valid
        .filter(|_| let_through)
        .map(|valid| CheckpointStatus { url: valid.plan.checkpoint.url.clone(), seq: progress.tail });
    let source = |valid: &Validated| format!("{}/{}", valid.plan.source.kafka.connection, valid.plan.source.topic);
    let old = before.summary.clone().unwrap_or_default();
    let desired_shown = desired.max(0);
    StreamingJobStatus {
        observed_generation: facts.generation,
        conditions: condition::merge(&before.conditions, aspects, facts.generation, facts.now),
        workers: Some(WorkersStatus { desired: desired_shown, ready: progress.ready }),
        replicas: Some(i32::try_from(facts.alive()).unwrap_or(i32::MAX)),
        selector: Some(format!("{}={}", names::JOB_LABEL, facts.key.name)),
        summary: Some(Summary {
            workers: Some(format!("{}/{desired_shown}", progress.ready)),
            source: facts.valid.map(source).or(old.source),
            sink: facts.valid.map(|valid| valid.plan.sink.location.url.clone()).or(old.sink),
            rate: Some(progress.rate_text()),
        }),
        checkpoint: checkpoint.or_else(|| before.checkpoint.clone()),
        lag: progress.lag,
        last_commit: progress.last_commit,
        totals: progress.totals,
        runs,
        autoscaling: before.autoscaling.clone(),
        replay: before.replay.clone(),
    }
}

/// What to write: nothing when nothing changed but the time of looking, or when only numbers moved that were written a moment ago.
pub fn worth_writing(
    before: &StreamingJobStatus,
    now: StreamingJobStatus,
    time: Timestamp,
) -> Option<StreamingJobStatus> {
    let mut as_before = now.clone();
    if let (Some(lag), Some(old)) = (&mut as_before.lag, &before.lag) {
        lag.observed_time = old.observed_time.clone();
    }
    if *before == as_before {
        return None;
    }
    // Both are times of measurements: what was measured a while ago may be written now, and again with the next measurement.
    let observed = now.lag.as_ref().map_or(time, |lag| lag.observed_time.0);
    let young = before.lag.as_ref().is_some_and(|lag| observed.duration_since(lag.observed_time.0).abs() < REFRESH);
    (!young || without_numbers(before) != without_numbers(&now)).then_some(now)
}

/// What people and tools react to.
fn without_numbers(status: &StreamingJobStatus) -> StreamingJobStatus {
    let mut rest = status.clone();
    rest.lag = None;
    rest.last_commit = None;
    rest.totals = None;
    for condition in &mut rest.conditions {
        condition.message.clear();
    }
    if let Some(checkpoint) = &mut rest.checkpoint {
        checkpoint.seq = None;
    }
    if let Some(summary) = &mut rest.summary {
        summary.rate = None;
    }
    rest
}

#[cfg(test)]
mod tests;
