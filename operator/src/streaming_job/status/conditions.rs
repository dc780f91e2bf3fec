//! The conditions of a job, as its status contract lists them.

use std::cmp::Ordering;

use sluice_crds::condition::{ConditionType, Reason, StateReason};
use sluice_crds::streaming_job::Lag;

use super::progress::{Progress, patience};
use super::troubles::Trouble;
use super::{Facts, Outcome};
use crate::condition::{self, Aspect, Truth};
use crate::streaming_job::rollout::{self, Step};

/// `Ready`, with what goes with it.
struct Verdict {
    ready: bool,
    reason: String,
    message: String,
    /// The reason of `Reconciling`, when a change is on its way.
    reconciling: Option<StateReason>,
    /// The reason of `Stalled`, when only a person helps.
    stalled: Option<String>,
}

impl Verdict {
    fn new(ready: bool, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { ready, reason: reason.into(), message: message.into(), reconciling: None, stalled: None }
    }

    fn reconciling(self, reason: StateReason) -> Self {
        Self { reconciling: Some(reason), ..self }
    }

    fn stalled(self, reason: Option<impl Into<String>>) -> Self {
        Self { stalled: reason.map(Into::into), ..self }
    }
}

/// All conditions. `Reconciling` and `Stalled` are there only when they are true.
pub fn aspects(facts: &Facts<'_>, progress: &Progress) -> Vec<Aspect> {
    let trouble = Trouble::of(facts);
    let verdict = verdict(facts, progress, trouble.as_ref());
    let mut aspects = vec![Aspect::new(ConditionType::Ready, verdict.ready, verdict.reason, &verdict.message)];
    if let Some(reason) = verdict.reconciling {
        aspects.push(Aspect::new(ConditionType::Reconciling, true, reason, &verdict.message));
    }
    if let Some(reason) = verdict.stalled {
        aspects.push(Aspect::new(ConditionType::Stalled, true, reason, &verdict.message));
    }
    aspects.push(config_valid(facts, progress, trouble.as_ref()));
    aspects.extend(lag_within_target(facts, progress));
    aspects.push(scaling_limited(facts, progress));
    aspects.push(dead_letters(progress));
    aspects
}

fn verdict(facts: &Facts<'_>, progress: &Progress, trouble: Option<&Trouble>) -> Verdict {
    if let Outcome::Failed { conflict, user, message } = facts.outcome {
        let reason = if *conflict { StateReason::NameConflict.as_str() } else { Reason::ConfigInvalid.as_str() };
        if *user {
            return Verdict::new(false, reason, message).stalled(Some(reason));
        }
    }
    if facts.suspended {
        return suspended(facts, progress);
    }
    match facts.outcome {
        Outcome::Invalid(invalid) => {
            // A missing reference heals when it appears; the rest needs a change of what is there.
            let stalls = invalid.reason != Reason::ReferenceNotFound;
            let message = format!("{}: {}", invalid.reason, invalid.message);
            let moved = invalid.reason == Reason::CheckpointMoved;
            let stalled = if moved { Reason::CheckpointMoved } else { Reason::ConfigInvalid };
            Verdict::new(false, Reason::ConfigInvalid, message).stalled(stalls.then_some(stalled))
        }
        Outcome::Checking => {
            let message = "the agent of the namespace is checking the plan";
            Verdict::new(false, StateReason::Starting, message).reconciling(StateReason::NewGeneration)
        }
        Outcome::Done(Step::Drain) => draining(facts, "workers of the plan before commit what is open and leave"),
        Outcome::Done(Step::Set { replicas: 0 } | Step::Run { suspended: true }) => at_zero(facts, progress),
        Outcome::Done(Step::Done | Step::Run { .. }) => bounded(facts, progress, trouble),
        Outcome::Done(Step::Set { .. } | Step::Hold) | Outcome::Failed { .. } => running(facts, progress, trouble),
    }
}

