//! A job on a fake API server, from its first reconcile on: what is made, in which order, and what status says about it.

mod runs;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use serde_json::{Value, json};

use crate::context::MANY;
use crate::error::Error;
use crate::names;
use crate::testing::{
    FakePod, Stage, agent_report, commit, edited, edited_manifests, manifests, validated, worker_report,
};

const SET: &str = "/apis/apps/v1/namespaces/etl/statefulsets/orders";

#[allow(clippy::unnecessary_wraps, reason = "it is compared with what may be missing")]
fn some(status: &str, reason: &str) -> Option<(String, String)> {
    Some((status.to_owned(), reason.to_owned()))
}

/// A namespace whose agent has checked the plan of the job.
async fn checked_stage() -> (Stage, FakePod) {
    let stage = Stage::new(&manifests());
    let agent = FakePod::start(agent_report(&validated().hash, true, "Valid", "")).await;
    stage.play_agent(&agent);
    (stage, agent)
}

/// Two workers that own both partitions and committed a moment ago.
async fn workers(hash: &str) -> (FakePod, FakePod) {
    let now = Timestamp::now();
    let report = |partition: i32| worker_report(hash, "Running", &[(partition, 100, 100)], &[commit(3, now, 5, 100)]);
    (FakePod::start(report(0)).await, FakePod::start(report(1)).await)
}

