//! From a job and its world to a plan that can be built, or to everything that is wrong with it.

use sluice_crds::condition::Reason;
use sluice_crds::plan::{JobPlan, Mode, canonical_json, plan_hash};
use sluice_crds::resolve::{ResolveContext, ResolveError, resolve};
use sluice_crds::streaming_job::StreamingJob;

use super::dereference::World;
use super::template::Template;
use crate::names;
use crate::object::HandedOut;

/// A job whose objects can be built.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// The plan, without a generation.
    pub plan: JobPlan,
    /// `plan_hash` of the plan.
    pub hash: String,
    /// Changes with everything that needs new pods: the whole plan, resources, template, restart nonce.
    pub inputs: String,
    /// Names this bounded run.
    pub run: String,
    /// What the user changes about the pods.
    pub template: Template,
    /// How many workers there should be while the job is not suspended.
    pub replicas: i32,
    /// Did the user say where the checkpoint is?
    pub own_checkpoint: bool,
}

/// Why a job cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The first reason.
    pub reason: Reason,
    /// All that is wrong, one line each.
    pub message: String,
}

/// Pure. All mistakes are told at once.
pub fn validate(job: &StreamingJob, world: &World, cluster: &str) -> Result<Validated, Invalid> {
    let context = ResolveContext::Cluster { uid: cluster.to_owned() };
    let plan = resolve(job, &world.tables, &world.connections, &context);
    let workers = job.spec.workers.clone().unwrap_or_default();
    let template = Template::parse(workers.template.as_ref());
    match (plan, template) {
        (Ok(mut plan), Ok(template)) => {
            plan.job.generation = None;
            let hash = plan_hash(&plan);
            let nonce = job.spec.restart_nonce.unwrap_or(0);
            // Half of a plan is better compared as text than as a struct: every field counts, also one that is added later.
            let text = |parts: &[&str]| names::hash(parts.join("\n").as_bytes());
            let (whole, resources) = (json(&plan), json(&workers.resources));
            let inputs = text(&[&whole, &resources, &json(&workers.template), &nonce.to_string()]);
            Ok(Validated {
                // Whatever is changed about a run that failed, memory or retries too, is another try.
                run: names::short_hash(inputs.as_bytes()),
                inputs,
                hash,
                plan,
                template,
                replicas: workers.replicas.unwrap_or(1),
                own_checkpoint: job.spec.checkpoint.is_some(),
            })
        }
        (plan, template) => {
            Err(invalid(&plan.err().unwrap_or_default(), template.err().map(|error| error.to_string())))
        }
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    canonical_json(&serde_json::to_value(value).unwrap_or_default())
}

/// A missing reference is what will mend itself when somebody applies the rest of the manifests. It only counts when nothing else is wrong.
fn invalid(errors: &[ResolveError], template: Option<String>) -> Invalid {
    let reason = errors.iter().map(ResolveError::reason).chain(template.iter().map(|_| Reason::ConfigInvalid));
    let reasons: Vec<Reason> = reason.collect();
    let other = reasons.iter().find(|reason| **reason != Reason::ReferenceNotFound);
    let messages: Vec<String> = errors.iter().map(ToString::to_string).chain(template).collect();
    Invalid {
        reason: other.or(reasons.first()).copied().unwrap_or(Reason::ConfigInvalid),
        message: messages.join("\n"),
    }
}

impl Validated {
    /// Does it end by itself?
    pub fn is_bounded(&self) -> bool {
        self.plan.mode == Mode::UntilCaughtUp
    }

    /// The plan as it is handed out.
    ///
    /// A worker's ledger takes a changed plan only with a higher generation than all before. `metadata.generation` is not that: a table
    /// may change while the job does not, and a job that is deleted and made again begins at 1. So the operator counts itself,
    /// from the time of the first plan on, which is later than anything that an earlier job of the same name was given.
    #[must_use]
    pub fn sealed(&self, handed_out: Option<&HandedOut>, now: jiff::Timestamp) -> JobPlan {
        let generation = match handed_out {
            Some(known) if known.hash == self.hash => known.generation,
            Some(known) => now.as_second().max(known.generation + 1),
            None => now.as_second(),
        };
        let mut plan = self.plan.clone();
        plan.job.generation = Some(generation);
        plan
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::testing::{self, edited};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_changed_plan_gets_a_higher_generation_whatever_the_clock_says() {
        let job = testing::validated();
        let generation =
            |known: Option<HandedOut>, now| job.sealed(known.as_ref(), at(now)).job.generation.expect("one");
        assert_eq!(generation(None, 1000), 1000);
        let same = HandedOut { hash: job.hash.clone(), generation: 5 };
        assert_eq!(generation(Some(same), 1000), 5, "the plan did not change");
        let other = |generation| Some(HandedOut { hash: "other".to_owned(), generation });
        assert_eq!(generation(other(5), 1000), 1000);
        assert_eq!(generation(other(2000), 1000), 2001, "the clock went back");
    }

    #[test]
    fn a_plan_has_a_generation_and_its_hash_does_not_know_it() {
        let job = testing::validated();
        assert_eq!(plan_hash(&job.sealed(None, at(7))), job.hash);
    }

    #[test]
    fn what_needs_new_pods_changes_the_inputs_and_what_does_not_leaves_them() {
        let base = testing::validated();
        let of = |from: &str, to: &str| edited(from, to).expect("valid");
        for (from, to, new_plan, new_pods) in [
            ("generation: 7", "generation: 8", false, false),
            ("replicas: 2", "replicas: 3", false, false),
            ("suspend: false", "suspend: true", false, false),
            ("restartNonce: 0", "restartNonce: 1", false, true),
            ("memory: 512Mi", "memory: 1Gi", false, true),
            ("period: 10s", "period: 20s", false, true),
            ("amount > 0", "amount > 1", true, true),
            ("kafka:9092", "kafka:9093", true, true),
        ] {
            let changed = of(from, to);
            assert_eq!(changed.hash != base.hash, new_plan, "{from} → {to}");
            assert_eq!(changed.inputs != base.inputs, new_pods, "{from} → {to}");
        }
    }

    #[test]
    fn a_missing_table_is_told_as_such_unless_something_else_is_wrong_too() {
        let missing = edited("tableRef: {name: raw}", "tableRef: {name: nope}").expect_err("invalid");
        assert_eq!(missing.reason, Reason::ReferenceNotFound);
        assert!(missing.message.contains("DataCatalogTable `etl/nope`"), "{}", missing.message);
        let both = edited("replicas: 2", "template: {spec: {hostNetwork: true}}").expect_err("invalid");
        assert_eq!(both.reason, Reason::ConfigInvalid);
        assert!(both.message.contains("hostNetwork"), "{}", both.message);
    }
}