/// Whoever is waited for is named: a pod on a node that is gone leaves only when somebody removes it.
fn draining(facts: &Facts<'_>, why: &str) -> Verdict {
    let pods: Vec<&str> =
        facts.world.pods.iter().filter(|pod| !pod.finished).map(|pod| pod.name.as_str()).take(5).collect();
    let message = match pods.as_slice() {
        [] => why.to_owned(),
        pods => format!("{why}; still there: {} (if its node is gone: kubectl delete pod --force)", pods.join(", ")),
    };
    Verdict::new(false, StateReason::Draining, message).reconciling(StateReason::Draining)
}

fn suspended(facts: &Facts<'_>, progress: &Progress) -> Verdict {
    if facts.alive() > 0 {
        return draining(facts, "workers commit what is open and leave, because spec.suspend is set");
    }
    if let Some(left) = left_behind(facts, progress) {
        return left;
    }
    Verdict::new(true, StateReason::Suspended, "spec.suspend is set; with false the job goes on where it is")
}

/// Workers that were killed may leave commits that nobody makes visible before the job runs again. Nothing is on its way then.
fn left_behind(facts: &Facts<'_>, progress: &Progress) -> Option<Verdict> {
    let before = |type_| condition::find(&facts.before.conditions, type_);
    let message = match progress.unpublished {
        Some(0) => return None,
        Some(commits) => format!(
            "the workers are gone, and {commits} of their commits were decided but not visible when the agent looked last: the files become \
             visible when the job runs again"
        ),
        // While nobody can look, what was found last stands. A drain that goes on is reconciling.
        None => before(ConditionType::Ready)
            .filter(|ready| {
                ready.reason == StateReason::Draining.as_str() && before(ConditionType::Reconciling).is_none()
            })
            .map(|ready| ready.message.clone())?,
    };
    Some(Verdict::new(false, StateReason::Draining, message))
}

/// `workers.replicas: 0` is what the user asked for.
fn at_zero(facts: &Facts<'_>, progress: &Progress) -> Verdict {
    if facts.alive() > 0 {
        return draining(facts, "workers commit what is open and leave, because spec.workers.replicas is 0");
    }
    if let Some(left) = left_behind(facts, progress) {
        return left;
    }
    let nothing_to_do = progress.lag.as_ref().is_some_and(|lag| lag.records == 0);
    let reason = if nothing_to_do { StateReason::Idle } else { StateReason::Suspended };
    Verdict::new(true, reason, "spec.workers.replicas is 0, so nothing is read")
}

fn bounded(facts: &Facts<'_>, progress: &Progress, trouble: Option<&Trouble>) -> Verdict {
    let run = facts.valid.and_then(|valid| rollout::current_run(valid, facts.world));
    match run.and_then(rollout::ended) {
        Some(Ok(())) => {
            Verdict::new(true, StateReason::Completed, "everything up to the end offsets of the start is published")
        }
        Some(Err(words)) => {
            let (reason, message) = match trouble {
                Some(trouble) => (trouble.not_ready(), trouble.text()),
                None => (StateReason::WorkersCrashing.as_str(), words),
            };
            let stalls = trouble.and_then(Trouble::stalls).unwrap_or(Reason::RetriesExhausted.as_str());
            Verdict::new(false, reason, message).stalled(Some(stalls))
        }
        None if *facts.outcome == Outcome::Done(Step::Done) => {
            // The Job is gone, and what is recorded of the run is what counts.
            let failed = facts.before.runs.first().and_then(|run| run.reason.clone());
            match failed.filter(|reason| reason != StateReason::Completed.as_str()) {
                None => Verdict::new(
                    true,
                    StateReason::Completed,
                    "everything up to the end offsets of the start is published",
                ),
                Some(reason) => {
                    Verdict::new(false, StateReason::WorkersCrashing, format!("the last run failed: {reason}"))
                        .stalled(Some(reason))
                }
            }
        }
        None => running(facts, progress, trouble),
    }
}