/// A job that runs.
async fn running_stage() -> (Stage, FakePod, (FakePod, FakePod)) {
    let (mut stage, agent) = checked_stage().await;
    let (first, second) = workers(&validated().hash).await;
    stage.reconcile().await.expect("reconciled");
    stage.play_stateful_set(&[&first, &second]);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Ready"), some("True", "Running"), "{:#?}", stage.status());
    stage.api.take_requests();
    (stage, agent, (first, second))
}

fn paths(stage: &Stage) -> Vec<String> {
    let made = stage.api.take_requests().into_iter();
    let changes = made.filter(|made| made.method != "GET" && !made.path.contains("/events"));
    changes
        .map(|made| format!("{} {}", made.method, made.path.rsplit("/namespaces/etl/").next().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn what_workers_need_is_there_before_them_and_status_comes_last() {
    let (mut stage, _agent) = checked_stage().await;
    stage.reconcile().await.expect("reconciled");
    assert_eq!(
        paths(&stage),
        [
            "PATCH configmaps/orders-plan",
            "PATCH serviceaccounts/orders-worker",
            "PATCH services/orders",
            "PATCH networkpolicies/orders",
            "PATCH poddisruptionbudgets/orders",
            "PATCH statefulsets/orders",
            "PATCH streamingjobs/orders/status",
        ]
    );
    assert_eq!(stage.condition("Ready"), some("False", "Starting"));
    assert_eq!(stage.condition("Reconciling"), some("True", "NewGeneration"));
    assert_eq!(stage.condition("ConfigValid"), some("True", "Valid"));
    assert_eq!(stage.status().observed_generation, 7);
}

#[tokio::test]
async fn a_job_at_rest_costs_no_request() {
    let (mut stage, _agent, _workers) = running_stage().await;
    for _ in 0..3 {
        stage.reconcile().await.expect("reconciled");
    }
    assert_eq!(stage.api.take_requests().len(), 0);
}

#[tokio::test]
async fn every_write_says_who_writes_and_no_request_is_about_secrets() {
    let (mut stage, _agent) = checked_stage().await;
    stage.reconcile().await.expect("reconciled");
    let requests = stage.api.take_requests();
    assert!(requests.len() > 7);
    for made in requests {
        assert!(!made.path.contains("secrets"), "{made:?}");
        if made.method == "PATCH" {
            assert!(made.query.contains("fieldManager=sluice-operator"), "{made:?}");
        }
    }
}

#[tokio::test]
async fn a_new_object_is_never_forced_and_a_known_one_is_named_by_its_uid() {
    let (mut stage, _agent) = checked_stage().await;
    stage.reconcile().await.expect("reconciled");
    let first = stage.api.take_requests();
    let of_set = |requests: &[crate::testing::Made]| {
        requests.iter().find(|made| made.method == "PATCH" && made.path == SET).cloned()
    };
    let made = of_set(&first).expect("made");
    assert!(!made.query.contains("force=true") && made.body["metadata"]["uid"].is_null(), "{made:?}");
    // Nobody was asked before: this version is that of no object, and makes the API server refuse when there is one.
    assert_eq!(made.body["metadata"]["resourceVersion"], "1");
    assert!(!first.iter().any(|made| made.method == "GET" && made.path == SET), "{first:?}");
    stage.write(&edited_manifests("replicas: 2", "replicas: 3"));
    stage.reconcile().await.expect("reconciled");
    let changed = of_set(&stage.api.take_requests()).expect("changed");
    assert!(changed.query.contains("force=true") && changed.body["metadata"]["uid"].is_string(), "{changed:?}");
    assert_eq!(changed.body["spec"]["replicas"], 3);
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_touched_and_told() {
    let (mut stage, _agent) = checked_stage().await;
    let path = "/api/v1/namespaces/etl/services/orders";
    let foreign = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders", "namespace": "etl", "uid": "x"}, "spec": {"a": 1}});
    stage.api.put(path, foreign.clone());
    let error = stage.reconcile().await.expect_err("a conflict");
    assert!(matches!(error, Error::NameConflict { .. }), "{error}");
    assert_eq!(stage.api.get(path), Some(foreign));
    assert_eq!(stage.api.get(SET), None, "nothing is started beside it");
    assert_eq!(stage.condition("Ready"), some("False", "NameConflict"));
    assert_eq!(stage.condition("Stalled"), some("True", "NameConflict"));
    assert_eq!(stage.status().observed_generation, 7);
    // It heals when the other one goes.
    stage.api.remove(path);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Stalled"), None);
    assert!(stage.api.get(SET).is_some());
}

#[tokio::test]
async fn what_a_deleted_job_of_the_same_name_left_is_waited_for_and_no_conflict() {
    let (mut stage, _agent) = checked_stage().await;
    stage.api.put(
        SET,
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "orders", "namespace": "etl", "uid": "x",
            "ownerReferences": [{"apiVersion": "sluice.dev/v1alpha1", "kind": "StreamingJob", "name": "orders", "uid": "old", "controller": true}]},
            "spec": {"selector": {}, "serviceName": "orders", "template": {}}}),
    );
    let error = stage.reconcile().await.expect_err("not yet");
    assert!(matches!(error, Error::StillDeleting { .. }), "{error}");
    assert_eq!(stage.condition("Stalled"), None);
    stage.api.remove(SET);
    stage.reconcile().await.expect("reconciled");
    assert!(stage.api.get(SET).is_some());
}

#[tokio::test]
async fn nothing_is_started_before_the_agent_has_checked_the_plan() {
    let mut stage = Stage::new(&manifests());
    stage.reconcile().await.expect("reconciled");
    assert_eq!(paths(&stage), ["PATCH streamingjobs/orders/status"]);
    assert_eq!(stage.condition("ConfigValid"), some("Unknown", "Starting"));
    assert_eq!(stage.condition("Ready"), some("False", "Starting"));
    let agent = FakePod::start(agent_report(&validated().hash, true, "Valid", "")).await;
    stage.play_agent(&agent);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("ConfigValid"), some("True", "Valid"));
    assert!(stage.api.get(SET).is_some());
}

#[tokio::test]
async fn an_agent_that_is_about_to_look_at_the_plan_is_waited_for_without_a_word() {
    let (mut stage, agent) = checked_stage().await;
    agent.says(agent_report("the plan before", true, "Valid", ""));
    let action = stage.reconcile().await.expect("reconciled");
    assert_eq!(paths(&stage), [""; 0]);
    assert_eq!(action, Action::requeue(Duration::from_millis(300)));
    agent.says(agent_report(&validated().hash, true, "Valid", ""));
    // One report serves everybody for half a second.
    let answers = async {
        while stage.api.get(SET).is_none() {
            stage.reconcile().await.expect("reconciled");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), answers).await.expect("it starts");
    assert_eq!(stage.condition("ConfigValid"), some("True", "Valid"));
}

#[tokio::test]
async fn bad_sql_is_told_with_its_place_and_starts_nothing() {
    let (mut stage, agent) = checked_stage().await;
    agent.says(agent_report(
        &validated().hash,
        false,
        "TransformInvalid",
        "transforms[0].filter: … at line 1, column 10",
    ));
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("ConfigValid"), some("False", "TransformInvalid"));
    assert_eq!(stage.condition("Ready"), some("False", "ConfigInvalid"));
    assert_eq!(stage.condition("Stalled"), some("True", "ConfigInvalid"));
    let message = stage.status().conditions.into_iter().find(|it| it.type_ == "ConfigValid").expect("told").message;
    assert!(message.contains("line 1, column 10"), "{message}");
    assert_eq!(stage.api.get(SET), None);
}

