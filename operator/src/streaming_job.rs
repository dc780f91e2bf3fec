//! The reconcile of a `StreamingJob`.

pub mod build;
pub mod dereference;
pub mod observe;
pub mod rollout;
pub mod status;
pub mod template;
pub mod validate;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use serde_json::json;
use sluice_crds::condition::ConditionType;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::{StreamingJob, StreamingJobStatus};

use crate::apply::{self, Owner};
use crate::condition;
use crate::context::{Context, Settled};
use crate::error::{Class, Error};
use crate::events;
use crate::names;
use crate::object::Object;
use build::{Blueprint, Recorded};
use dereference::World;
use observe::Observed;
use rollout::{Gate, Step};
use status::{Facts, Outcome};
use validate::{Invalid, Validated};

/// The kind, in metrics and messages.
pub const KIND: &str = "StreamingJob";
/// A job at rest is looked at so often, for its lag.
const AT_REST: Duration = Duration::from_secs(15);
/// A job on its way is looked at so often at first.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// An agent that looks at all looks at a new plan at once. Only a check that takes longer than this is worth a status.
const UNTOLD: SignedDuration = SignedDuration::from_secs(1);
/// A job whose status may wait is looked at so much later.
const LATER: Duration = Duration::from_secs(5);
/// A job whose plan is about to be checked is looked at so often.
const ABOUT_TO_BE_CHECKED: Duration = Duration::from_millis(300);

/// Brings a job one step nearer to what it should be, and says how it is.
pub async fn reconcile(job: Arc<StreamingJob>, context: Arc<Context>) -> Result<Action, Error> {
    if job.metadata.deletion_timestamp.is_some() {
        // Owner references and the drain on SIGTERM do everything.
        return Ok(Action::await_change());
    }
    let (key, now) = (ObjectKey::of(&job.metadata), Timestamp::now());
    let before = job.status.clone().unwrap_or_default();
    let world = dereference::dereference(&job, &key, &context.caches);
    let valid = validate::validate(&job, &world, &context.cluster);
    let waiting = is_waiting(&job, &before, valid.as_ref().ok(), &context);
    let observed = observe::observe(&key, &world, waiting, &context).await;
    let case =
        Case { job: &job, key: &key, world: &world, observed: &observed, before: &before, now, context: &context };
    let (outcome, failure) = match case.act(&valid).await {
        Ok(outcome) => (outcome, None),
        Err(error) => (failed(&error), Some(error)),
    };
    let facts = Facts {
        key: &key,
        generation: job.metadata.generation.unwrap_or(0),
        suspended: is_suspended(&job),
        valid: valid.as_ref().ok(),
        world: &world,
        observed: &observed,
        outcome: &outcome,
        before: &before,
        caught_up: caught_up(&job, &before, now, &context),
        settled: context.settled(&job.uid().unwrap_or_default()),
        now,
    };
    let status = status::status(&facts);
    if status.lag.as_ref().is_some_and(|lag| lag.records == 0) {
        context.is_caught_up(&job.uid().unwrap_or_default(), now);
    }
    if let (Some(lag), Some(commit)) = (&status.lag, &status.last_commit)
        && facts.settled.is_none_or(|settled| settled.seq != commit.seq)
    {
        let settled = Settled { seq: commit.seq, records: lag.records };
        context.has_settled(&job.uid().unwrap_or_default(), settled);
    }
    let pace = pace(&status, now);
    if let Some(status) = status::worth_writing(&before, status, now) {
        if failure.is_none()
            && let Some(soon) =
                may_wait(&job, &status, outcome == Outcome::Checking && observed.agent.is_some(), &context)
        {
            return Ok(Action::requeue(soon));
        }
        let conditions = (before.conditions.as_slice(), status.conditions.as_slice());
        crate::status::write(&context, KIND, job.as_ref(), &status, conditions).await?;
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(Action::requeue(pace)),
    }
}

/// May this status wait, and when is it looked at again?
fn may_wait(job: &StreamingJob, status: &StreamingJobStatus, is_checked: bool, context: &Context) -> Option<Duration> {
    let (uid, now) = (job.uid().unwrap_or_default(), Timestamp::now());
    if is_checked && context.is_untold_for_less_than(&uid, now, UNTOLD) {
        return Some(ABOUT_TO_BE_CHECKED);
    }
    let is_good = !status.conditions.iter().any(events::is_trouble);
    (is_good && context.may_wait(&uid, now)).then_some(if is_checked { ON_ITS_WAY } else { LATER })
}

fn is_suspended(job: &StreamingJob) -> bool {
    job.spec.suspend.unwrap_or(false)
}