/// Workers should be at work: are they, by what they commit?
fn running(facts: &Facts<'_>, progress: &Progress, trouble: Option<&Trouble>) -> Verdict {
    let desired = facts.desired();
    // More workers than partitions are spares: they own nothing, and nothing is wrong with them.
    let useful =
        progress.partitions.map_or(desired, |partitions| desired.min(i32::try_from(partitions).unwrap_or(desired)));
    // A worker of a bounded run leaves when it is done, and what it owned needs nobody any more.
    let leaving = facts.world.pods.iter().any(|pod| pod.succeeded);
    let scaling = !leaving && (progress.ready < useful || facts.alive() as i32 != desired);
    let outdated = facts.outdated();
    if (progress.all_owned() || leaving && progress.ready > 0) && progress.fresh {
        let message = format!("{} of {desired} workers own all {} partitions", progress.ready, progress.owned.len());
        let verdict = Verdict::new(true, StateReason::Running, message);
        return match (outdated, scaling) {
            (true, _) => verdict.reconciling(StateReason::NewGeneration),
            (_, true) => verdict.reconciling(StateReason::Scaling),
            _ => verdict,
        };
    }
    if let Some(trouble) = trouble {
        return Verdict::new(false, trouble.not_ready(), trouble.text()).stalled(trouble.stalls());
    }
    let pods = &facts.world.pods;
    if let Some((pod, words)) = pods.iter().find_map(|pod| Some((pod, pod.unschedulable.as_ref()?))) {
        return Verdict::new(false, StateReason::Unschedulable, format!("Pod {}: {words}", pod.name));
    }
    if let Some((pod, words)) = pods.iter().find_map(|pod| Some((pod, pod.waiting.as_ref()?))) {
        return Verdict::new(false, StateReason::Starting, format!("Pod {}: {words}", pod.name));
    }
    if progress.all_owned() && has_waited(facts) {
        return stuck(facts, progress);
    }
    let message = match progress.partitions {
        _ if let Outcome::Failed { message, .. } = facts.outcome => message.clone(),
        Some(partitions) if partitions > progress.owned.len() => {
            format!("{} of {partitions} partitions are owned", progress.owned.len())
        }
        _ if progress.ready > 0 => "nothing was committed yet".to_owned(),
        _ => format!("{} of {desired} workers are at work", progress.ready),
    };
    Verdict::new(false, StateReason::Starting, message).reconciling(StateReason::NewGeneration)
}

/// Was the job not ready for longer than a commit may take?
fn has_waited(facts: &Facts<'_>) -> bool {
    let ready = condition::find(&facts.before.conditions, ConditionType::Ready);
    let since = match ready {
        // It was ready until now, and the last commit has become old.
        Some(ready) if ready.status == "True" => return true,
        Some(ready) => ready.last_transition_time.0,
        None => return false,
    };
    facts.now.duration_since(since) > patience(facts)
}

/// Workers own everything and complain of nothing, and do not commit. Where the records are says which end is to blame.
fn stuck(facts: &Facts<'_>, progress: &Progress) -> Verdict {
    let last = progress.last_commit.as_ref().map_or_else(|| "never".to_owned(), |commit| commit.time.0.to_string());
    let limit = patience(facts).as_secs();
    let (reason, what) = if progress.in_flight {
        (Reason::SinkUnavailable, "records are read and not committed")
    } else {
        (Reason::SourceUnavailable, "there are records, and none is read")
    };
    Verdict::new(false, reason, format!("{what}; the last commit was {last}, and should be no older than {limit}s"))
}