#[tokio::test]
async fn a_missing_reference_is_told_is_no_stall_and_heals() {
    let mut stage = Stage::new(&edited_manifests("tableRef: {name: raw}", "tableRef: {name: later}"));
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("ConfigValid"), some("False", "ReferenceNotFound"));
    assert_eq!(stage.condition("Ready"), some("False", "ConfigInvalid"));
    assert_eq!(stage.condition("Stalled"), None);
    assert_eq!(stage.status().observed_generation, 7);
    stage.write(&manifests());
    let agent = FakePod::start(agent_report(&validated().hash, true, "Valid", "")).await;
    stage.play_agent(&agent);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("ConfigValid"), some("True", "Valid"));
}

#[tokio::test]
async fn a_missing_secret_starts_no_pods_that_would_hang() {
    let (mut stage, agent) = checked_stage().await;
    let mut report = agent_report(&validated().hash, true, "Valid", "");
    report["connections"][1]["finding"] =
        json!({"ok": false, "reason": "SecretNotFound", "message": "the secret `lake` does not exist"});
    agent.says(report);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("ConfigValid"), some("False", "ReferenceNotFound"));
    assert_eq!(stage.api.get(SET), None);
}

#[tokio::test]
async fn a_new_plan_replaces_all_workers_together() {
    let (mut stage, agent, (first, second)) = running_stage().await;
    let old_plan = stage.api.get("/api/v1/namespaces/etl/configmaps/orders-plan").expect("a plan");
    let changed = edited("amount > 0", "amount > 1").expect("valid");
    agent.says(agent_report(&changed.hash, true, "Valid", ""));
    stage.write(&edited_manifests("amount > 0", "amount > 1"));
    until_drained(&mut stage).await;
    // First all old workers leave, and nothing else changes.
    let set = stage.api.get(SET).expect("a set");
    assert_eq!(set["spec"]["replicas"], 0);
    assert_eq!(set["metadata"]["annotations"][names::PLAN_HASH], json!(validated().hash));
    assert_eq!(set["metadata"]["annotations"][names::NEXT_PLAN], json!(changed.hash));
    assert_eq!(stage.api.get("/api/v1/namespaces/etl/configmaps/orders-plan"), Some(old_plan.clone()));
    assert_eq!(stage.condition("Ready"), some("False", "Draining"));
    assert_eq!(stage.condition("Reconciling"), some("True", "Draining"));
    // One of them takes its time.
    stage.api.remove("/api/v1/namespaces/etl/pods/orders-0");
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.api.get(SET).expect("a set")["spec"]["replicas"], 0);
    // Now all of the new.
    stage.play_stateful_set(&[&first, &second]);
    stage.reconcile().await.expect("reconciled");
    let set = stage.api.get(SET).expect("a set");
    assert_eq!(set["spec"]["replicas"], 2);
    assert_eq!(set["spec"]["template"]["metadata"]["annotations"][names::PLAN_HASH], json!(changed.hash));
    assert_eq!(set["metadata"]["annotations"][names::NEXT_PLAN], "", "it is the present one now");
    let plan = stage.api.get("/api/v1/namespaces/etl/configmaps/orders-plan").expect("a plan");
    let generation = |plan: &Value| {
        plan["metadata"]["annotations"][names::PLAN_GENERATION].as_str().expect("one").parse::<i64>().expect("a number")
    };
    assert!(generation(&plan) > generation(&old_plan), "the ledger takes only a higher generation");
}