/// An operator that has just started has not seen the job, but knows what was said of it.
fn caught_up(job: &StreamingJob, before: &StreamingJobStatus, now: Timestamp, context: &Context) -> Option<Timestamp> {
    let uid = job.uid().unwrap_or_default();
    let seen = context.caught_up(&uid);
    let ready = condition::find(&before.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == "True");
    if seen.is_none() && ready {
        context.is_caught_up(&uid, now);
        return Some(now);
    }
    seen
}

/// Does the job wait for the agent's word on its plan?
fn is_waiting(job: &StreamingJob, before: &StreamingJobStatus, valid: Option<&Validated>, context: &Context) -> bool {
    let told = condition::find(&before.conditions, ConditionType::ConfigValid);
    let new = valid.is_some_and(|valid| !context.has_let_through(&job.uid().unwrap_or_default(), &valid.hash));
    new || told.is_none_or(|told| told.status == "Unknown")
}

fn failed(error: &Error) -> Outcome {
    Outcome::Failed {
        conflict: matches!(error, Error::NameConflict { .. }),
        user: error.class() == Class::User,
        message: error.chain(),
    }
}

/// When to look again: soon while something is about to change, and the later the longer it has been; else for the lag.
fn pace(status: &StreamingJobStatus, now: Timestamp) -> Duration {
    let since = |type_, wanted: &str| {
        let condition = condition::find(&status.conditions, type_).filter(|condition| condition.status == wanted)?;
        Some(now.duration_since(condition.last_transition_time.0))
    };
    let on_its_way =
        since(ConditionType::Reconciling, "True").into_iter().chain(since(ConditionType::Ready, "False")).min();
    on_its_way.map_or(AT_REST, |since| Duration::try_from(since / 16).unwrap_or_default().clamp(ON_ITS_WAY, AT_REST))
}

/// One job, at one moment.
struct Case<'a> {
    job: &'a StreamingJob,
    key: &'a ObjectKey,
    world: &'a World,
    observed: &'a Observed,
    before: &'a StreamingJobStatus,
    now: Timestamp,
    context: &'a Context,
}