fn config_valid(facts: &Facts<'_>, progress: &Progress, trouble: Option<&Trouble>) -> Aspect {
    let aspect =
        |truth: Truth, reason: &str, message: &str| Aspect::new(ConditionType::ConfigValid, truth, reason, message);
    match (facts.outcome, trouble) {
        (Outcome::Invalid(invalid), _) => aspect(Truth::False, invalid.reason.as_str(), &invalid.message),
        (Outcome::Checking, _) => {
            aspect(Truth::Unknown, StateReason::Starting.as_str(), "the agent of the namespace is checking the plan")
        }
        (Outcome::Failed { conflict: false, user: true, message }, _) => {
            aspect(Truth::False, Reason::ConfigInvalid.as_str(), message)
        }
        (_, Some(trouble)) if trouble.is_config() && !(progress.all_owned() && progress.fresh) => {
            let reason = trouble.reason.unwrap_or(Reason::ConfigInvalid);
            aspect(Truth::False, reason.as_str(), &trouble.message)
        }
        _ => aspect(Truth::True, StateReason::Valid.as_str(), "references are resolved and transforms are planned"),
    }
}

fn lag_within_target(facts: &Facts<'_>, progress: &Progress) -> Option<Aspect> {
    let target = facts.valid?.plan.window.period.as_secs() as i64 * 2;
    let aspect = |truth: Truth, reason: StateReason, message: String| {
        Some(Aspect::new(ConditionType::LagWithinTarget, truth, reason, message))
    };
    let Some((lag, seconds)) = progress.lag.as_ref().and_then(|lag| Some((lag, lag.seconds?))) else {
        let message = "the age of the oldest record that is not committed is not known".to_owned();
        return aspect(Truth::Unknown, StateReason::LagUnknown, message);
    };
    if seconds <= target {
        return aspect(
            Truth::True,
            StateReason::WithinTarget,
            format!("{seconds}s behind, at most {target}s are all right"),
        );
    }
    let reason = direction(facts, progress, lag);
    aspect(
        Truth::False,
        reason,
        format!("{seconds}s ({} records) behind, at most {target}s are all right", lag.records),
    )
}

/// Getting nearer, or further away? Until the next commit, what was said before stays.
fn direction(facts: &Facts<'_>, progress: &Progress, lag: &Lag) -> StateReason {
    let seq = progress.last_commit.as_ref().map(|commit| commit.seq);
    let settled = facts.settled.filter(|settled| seq != Some(settled.seq));
    match settled.map(|settled| lag.records.cmp(&settled.records)) {
        Some(Ordering::Less) => StateReason::CatchingUp,
        Some(Ordering::Greater) => StateReason::FallingBehind,
        Some(Ordering::Equal) | None => {
            let said = condition::find(&facts.before.conditions, ConditionType::LagWithinTarget);
            let catching = said.is_some_and(|said| said.reason == StateReason::CatchingUp.as_str());
            if catching { StateReason::CatchingUp } else { StateReason::FallingBehind }
        }
    }
}

fn scaling_limited(facts: &Facts<'_>, progress: &Progress) -> Aspect {
    let desired = facts.desired();
    match progress.partitions.and_then(|partitions| i32::try_from(partitions).ok()) {
        Some(partitions) if desired > partitions => Aspect::new(
            ConditionType::ScalingLimited,
            true,
            StateReason::PartitionCount,
            format!("{desired} workers share {partitions} partitions: {} of them are spares", desired - partitions),
        ),
        _ => Aspect::new(ConditionType::ScalingLimited, false, StateReason::NotLimited, "every worker is of use"),
    }
}

fn dead_letters(progress: &Progress) -> Aspect {
    match progress.totals.as_ref().map_or(0, |totals| totals.dead) {
        0 => Aspect::new(ConditionType::DeadLettersPresent, false, StateReason::NoDeadLetters, "no record was refused"),
        dead => {
            let message = format!("{dead} records were refused; each is kept with its reason under spec.deadLetter");
            Aspect::new(ConditionType::DeadLettersPresent, true, StateReason::DeadLetters, message)
        }
    }
}
