//! What to do next: decided from what is there, so that it goes on after any death.
//!
//! A new plan replaces all workers together: zero of the old, then all of the new. The StatefulSet is scaled to zero instead of having
//! its pods deleted, because then no pod comes back between the two plans, and the operator needs no right to delete pods. What changes the
//! pods without changing the rows (resources, labels, a restart) is rolled through one pod after the other by the StatefulSet itself.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use sluice_crds::condition::{ConditionType, Reason, StateReason};
use sluice_crds::report::AgentReport;
use sluice_crds::streaming_job::StreamingJobStatus;

use super::dereference::World;
use super::validate::{Invalid, Validated};
use crate::condition;
use crate::names;
use crate::views::SetView;

/// Names the run that a Job is, on the Job.
pub const RUN_LABEL: &str = "sluice.dev/run";
/// A plan that no agent checked after this time is started all the same: workers check it too, and an agent that cannot start must not stop
/// the jobs of its namespace.
const AGENT_PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// May this plan be started?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// The agent has not looked at it yet.
    Waiting,
    /// No.
    Refused(Invalid),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Leave everything as it is.
    Hold,
    /// Send workers home, and come back when they are gone.
    Drain,
    /// So many workers, in a StatefulSet.
    Set {
        /// How many.
        replicas: i32,
    },
    /// A bounded run, in a Job.
    Run {
        /// Held back.
        suspended: bool,
    },
    /// The bounded run is complete; nothing to do.
    Done,
}

/// Decides whether a plan may be started. A plan that is at work is not asked about again.
pub fn gate(
    job: &Validated,
    name: &str,
    world: &World,
    agent: Option<&AgentReport>,
    before: &StreamingJobStatus,
    now: Timestamp,
) -> Gate {
    if let Some(refused) = checkpoint_moved(job, before) {
        return Gate::Refused(refused);
    }
    let let_through = world.set.as_ref().is_some_and(|set| {
        let next = set.annotations().get(names::NEXT_PLAN).map(String::as_str);
        [plan_of(set), next].contains(&Some(job.hash.as_str()))
    });
    if let_through || current_run(job, world).is_some() {
        return Gate::Open;
    }
    if let Some(agent) = agent {
        if let Some(refused) = secret_missing(job, world, agent) {
            return Gate::Refused(refused);
        }
        let check = agent.jobs.iter().find(|report| report.name == name).and_then(|report| report.check.as_ref());
        match check.filter(|check| check.plan_hash == job.hash) {
            Some(check) if check.finding.ok => return Gate::Open,
            Some(check) => {
                let reason = Reason::from_word(&check.finding.reason).unwrap_or(Reason::ConfigInvalid);
                return Gate::Refused(Invalid { reason, message: check.finding.message.clone() });
            }
            None => {}
        }
    }
    let asked = condition::find(&before.conditions, ConditionType::ConfigValid).filter(|it| it.status == "Unknown");
    let since = asked.map_or(now, |asked| asked.last_transition_time.0);
    if now.duration_since(since) > AGENT_PATIENCE { Gate::Open } else { Gate::Waiting }
}

/// Where nobody says where the checkpoint is, it lies beside the table. A table that moves would take it along, and the job would begin anew.
fn checkpoint_moved(job: &Validated, before: &StreamingJobStatus) -> Option<Invalid> {
    let known = before.checkpoint.as_ref().filter(|known| known.seq.is_some())?;
    let (old, new) = (&known.url, &job.plan.checkpoint.url);
    (!job.own_checkpoint && old != new).then(|| Invalid {
        reason: Reason::CheckpointMoved,
        message: format!(
            "the sink moved, and with it the default place of the checkpoint, from {old} to {new}: set spec.checkpoint.url to the first \
             to go on where the job is, or to the second to begin anew by spec.source.startPosition"
        ),
    })
}

/// Pods of a job whose secret is missing would hang without a word.
fn secret_missing(job: &Validated, world: &World, agent: &AgentReport) -> Option<Invalid> {
    let (source, stores) = job.plan.connections();
    let findings =
        agent.connections.iter().filter(|report| report.name == source || stores.contains(report.name.as_str()));
    findings
        .filter(|report| world.is_current(report) && report.finding.reason == StateReason::SecretNotFound.as_str())
        .map(|report| Invalid {
            reason: Reason::ReferenceNotFound,
            message: format!("Connection {}: {}", report.name, report.finding.message),
        })
        .next()
}

/// Decides what to do. `job` is nothing when it is invalid or not to be started yet.
pub fn decide(job: Option<&Validated>, suspended: bool, world: &World, before: &StreamingJobStatus) -> Step {
    let Some(job) = job else {
        let at_work = world.set.as_deref().is_some_and(has_replicas) || world.runs.iter().any(|run| is_going(run));
        return if suspended && at_work { Step::Drain } else { Step::Hold };
    };
    if others_at_work(job, world) {
        return Step::Drain;
    }
    if !job.is_bounded() {
        return Step::Set { replicas: if suspended { 0 } else { job.replicas } };
    }
    let told = before.runs.first().is_some_and(|run| run.id == job.run && run.completion_time.is_some());
    match current_run(job, world) {
        None if told => Step::Done,
        Some(run) if !is_going(run) => Step::Done,
        _ => Step::Run { suspended: suspended || job.replicas == 0 },
    }
}

/// Does anybody work on another plan, or in another manner?
fn others_at_work(job: &Validated, world: &World) -> bool {
    let set = world.set.as_deref().is_some_and(|set| {
        let same = plan_of(set) == Some(job.hash.as_str()) && !job.is_bounded();
        !same && has_replicas(set)
    });
    let runs = world
        .runs
        .iter()
        .any(|run| run_of(run) != Some(job.run.as_str()) && is_going(run) || !job.is_bounded() && is_going(run));
    // The cache may show pods that a set of the old plan left behind.
    let pods = world.pods.iter().any(|pod| !pod.finished && pod.plan_hash.as_deref() != Some(job.hash.as_str()));
    set || runs || pods
}

/// The Job of the present run.
pub fn current_run<'w>(job: &Validated, world: &'w World) -> Option<&'w Job> {
    let runs = world.runs.iter().filter(|run| run.metadata.deletion_timestamp.is_none());
    job.is_bounded().then(|| runs.map(AsRef::as_ref).find(|run| run_of(run) == Some(job.run.as_str()))).flatten()
}

/// The run that a Job is.
pub fn run_of(run: &Job) -> Option<&str> {
    run.labels().get(RUN_LABEL).map(String::as_str)
}

fn plan_of(set: &SetView) -> Option<&str> {
    set.annotations().get(names::PLAN_HASH).map(String::as_str)
}

/// Has it pods, or will it have some?
pub fn has_replicas(set: &SetView) -> bool {
    set.spec.replicas.unwrap_or(1) > 0 || set.status.replicas > 0
}

/// Is the run not over? A Job that is being deleted stays until its pods are gone.
pub fn is_going(run: &Job) -> bool {
    ended(run).is_none() || run.metadata.deletion_timestamp.is_some()
}

/// How the run ended: with success, or with the reason of its failure.
pub fn ended(run: &Job) -> Option<Result<(), String>> {
    let conditions = run.status.as_ref()?.conditions.as_deref()?;
    let is = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True");
    if is("Complete").is_some() {
        return Some(Ok(()));
    }
    is("Failed").map(|failed| Err(failed.message.clone().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
