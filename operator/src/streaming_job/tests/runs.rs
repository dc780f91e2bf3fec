//! Bounded runs.

use super::*;

#[tokio::test]
async fn a_bounded_job_runs_once_and_again_when_asked() {
    const RUNS: &str = "jobs";
    let mut stage = Stage::new(&edited_manifests("mode: Continuous", "mode: UntilCaughtUp"));
    let valid = edited("mode: Continuous", "mode: UntilCaughtUp").expect("valid");
    let agent = FakePod::start(agent_report(&valid.hash, true, "Valid", "")).await;
    stage.play_agent(&agent);
    stage.reconcile().await.expect("reconciled");
    let runs = stage.api.list(RUNS);
    assert_eq!(runs.len(), 1);
    assert_eq!((&runs[0]["spec"]["completionMode"], &runs[0]["spec"]["completions"]), (&json!("Indexed"), &json!(2)));
    assert_eq!(stage.api.get(SET), None);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.status().runs.len(), 1);
    let mut run = runs[0].clone();
    let path = format!("/apis/batch/v1/namespaces/etl/jobs/{}", run["metadata"]["name"].as_str().expect("a name"));
    run["status"] =
        json!({"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "2026-01-31T01:00:00Z"});
    stage.api.put(&path, run);
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.condition("Ready"), some("True", "Completed"));
    assert_eq!(stage.status().runs[0].reason.as_deref(), Some("Completed"));
    // The cluster cleans up; that is no reason to run again.
    stage.api.remove(&path);
    stage.reconcile().await.expect("reconciled");
    assert_eq!((stage.api.list(RUNS).len(), stage.condition("Ready")), (0, some("True", "Completed")));
    // A person asks for another run.
    let text = crate::testing::BASE.replacen("mode: Continuous", "mode: UntilCaughtUp", 1).replacen(
        "restartNonce: 0",
        "restartNonce: 1",
        1,
    );
    stage.write(&crate::testing::parse_all(&text));
    for _ in 0..20 {
        stage.reconcile().await.expect("reconciled");
    }
    assert_eq!(stage.api.list(RUNS).len(), 1);
    assert_eq!(stage.status().runs.len(), 2);
}

#[tokio::test]
async fn what_stands_around_a_bounded_run_comes_back_and_its_plan_stays() {
    let mut stage = Stage::new(&edited_manifests("mode: Continuous", "mode: UntilCaughtUp"));
    let valid = edited("mode: Continuous", "mode: UntilCaughtUp").expect("valid");
    let agent = FakePod::start(agent_report(&valid.hash, true, "Valid", "")).await;
    stage.play_agent(&agent);
    stage.reconcile().await.expect("reconciled");
    let plan = "/api/v1/namespaces/etl/configmaps/orders-plan";
    let (data, runs) = (stage.api.get(plan).expect("a plan")["data"].clone(), stage.api.list("jobs"));
    let around = [
        "/apis/networking.k8s.io/v1/namespaces/etl/networkpolicies/orders",
        "/api/v1/namespaces/etl/services/orders",
        "/api/v1/namespaces/etl/serviceaccounts/orders-worker",
    ];
    for path in around {
        stage.api.remove(path);
    }
    stage.api.take_requests();
    stage.reconcile().await.expect("reconciled");
    assert!(around.iter().all(|path| stage.api.get(path).is_some()));
    stage.api.take_requests();
    stage.reconcile().await.expect("reconciled");
    assert_eq!(paths(&stage), [""; 0], "nothing is missing");
    // An operator that knows nothing of the run finds the same plan.
    stage.restart_operator("sluice:2");
    stage.reconcile().await.expect("reconciled");
    assert_eq!((&stage.api.get(plan).expect("a plan")["data"], stage.api.list("jobs")), (&data, runs));
}

#[tokio::test]
async fn what_an_earlier_run_left_is_taken_away_also_when_that_failed_at_first() {
    let mut stage = Stage::new(&edited_manifests("mode: Continuous", "mode: UntilCaughtUp"));
    let valid = edited("mode: Continuous", "mode: UntilCaughtUp").expect("valid");
    let agent = FakePod::start(agent_report(&valid.hash, true, "Valid", "")).await;
    stage.play_agent(&agent);
    let old = "/apis/batch/v1/namespaces/etl/jobs/orders-earlier";
    stage.api.put(
        old,
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "orders-earlier", "namespace": "etl", "uid": "x",
            "labels": {"sluice.dev/run": "earlier"},
            "ownerReferences": [{"apiVersion": "sluice.dev/v1alpha1", "kind": "StreamingJob", "name": "orders", "uid": "job-uid", "controller": true}]},
            "status": {"conditions": [{"type": "Complete", "status": "True"}]}}),
    );
    stage.api.refuse("orders-earlier", 500);
    stage.reconcile().await.expect_err("it cannot be deleted");
    assert_eq!(stage.api.list("jobs").len(), 2, "the new run is there all the same");
    stage.api.allow_everything();
    stage.reconcile().await.expect("reconciled");
    assert_eq!(stage.api.get(old), None);
}