impl Case<'_> {
    /// Decides, and does it.
    async fn act(&self, valid: &Result<Validated, Invalid>) -> Result<Outcome, Error> {
        let (startable, why_not) = self.startable(valid);
        let step = rollout::decide(startable, is_suspended(self.job), self.world, self.before);
        match (&step, startable) {
            (Step::Drain, valid) => self.drain(valid).await?,
            (Step::Set { replicas }, Some(valid)) => self.workers(valid, *replicas).await?,
            (Step::Run { suspended }, Some(valid)) => self.run(valid, *suspended).await?,
            (Step::Hold | Step::Done, _) | (_, None) => {}
        }
        Ok(why_not.unwrap_or(Outcome::Done(step)))
    }

    /// The job, if it may be started; else why not.
    fn startable<'v>(&self, valid: &'v Result<Validated, Invalid>) -> (Option<&'v Validated>, Option<Outcome>) {
        let valid = match valid {
            Ok(valid) => valid,
            Err(invalid) => return (None, Some(Outcome::Invalid(invalid.clone()))),
        };
        let (agent, uid) = (self.observed.agent.as_deref(), self.job.uid().unwrap_or_default());
        // A plan that waited for its agent in vain must not wait again because something else went wrong afterwards.
        let gate = match rollout::gate(valid, &self.key.name, self.world, agent, self.before, self.now) {
            Gate::Waiting if self.context.has_let_through(&uid, &valid.hash) => Gate::Open,
            gate => gate,
        };
        match gate {
            Gate::Open => {
                self.context.lets_through(&uid, &valid.hash);
                (Some(valid), None)
            }
            Gate::Waiting => (None, Some(Outcome::Checking)),
            Gate::Refused(invalid) => (None, Some(Outcome::Invalid(invalid))),
        }
    }

    fn owner(&self) -> Owner {
        Owner::Controller { kind: KIND, key: self.key.clone(), uid: self.job.uid().unwrap_or_default() }
    }

    async fn apply(&self, object: &Object) -> Result<(), Error> {
        apply::apply(&self.context.client, &self.context.live, &self.owner(), object).await
    }

    /// Sends home whoever works on another plan, or in another manner.
    async fn drain(&self, valid: Option<&Validated>) -> Result<(), Error> {
        let (client, live) = (&self.context.client, &self.context.live);
        if let Some(set) = self.world.set.as_deref().filter(|set| set.spec.replicas != Some(0)) {
            tracing::info!(job = %self.key, "workers are sent home");
            let uid = set.uid().unwrap_or_default();
            let next = valid.map(|valid| valid.hash.as_str());
            let fields = json!({"metadata": {"annotations": {names::NEXT_PLAN: next}}, "spec": {"replicas": 0}});
            apply::change(client, live, &Object::existing(set), &uid, &fields).await?;
        }
        for run in
            self.world.runs.iter().filter(|run| run.metadata.deletion_timestamp.is_none() && rollout::is_going(run))
        {
            let (object, uid) = (Object::existing(run.as_ref()), run.uid().unwrap_or_default());
            match valid {
                Some(valid) if valid.is_bounded() && rollout::run_of(run) == Some(valid.run.as_str()) => {}
                // The plan is of a later run. What was read is in the ledger, and the next run goes on there.
                Some(_) => apply::delete(client, &object, &uid).await?,
                None => apply::change(client, live, &object, &uid, &json!({"spec": {"suspend": true}})).await?,
            }
        }
        Ok(())
    }

    /// A continuous job: what stands around the workers, then the workers.
    async fn workers(&self, valid: &Validated, replicas: i32) -> Result<(), Error> {
        let _starting = self.world.set.is_none().then(|| self.context.starts());
        let recorded = self.world.set.as_deref().and_then(Recorded::of);
        let plan = self.sealed(valid).await?;
        let blueprint = self.blueprint(valid, &plan);
        for object in blueprint.surroundings() {
            self.apply(&object).await?;
        }
        self.apply(&blueprint.stateful_set(replicas, recorded.as_ref())).await?;
        self.clear(None).await
    }

    /// A bounded run: what stands around the workers, then the run. Its plan is the same as long as it goes on, because the run is named by
    /// the hash of all that its pods are made from: another plan is another run.
    async fn run(&self, valid: &Validated, suspended: bool) -> Result<(), Error> {
        let plan = self.sealed(valid).await?;
        let blueprint = self.blueprint(valid, &plan);
        let (wanted, current) = (blueprint.run(suspended), rollout::current_run(valid, self.world));
        // A run that goes on can be halted whatever is refused of the rest.
        if let Some(run) = current {
            self.pace_run(valid, suspended, run, &wanted).await?;
        }
        for object in blueprint.surroundings() {
            self.apply(&object).await?;
        }
        if current.is_none() {
            self.apply(&wanted).await?;
        }
        self.clear(Some(valid)).await
    }

    /// What changes of a run that is there is its speed and nothing else.
    async fn pace_run(&self, valid: &Validated, suspended: bool, run: &Job, wanted: &Object) -> Result<(), Error> {
        let spec = run.spec.as_ref();
        let is = spec.map(|spec| (spec.suspend.unwrap_or(false), spec.parallelism, spec.completions));
        let workers = Some(valid.replicas.max(1));
        if is == Some((suspended, workers, workers)) {
            return Ok(());
        }
        let fields = json!({"spec": {"suspend": suspended, "parallelism": workers, "completions": workers}});
        apply::change(&self.context.client, &self.context.live, wanted, &run.uid().unwrap_or_default(), &fields).await
    }

    /// Takes away what a job of another mode, or an earlier run, has left behind. All of it is at rest by now. What could not be deleted is
    /// there at the next reconcile.
    async fn clear(&self, keep: Option<&Validated>) -> Result<(), Error> {
        let client = &self.context.client;
        for run in &self.world.runs {
            let old = keep.is_none_or(|valid| rollout::run_of(run) != Some(valid.run.as_str()));
            if old && run.metadata.deletion_timestamp.is_none() {
                apply::delete(client, &Object::existing(run.as_ref()), &run.uid().unwrap_or_default()).await?;
            }
        }
        let left = self.world.set.as_deref().filter(|set| keep.is_some() && set.metadata.deletion_timestamp.is_none());
        if let Some(set) = left {
            apply::delete(client, &Object::existing(set), &set.uid().unwrap_or_default()).await?;
        }
        Ok(())
    }

    async fn sealed(&self, valid: &Validated) -> Result<sluice_crds::plan::JobPlan, Error> {
        let handed_out = dereference::handed_out(self.job, self.key, self.context).await?;
        Ok(valid.sealed(handed_out.as_ref(), self.now))
    }

    fn blueprint<'b>(&'b self, valid: &'b Validated, plan: &'b sluice_crds::plan::JobPlan) -> Blueprint<'b> {
        Blueprint { key: self.key, job: self.job, valid, plan, pods: &self.context.pods }
    }
}

#[cfg(test)]
mod tests;