#[tokio::test]
async fn a_plan_that_workers_left_for_once_is_checked_again_the_next_time() {
    let (mut stage, agent, (first, second)) = running_stage().await;
    let changed = edited("amount > 0", "amount > 1").expect("valid");
    agent.says(agent_report(&changed.hash, true, "Valid", ""));
    stage.write(&edited_manifests("amount > 0", "amount > 1"));
    until_drained(&mut stage).await;
    // Before it is rolled out, it is taken back.
    stage.write(&manifests());
    stage.play_stateful_set(&[&first, &second]);
    stage.reconcile().await.expect("reconciled");
    stage.play_stateful_set(&[&first, &second]);
    stage.restart_operator("sluice:1");
    agent.says(agent_report(&changed.hash, false, "TransformInvalid", "not any more"));
    stage.write(&edited_manifests("amount > 0", "amount > 1"));
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("ConfigValid"), some("False", "TransformInvalid"));
    assert_eq!(stage.api.get(SET).expect("a set")["spec"]["replicas"], 2, "the workers stay");
}

/// Reconciles until the agent's new report is seen, which may be half a second old, and workers are sent home.
async fn until_drained(stage: &mut Stage) {
    for _ in 0..100 {
        stage.reconcile().await.expect("reconciled");
        if stage.condition("Ready") == some("False", "Draining") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the agent's report is never seen: {:#?}", stage.status());
}

#[tokio::test]
async fn an_upgrade_of_the_operator_restarts_no_worker() {
    let (mut stage, _agent, _workers) = running_stage().await;
    let before = stage.api.get(SET).expect("a set")["spec"].clone();
    stage.restart_operator("sluice:2");
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.api.get(SET).expect("a set")["spec"], before);
    // A restart that the user asks for takes the new image.
    stage.write(&edited_manifests("restartNonce: 0", "restartNonce: 1"));
    stage.reconcile().await.expect("reconciled");
    let after = stage.api.get(SET).expect("a set");
    assert_eq!(after["spec"]["template"]["spec"]["containers"][0]["image"], "sluice:2");
    assert_eq!(after["spec"]["replicas"], 2, "one after the other, by the StatefulSet");
}

#[tokio::test]
async fn what_somebody_else_changed_is_taken_back() {
    let (mut stage, _agent, _workers) = running_stage().await;
    let mut set = stage.api.get(SET).expect("a set");
    set["spec"]["replicas"] = json!(7);
    set["metadata"]["generation"] = json!(set["metadata"]["generation"].as_i64().expect("one") + 1);
    stage.api.put(SET, set);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.api.get(SET).expect("a set")["spec"]["replicas"], 2);
    let plan = "/api/v1/namespaces/etl/configmaps/orders-plan";
    stage.api.remove(plan);
    stage.reconcile().await.expect("reconciled");
    assert!(stage.api.get(plan).is_some(), "a deleted object comes back");
}

#[tokio::test]
async fn suspend_drains_and_resume_goes_on() {
    let (mut stage, _agent, (first, second)) = running_stage().await;
    let suspended = edited_manifests("suspend: false", "suspend: true");
    stage.write(&suspended);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.api.get(SET).expect("a set")["spec"]["replicas"], 0);
    assert_eq!(stage.condition("Ready"), some("False", "Draining"));
    stage.play_stateful_set(&[&first, &second]);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Ready"), some("True", "Suspended"));
    let status = stage.status();
    assert_eq!((status.replicas, status.workers.map(|it| it.desired)), (Some(0), Some(0)));
    assert!(status.last_commit.is_some(), "what was committed is still told");
    stage.write(&manifests());
    stage.reconcile().await.expect("reconciled");
    stage.play_stateful_set(&[&first, &second]);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Ready"), some("True", "Running"));
}

