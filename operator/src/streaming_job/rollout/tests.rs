//! The gate and the next step, as tables.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_crds::streaming_job::CheckpointStatus;

use super::*;
use crate::condition::{Aspect, Truth, merge};
use crate::pods::PodFact;
use crate::testing::{self, agent_report, edited, validated};

fn world() -> World {
    testing::world(&testing::manifests())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

#[allow(clippy::unnecessary_wraps, reason = "it reads well in the tables")]
fn set(plan: &str, wanted: i32, alive: i32) -> Option<Arc<SetView>> {
    let set = json!({"metadata": {"name": "orders", "uid": "s", "annotations": {names::PLAN_HASH: plan}},
        "spec": {"replicas": wanted, "selector": {}, "serviceName": "orders", "template": {}}, "status": {"replicas": alive}});
    Some(Arc::new(serde_json::from_value(set).expect("a set")))
}

fn run(id: &str, condition: Option<&str>) -> Arc<Job> {
    let conditions: Vec<Value> = condition.iter().map(|type_| json!({"type": type_, "status": "True"})).collect();
    let run =
        json!({"metadata": {"name": "r", "uid": "r", "labels": {RUN_LABEL: id}}, "status": {"conditions": conditions}});
    Arc::new(serde_json::from_value(run).expect("a job"))
}

fn pod(plan: &str) -> PodFact {
    let pod = json!({"metadata": {"name": "orders-0", "annotations": {names::PLAN_HASH: plan}}});
    PodFact::of(&serde_json::from_value(pod).expect("a pod"), "worker")
}

fn report(value: Value) -> AgentReport {
    serde_json::from_value(value).expect("a report")
}

fn gated(world: &World, agent: Option<&AgentReport>, before: &StreamingJobStatus, now: i64) -> Gate {
    gate(&validated(), "orders", world, agent, before, at(now))
}

#[test]
fn a_plan_is_started_when_the_agent_has_found_it_good() {
    let (hash, nobody) = (validated().hash, StreamingJobStatus::default());
    assert_eq!(gated(&world(), None, &nobody, 0), Gate::Waiting);
    let other = report(agent_report("another plan", true, "Valid", ""));
    assert_eq!(gated(&world(), Some(&other), &nobody, 0), Gate::Waiting, "it looked at something else");
    let good = report(agent_report(&hash, true, "Valid", ""));
    assert_eq!(gated(&world(), Some(&good), &nobody, 0), Gate::Open);
    let bad = report(agent_report(&hash, false, "SchemaMismatch", "no"));
    let refused = Invalid { reason: Reason::SchemaMismatch, message: "no".to_owned() };
    assert_eq!(gated(&world(), Some(&bad), &nobody, 0), Gate::Refused(refused));
}

#[test]
fn a_plan_that_is_at_work_is_not_asked_about_again() {
    let world = World { set: set(&validated().hash, 2, 2), ..world() };
    let bad = report(agent_report(&validated().hash, false, "SchemaMismatch", "no"));
    assert_eq!(gated(&world, Some(&bad), &StreamingJobStatus::default(), 0), Gate::Open);
}

#[test]
fn a_plan_for_which_workers_left_is_not_asked_about_again() {
    let job = validated();
    let mut set = set("old", 0, 0).expect("a set").as_ref().clone();
    set.metadata.annotations.get_or_insert_default().insert(names::NEXT_PLAN.to_owned(), job.hash.clone());
    let drained = World { set: Some(Arc::new(set)), ..world() };
    assert_eq!(gated(&drained, None, &StreamingJobStatus::default(), 0), Gate::Open);
}

#[test]
fn an_agent_that_never_answers_does_not_stop_a_job_for_ever() {
    let asked = vec![Aspect::new(ConditionType::ConfigValid, Truth::Unknown, "Starting", "")];
    let before = StreamingJobStatus { conditions: merge(&[], asked, 1, at(100)), ..StreamingJobStatus::default() };
    assert_eq!(gated(&world(), None, &before, 160), Gate::Waiting);
    assert_eq!(gated(&world(), None, &before, 161), Gate::Open);
}

#[test]
fn a_missing_secret_holds_the_job_back_only_while_it_is_news() {
    let mut value = agent_report(&validated().hash, true, "Valid", "");
    value["connections"][0]["finding"] = json!({"ok": false, "reason": "SecretNotFound", "message": "etl-user"});
    let missing = report(value.clone());
    let gate = gated(&world(), Some(&missing), &StreamingJobStatus::default(), 0);
    assert!(matches!(gate, Gate::Refused(Invalid { reason: Reason::ReferenceNotFound, .. })), "{gate:?}");
    for (member, before) in [("generation", json!(0)), ("uid", json!("deleted-since"))] {
        let mut value = value.clone();
        value["connections"][0][member] = before;
        let old = report(value);
        assert_eq!(gated(&world(), Some(&old), &StreamingJobStatus::default(), 0), Gate::Open, "{member}");
    }
}

#[test]
fn a_continuous_job() {
    let job = validated();
    let hash = job.hash.as_str();
    let nobody = StreamingJobStatus::default();
    let two = Step::Set { replicas: 2 };
    for (name, set, pods, step) in [
        ("nothing is there", None, vec![], two.clone()),
        ("it runs", set(hash, 2, 2), vec![pod(hash), pod(hash)], two.clone()),
        ("the old plan runs", set("old", 2, 2), vec![pod("old")], Step::Drain),
        ("the old plan was just started", set("old", 2, 0), vec![], Step::Drain),
        ("old workers leave", set("old", 0, 1), vec![pod("old")], Step::Drain),
        ("the set does not count its last pod any more", set("old", 0, 0), vec![pod("old")], Step::Drain),
        ("old workers are gone", set("old", 0, 0), vec![], two.clone()),
        ("an old worker was overlooked", set(hash, 2, 2), vec![pod(hash), pod("old")], Step::Drain),
    ] {
        let world = World { set, pods, ..world() };
        assert_eq!(decide(Some(&job), false, &world, &nobody), step, "{name}");
    }
    let world = World { set: set(hash, 2, 2), ..world() };
    assert_eq!(decide(Some(&job), true, &world, &nobody), Step::Set { replicas: 0 });
}

#[test]
fn an_invalid_job_leaves_everything_as_it_is_and_can_still_be_suspended() {
    let nobody = StreamingJobStatus::default();
    let running = World { set: set("h", 2, 2), ..world() };
    assert_eq!(decide(None, false, &running, &nobody), Step::Hold);
    assert_eq!(decide(None, true, &running, &nobody), Step::Drain);
    assert_eq!(decide(None, true, &world(), &nobody), Step::Hold);
    let stopped = World { set: set("h", 0, 0), ..world() };
    assert_eq!(decide(None, true, &stopped, &nobody), Step::Hold);
}

#[test]
fn a_bounded_job() {
    let job = edited("mode: Continuous", "mode: UntilCaughtUp").expect("valid");
    let (hash, id) = (job.hash.as_str(), job.run.as_str());
    let nobody = StreamingJobStatus::default();
    let go = Step::Run { suspended: false };
    for (name, set, runs, pods, step) in [
        ("nothing is there", None, vec![], vec![], go.clone()),
        ("it runs", None, vec![run(id, None)], vec![pod(hash)], go.clone()),
        ("it is complete", None, vec![run(id, Some("Complete"))], vec![], Step::Done),
        ("it has failed", None, vec![run(id, Some("Failed"))], vec![], Step::Done),
        ("an earlier run goes on", None, vec![run("earlier", None)], vec![], Step::Drain),
        ("an earlier run is over", None, vec![run("earlier", Some("Complete"))], vec![], go.clone()),
        ("it was continuous", set(hash, 2, 2), vec![], vec![], Step::Drain),
        ("it was continuous, and is at rest", set(hash, 0, 0), vec![], vec![], go.clone()),
    ] {
        let world = World { set, runs, pods, ..world() };
        assert_eq!(decide(Some(&job), false, &world, &nobody), step, "{name}");
    }
    let world = World { runs: vec![run(id, None)], ..world() };
    assert_eq!(decide(Some(&job), true, &world, &nobody), Step::Run { suspended: true });
    let continuous = validated();
    assert_eq!(decide(Some(&continuous), false, &world, &nobody), Step::Drain, "its run must be over first");
}

#[test]
fn a_run_that_was_told_as_complete_is_not_made_again() {
    let job = edited("mode: Continuous", "mode: UntilCaughtUp").expect("valid");
    let told = |id: &str| {
        let run = json!({"id": id, "startTime": "2026-01-31T00:00:00Z", "completionTime": "2026-01-31T01:00:00Z"});
        StreamingJobStatus { runs: vec![serde_json::from_value(run).expect("a run")], ..StreamingJobStatus::default() }
    };
    assert_eq!(decide(Some(&job), false, &world(), &told(&job.run)), Step::Done);
    assert_eq!(decide(Some(&job), false, &world(), &told("another")), Step::Run { suspended: false });
}

#[test]
fn a_sink_that_moves_does_not_take_the_checkpoint_along() {
    let known = |url: &str, seq| {
        let checkpoint = CheckpointStatus { url: url.to_owned(), seq };
        StreamingJobStatus { checkpoint: Some(checkpoint), ..StreamingJobStatus::default() }
    };
    let good = report(agent_report(&validated().hash, true, "Valid", ""));
    let Gate::Refused(refused) = gated(&world(), Some(&good), &known("s3://lake/elsewhere/", Some(7)), 0) else {
        panic!("it was let through");
    };
    assert_eq!(refused.reason, Reason::CheckpointMoved);
    assert!(refused.message.contains("s3://lake/elsewhere/") && refused.message.contains("spec.checkpoint.url"));
    // A ledger in which nothing stands is no place to go on from.
    assert_eq!(gated(&world(), Some(&good), &known("s3://lake/elsewhere/", None), 0), Gate::Open);
    // Who says where it lies means it.
    let job = Validated { own_checkpoint: true, ..validated() };
    let before = known("s3://lake/elsewhere/", Some(7));
    assert_eq!(gate(&job, "orders", &world(), Some(&good), &before, at(0)), Gate::Open);
}