#[tokio::test]
async fn a_broken_change_leaves_the_workers_of_the_plan_before_at_work() {
    let (mut stage, _agent, _workers) = running_stage().await;
    let set = stage.api.get(SET);
    stage.write(&edited_manifests("tableRef: {name: raw}", "tableRef: {name: nope}"));
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.api.get(SET), set);
    assert_eq!(stage.condition("ConfigValid"), some("False", "ReferenceNotFound"));
    assert_eq!(stage.condition("Ready"), some("False", "ConfigInvalid"));
    // The next generation supersedes it.
    stage.write(&manifests());
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Ready"), some("True", "Running"));
}

#[tokio::test]
async fn an_api_server_that_fails_is_tried_again_and_one_that_refuses_is_told() {
    let (mut stage, _agent) = checked_stage().await;
    stage.api.refuse("statefulsets", 500);
    let error = stage.reconcile().await.expect_err("refused");
    assert_eq!(error.class().as_str(), "outside");
    assert_eq!(stage.condition("Stalled"), None);
    assert_eq!(stage.status().observed_generation, 7);
    stage.api.allow_everything();
    stage.api.refuse("statefulsets", 403);
    let error = stage.reconcile().await.expect_err("refused");
    assert_eq!(error.class().as_str(), "user");
    assert_eq!(stage.condition("Stalled"), some("True", "ConfigInvalid"));
    stage.api.allow_everything();
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Stalled"), None);
}

#[tokio::test]
async fn a_transition_is_one_event() {
    let (mut stage, _agent) = checked_stage().await;
    let events = |stage: &Stage| {
        let made = stage.api.take_requests().into_iter().filter(|made| made.path.contains("/events"));
        made.map(|made| made.body["reason"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    stage.reconcile().await.expect("reconciled");
    assert_eq!(events(&stage), ["Starting", "NewGeneration"]);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(events(&stage), Vec::<String>::new());
    let (first, second) = workers(&validated().hash).await;
    stage.play_stateful_set(&[&first, &second]);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(events(&stage), ["Running", "WithinTarget"]);
}

#[tokio::test]
async fn while_many_jobs_start_the_workers_come_first_and_only_bad_news_is_told_at_once() {
    let (mut stage, agent) = checked_stage().await;
    let context = Arc::clone(&stage.context);
    let crowd: Vec<_> = (0..MANY).map(|_| context.starts()).collect();
    stage.reconcile().await.expect("reconciled");
    assert!(stage.api.get(SET).is_some());
    assert!(stage.condition("Ready").is_none(), "{:#?}", stage.status());
    drop(crowd);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Ready"), some("False", "Starting"));

    let crowd: Vec<_> = (0..MANY).map(|_| context.starts()).collect();
    let broken = edited("amount > 0", "amount > nothing").expect("valid so far");
    agent.says(agent_report(&broken.hash, false, "TransformInvalid", "no column `nothing`"));
    stage.write(&edited_manifests("amount > 0", "amount > nothing"));
    let told = async {
        while stage.condition("ConfigValid") != some("False", "TransformInvalid") {
            stage.reconcile().await.expect("reconciled");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told");
    drop(crowd);
}

#[tokio::test]
async fn a_plan_that_was_let_through_is_not_asked_about_again_when_something_else_goes_wrong() {
    let (mut stage, agent) = checked_stage().await;
    stage.api.refuse("services", 403);
    stage.reconcile().await.expect_err("refused");
    assert_eq!(stage.condition("Stalled"), some("True", "ConfigInvalid"));
    agent.says(agent_report("nothing that anybody wants to know", true, "Valid", ""));
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    stage.reconcile().await.expect_err("refused");
    assert_eq!(stage.condition("Stalled"), some("True", "ConfigInvalid"));
}
