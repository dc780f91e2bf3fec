//! The truth table of a job's conditions.

mod numbers;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use sluice_crds::condition::Reason;
use sluice_crds::report::{AgentReport, WorkerReport};

use super::*;
use crate::context::Settled;
use crate::names;
use crate::pods::{Crash, PodFact};
use crate::testing::{self, agent_report, commit, edited, validated, worker_report};

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

/// Two workers that own both partitions, have committed a moment ago, and have nothing left to do.
struct Scene {
    valid: Option<Validated>,
    world: World,
    workers: Vec<Value>,
    agent: Option<Value>,
    outcome: Outcome,
    suspended: bool,
    before: StreamingJobStatus,
    caught_up: Option<Timestamp>,
    settled: Option<Settled>,
    now: Timestamp,
}

impl Scene {
    fn running() -> Self {
        let valid = validated();
        let hash = valid.hash.clone();
        let report =
            |partition: i32| worker_report(&hash, "Running", &[(partition, 100, 100)], &[commit(3, now(), 5, 100)]);
        let mut world = testing::world(&testing::manifests());
        world.pods = vec![pod("orders-0", &valid), pod("orders-1", &valid)];
        Self {
            workers: vec![report(0), report(1)],
            valid: Some(valid),
            world,
            agent: None,
            outcome: Outcome::Done(Step::Set { replicas: 2 }),
            suspended: false,
            before: StreamingJobStatus::default(),
            caught_up: None,
            settled: None,
            now: now(),
        }
    }

    fn with(edit: impl FnOnce(&mut Self)) -> Self {
        let mut scene = Self::running();
        edit(&mut scene);
        scene
    }

    fn hash(&self) -> String {
        self.valid.as_ref().map(|valid| valid.hash.clone()).unwrap_or_default()
    }

    /// Both workers are far behind, and committed last so many seconds ago.
    fn behind(&mut self, seconds_ago: i64) {
        let hash = self.hash();
        let report = |partition: i32| {
            worker_report(&hash, "Running", &[(partition, 100, 5000)], &[commit(3, now(), seconds_ago, 100)])
        };
        self.workers = vec![report(0), report(1)];
    }

    fn crash(&mut self, reason: Option<Reason>, exit_code: i32) {
        self.workers.clear();
        for pod in &mut self.world.pods {
            pod.crash = Some(Crash { reason, exit_code, message: "last words".to_owned() });
            pod.restarts = 3;
        }
    }

    fn status(&self) -> StreamingJobStatus {
        let workers = self.workers.iter().map(|report| {
            let mut report = report.clone();
            report["time"] = json!(self.now);
            serde_json::from_value::<WorkerReport>(report).expect("a report")
        });
        let agent = self
            .agent
            .as_ref()
            .map(|report| Arc::new(serde_json::from_value::<AgentReport>(report.clone()).expect("a report")));
        let observed = Observed { workers: workers.collect(), agent };
        status(&Facts {
            key: &sluice_crds::reference::ObjectKey::new("etl", "orders"),
            generation: 7,
            suspended: self.suspended,
            valid: self.valid.as_ref(),
            world: &self.world,
            observed: &observed,
            outcome: &self.outcome,
            before: &self.before,
            caught_up: self.caught_up,
            settled: self.settled,
            now: self.now,
        })
    }

    /// All conditions that are not as in a healthy job, as `Type=Status:Reason`.
    fn told(&self) -> Vec<String> {
        let healthy = [
            "ConfigValid=True:Valid",
            "ScalingLimited=False:NotLimited",
            "DeadLettersPresent=False:NoDeadLetters",
            "LagWithinTarget=True:WithinTarget",
        ];
        let status = self.status();
        assert_eq!(status.observed_generation, 7, "every outcome says which generation it is about");
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(7)));
        let told = status.conditions.iter().map(|it| format!("{}={}:{}", it.type_, it.status, it.reason));
        told.filter(|word| !healthy.contains(&word.as_str())).collect()
    }
}

fn pod(name: &str, of: &Validated) -> PodFact {
    let annotations = json!({names::PLAN_HASH: of.hash, names::INPUTS: of.inputs});
    let pod = json!({"metadata": {"name": name, "annotations": annotations}, "status": {"phase": "Running"}});
    PodFact::of(&serde_json::from_value(pod).expect("a pod"), "worker")
}

#[track_caller]
fn assert_told(scene: &Scene, expected: &[&str]) {
    assert_eq!(scene.told(), expected);
}

#[test]
fn a_job_whose_partitions_are_owned_and_whose_commits_are_fresh_is_running() {
    assert_told(&Scene::running(), &["Ready=True:Running"]);
}

#[test]
fn workers_that_exist_and_commit_nothing_are_not_ready() {
    let started = Scene::with(|scene| {
        scene.behind(0);
        for worker in &mut scene.workers {
            worker["commits"] = json!([]);
        }
    });
    assert_told(
        &started,
        &["Ready=False:Starting", "Reconciling=True:NewGeneration", "LagWithinTarget=Unknown:LagUnknown"],
    );
    let none = Scene::with(|scene| scene.workers.clear());
    assert_told(
        &none,
        &["Ready=False:Starting", "Reconciling=True:NewGeneration", "LagWithinTarget=Unknown:LagUnknown"],
    );
}

#[test]
fn a_partition_that_nobody_owns_is_not_ready() {
    let scene = Scene::with(|scene| {
        let mut report = agent_report(&scene.hash(), true, "Valid", "");
        let partition =
            |number: i32| json!({"topic": "orders", "partition": number, "committed": 1, "position": 1, "end": 1});
        report["jobs"][0]["lag"] =
            json!({"partitions": [partition(0), partition(1), partition(2)], "seconds": 0, "time": now()});
        scene.agent = Some(report);
    });
    assert_told(&scene, &["Ready=False:Starting", "Reconciling=True:NewGeneration"]);
    assert!(scene.status().conditions[0].message.contains("2 of 3 partitions"));
}

#[test]
fn fresh_means_three_windows_or_two_minutes() {
    // The window is 10s, so that two minutes count.
    let fresh = Scene::with(|scene| scene.behind(120));
    assert_eq!(fresh.told()[0], "Ready=True:Running");
    let ready_before = Scene::running().status();
    let old = Scene::with(|scene| {
        scene.before = ready_before;
        scene.behind(121);
    });
    assert_eq!(old.told()[0], "Ready=False:SourceUnavailable", "nothing is read");
    let unsaved = Scene::with(|scene| {
        scene.before = Scene::running().status();
        scene.behind(121);
        scene.workers[0]["partitions"][0]["position"] = json!(4000);
    });
    assert_eq!(unsaved.told()[0], "Ready=False:SinkUnavailable", "it is read and not committed");
    let slow = Scene::with(|scene| {
        scene.valid = Some(edited("period: 10s", "period: 100s").expect("valid"));
        scene.behind(300);
    });
    assert_eq!(slow.told()[0], "Ready=True:Running");
}

#[test]
fn records_that_arrive_after_a_silence_are_not_late() {
    let scene = Scene::with(|scene| {
        scene.before = Scene::running().status();
        scene.behind(3600);
        scene.caught_up = Timestamp::from_second(NOW - 120).ok();
    });
    assert_eq!(scene.told()[0], "Ready=True:Running");
    let late = Scene::with(|scene| {
        scene.before = Scene::running().status();
        scene.behind(3600);
        scene.caught_up = Timestamp::from_second(NOW - 121).ok();
    });
    assert_eq!(late.told()[0], "Ready=False:SourceUnavailable");
}

#[test]
fn a_bounded_run_is_running_also_when_some_of_its_workers_are_done() {
    let scene = Scene::with(|scene| {
        scene.outcome = Outcome::Done(Step::Run { suspended: false });
        scene.world.pods[0].finished = true;
        scene.world.pods[0].succeeded = true;
        scene.workers.remove(0);
    });
    assert_eq!(scene.told()[0], "Ready=True:Running");
    assert!(!scene.told().iter().any(|word| word.starts_with("Reconciling")));
}

#[test]
fn a_job_without_lag_needs_no_commit() {
    let scene = Scene::with(|scene| {
        for worker in &mut scene.workers {
            worker["commits"] = json!([]);
        }
    });
    assert_told(&scene, &["Ready=True:Running"]);
}

#[test]
fn what_a_worker_dies_of_is_told_and_only_what_needs_a_person_stalls() {
    for (reason, exit, ready, stalled, config) in [
        (Some(Reason::ConfigInvalid), 2, "ConfigInvalid", Some("ConfigInvalid"), Some("ConfigInvalid")),
        (Some(Reason::ReferenceNotFound), 2, "ConfigInvalid", None, Some("ReferenceNotFound")),
        (Some(Reason::TransformInvalid), 2, "ConfigInvalid", Some("ConfigInvalid"), Some("TransformInvalid")),
        (Some(Reason::SchemaMismatch), 2, "ConfigInvalid", Some("ConfigInvalid"), Some("SchemaMismatch")),
        (Some(Reason::SourceUnavailable), 3, "SourceUnavailable", None, None),
        (Some(Reason::SinkUnavailable), 4, "SinkUnavailable", None, None),
        (Some(Reason::AuthenticationFailed), 3, "SourceUnavailable", Some("AuthenticationFailed"), None),
        (Some(Reason::AuthenticationFailed), 4, "SinkUnavailable", Some("AuthenticationFailed"), None),
        (Some(Reason::AuthorizationFailed), 4, "SinkUnavailable", Some("AuthorizationFailed"), None),
        (Some(Reason::OffsetOutOfRange), 5, "WorkersCrashing", Some("OffsetOutOfRange"), None),
        (Some(Reason::TopicRecreated), 5, "WorkersCrashing", Some("TopicRecreated"), None),
        (Some(Reason::RecordRejected), 5, "WorkersCrashing", Some("RecordRejected"), None),
        (Some(Reason::RetriesExhausted), 6, "WorkersCrashing", Some("RetriesExhausted"), None),
        (Some(Reason::DeadLetterRateExceeded), 5, "WorkersCrashing", Some("DeadLetterRateExceeded"), None),
        (Some(Reason::DataLossRisk), 5, "WorkersCrashing", Some("DataLossRisk"), None),
        (Some(Reason::TimedOut), 8, "WorkersCrashing", Some("TimedOut"), None),
        (Some(Reason::CheckpointForeign), 5, "WorkersCrashing", Some("CheckpointForeign"), None),
        (Some(Reason::CheckpointMoved), 5, "WorkersCrashing", Some("CheckpointMoved"), None),
        (Some(Reason::ConditionalWritesUnsupported), 4, "SinkUnavailable", Some("ConditionalWritesUnsupported"), None),
        (Some(Reason::Superseded), 7, "WorkersCrashing", None, None),
        (Some(Reason::Internal), 70, "WorkersCrashing", None, None),
        (None, 137, "WorkersCrashing", None, None),
    ] {
        let scene = Scene::with(|scene| scene.crash(reason, exit));
        let mut expected = vec![format!("Ready=False:{ready}")];
        expected.extend(stalled.map(|reason| format!("Stalled=True:{reason}")));
        expected.extend(config.map(|reason| format!("ConfigValid=False:{reason}")));
        expected.push("LagWithinTarget=Unknown:LagUnknown".to_owned());
        assert_eq!(scene.told(), expected, "{reason:?} {exit}");
    }
}

#[test]
fn a_worker_that_died_once_and_commits_again_is_healthy() {
    let scene = Scene::with(|scene| {
        for pod in &mut scene.world.pods {
            pod.crash = Some(Crash { reason: Some(Reason::RetriesExhausted), exit_code: 6, message: String::new() });
        }
    });
    assert_told(&scene, &["Ready=True:Running"]);
}

#[test]
fn a_living_worker_in_trouble_says_so_itself() {
    for (trouble, ready, stalled) in [
        ("SourceUnavailable: the brokers do not answer", "SourceUnavailable", None),
        (
            "AuthenticationFailed: connection `kafka`: no",
            "SourceUnavailable",
            Some("Stalled=True:AuthenticationFailed"),
        ),
        (
            "AuthenticationFailed: cannot list `s3://lake/`: no",
            "SinkUnavailable",
            Some("Stalled=True:AuthenticationFailed"),
        ),
    ] {
        let scene = Scene::with(|scene| {
            scene.behind(500);
            scene.workers[0]["trouble"] = json!(trouble);
            scene.workers[0]["phase"] = json!("Retrying");
        });
        let told = scene.told();
        assert_eq!(told[0], format!("Ready=False:{ready}"), "{trouble}");
        assert_eq!(told.get(1).filter(|word| word.starts_with("Stalled")).map(String::as_str), stalled, "{trouble}");
    }
}

#[test]
fn no_room_in_the_cluster_is_told() {
    let scene = Scene::with(|scene| {
        scene.workers.clear();
        scene.world.pods[1].unschedulable = Some("0/3 nodes are available".to_owned());
    });
    assert_eq!(scene.told()[0], "Ready=False:Unschedulable");
    let image = Scene::with(|scene| {
        scene.workers.clear();
        scene.world.pods[0].waiting = Some("ImagePullBackOff: no such image".to_owned());
    });
    assert_eq!(image.told()[0], "Ready=False:Starting");
    assert!(image.status().conditions[0].message.contains("no such image"));
}

#[test]
fn a_connection_that_does_not_work_explains_workers_that_say_nothing() {
    for (connection, reason, ready, stalled) in [
        (0, "Unreachable", "SourceUnavailable", None),
        (1, "Unreachable", "SinkUnavailable", None),
        (0, "AuthenticationFailed", "SourceUnavailable", Some("Stalled=True:AuthenticationFailed")),
    ] {
        let scene = Scene::with(|scene| {
            scene.workers.clear();
            let mut report = agent_report(&scene.hash(), true, "Valid", "");
            report["connections"][connection]["finding"] = json!({"ok": false, "reason": reason, "message": "no"});
            scene.agent = Some(report);
        });
        assert_eq!(scene.told()[0], format!("Ready=False:{ready}"));
        assert_eq!(scene.told().get(1).filter(|word| word.starts_with("Stalled")).map(String::as_str), stalled);
    }
}

#[test]
fn suspended_is_ready_when_everybody_has_left() {
    let leaving = Scene::with(|scene| {
        scene.suspended = true;
        scene.outcome = Outcome::Done(Step::Set { replicas: 0 });
    });
    assert_told(&leaving, &["Ready=False:Draining", "Reconciling=True:Draining"]);
    let gone = Scene::with(|scene| {
        scene.suspended = true;
        scene.outcome = Outcome::Done(Step::Set { replicas: 0 });
        scene.world.pods.clear();
        scene.workers.clear();
    });
    assert_told(&gone, &["Ready=True:Suspended", "LagWithinTarget=Unknown:LagUnknown"]);
}

#[test]
fn a_job_is_not_suspended_while_a_commit_waits_for_its_files() {
    let scene = |unpublished: Option<u64>, before: StreamingJobStatus, suspended: bool| {
        Scene::with(|scene| {
            scene.suspended = suspended;
            scene.before = before;
            scene.outcome = Outcome::Done(Step::Set { replicas: 0 });
            scene.world.pods.clear();
            scene.workers.clear();
            let mut report = agent_report(&scene.hash(), true, "Valid", "");
            report["jobs"][0]["ledger"] = json!({"url": "s3://lake/shop/_sluice/etl.orders/", "tail": 9,
                "unpublished": unpublished, "totals": {"read": 0, "written": 0, "filtered": 0, "dead": 0, "bytesRead": 0,
                "bytesWritten": 0, "files": 0, "batches": 0, "voided": 0, "retried": 0}});
            scene.agent = Some(report);
        })
    };
    for suspended in [true, false] {
        let draining = Scene::with(|scene| {
            scene.suspended = true;
            scene.outcome = Outcome::Done(Step::Set { replicas: 0 });
        });
        let unknown = scene(None, draining.status(), suspended);
        assert_eq!(unknown.told()[0], "Ready=True:Suspended", "there is no agent that could tell");
        let left = scene(Some(2), draining.status(), suspended);
        assert_told(&left, &["Ready=False:Draining", "LagWithinTarget=Unknown:LagUnknown"]);
        assert!(left.status().conditions[0].message.contains("2 of their commits"));
        let away = scene(None, left.status(), suspended);
        assert_eq!(away.status().conditions, left.status().conditions, "nobody can look");
        assert_eq!(scene(Some(0), away.status(), suspended).told()[0], "Ready=True:Suspended");
    }
}

#[test]
fn more_workers_than_partitions_are_spares_and_the_job_is_ready() {
    let scene = Scene::with(|scene| {
        scene.valid = Some(edited("replicas: 2", "replicas: 3").expect("valid"));
        let hash = scene.hash();
        scene.world.pods.push(pod("orders-2", &validated()));
        scene.workers.push(worker_report(&hash, "Running", &[], &[]));
    });
    assert_told(&scene, &["Ready=True:Running", "ScalingLimited=True:PartitionCount"]);
    assert_eq!(scene.status().summary.and_then(|summary| summary.workers).as_deref(), Some("2/3"));
}

#[test]
fn scaling_is_a_change_on_its_way_and_the_job_stays_ready() {
    let scene = Scene::with(|scene| {
        scene.valid = Some(edited("replicas: 2", "replicas: 1").expect("valid"));
    });
    assert_told(&scene, &["Ready=True:Running", "Reconciling=True:Scaling"]);
}

#[test]
fn outcomes_before_the_workers() {
    let invalid = |reason| Outcome::Invalid(Invalid { reason, message: "why".to_owned() });
    let failed = |conflict, user| Outcome::Failed { conflict, user, message: "why".to_owned() };
    for (outcome, expected) in [
        (
            invalid(Reason::ConfigInvalid),
            vec!["Ready=False:ConfigInvalid", "Stalled=True:ConfigInvalid", "ConfigValid=False:ConfigInvalid"],
        ),
        (invalid(Reason::ReferenceNotFound), vec!["Ready=False:ConfigInvalid", "ConfigValid=False:ReferenceNotFound"]),
        (
            Outcome::Checking,
            vec!["Ready=False:Starting", "Reconciling=True:NewGeneration", "ConfigValid=Unknown:Starting"],
        ),
        (Outcome::Done(Step::Drain), vec!["Ready=False:Draining", "Reconciling=True:Draining"]),
        (failed(true, true), vec!["Ready=False:NameConflict", "Stalled=True:NameConflict"]),
        (
            failed(false, true),
            vec!["Ready=False:ConfigInvalid", "Stalled=True:ConfigInvalid", "ConfigValid=False:ConfigInvalid"],
        ),
        (failed(false, false), vec!["Ready=True:Running"]),
    ] {
        let scene = Scene::with(|scene| scene.outcome = outcome.clone());
        assert_eq!(scene.told(), expected, "{outcome:?}");
    }
}

#[test]
fn a_report_of_the_plan_before_counts_for_nothing() {
    let scene = Scene::with(|scene| {
        for worker in &mut scene.workers {
            worker["planHash"] = json!("old");
        }
    });
    assert_eq!(scene.told()[0], "Ready=False:Starting");
    assert_eq!(scene.status().workers.map(|workers| workers.ready), Some(0));
}

/// The tests of the health checks for GitOps tools, in `charts/tests`, read this snapshot.
#[test]
fn the_states_of_a_job_that_gitops_tools_judge() {
    let object = |scene: Scene| {
        json!({
            "apiVersion": "sluice.dev/v1alpha1",
            "kind": "StreamingJob",
            "metadata": {"name": "orders", "namespace": "etl", "generation": 7},
            "spec": {"suspend": scene.suspended},
            "status": scene.status(),
        })
    };
    let outcome = |outcome: Outcome| object(Scene::with(|scene| scene.outcome = outcome));
    let invalid =
        |reason: Reason| outcome(Outcome::Invalid(Invalid { reason, message: "`amnt` is not a column".to_owned() }));
    let crashed = |reason: Reason, code: i32| object(Scene::with(|scene| scene.crash(Some(reason), code)));
    let nobody = |scene: &mut Scene| {
        scene.workers.clear();
        scene.world.pods.clear();
    };
    let states = json!({
        "running": object(Scene::running()),
        "starting": object(Scene::with(|scene| scene.workers.clear())),
        "checking": outcome(Outcome::Checking),
        "draining": outcome(Outcome::Done(Step::Drain)),
        "scaling": object(Scene::with(|scene| scene.valid = Some(edited("replicas: 2", "replicas: 1").expect("valid")))),
        "suspended": object(Scene::with(|scene| {
            scene.suspended = true;
            nobody(scene);
        })),
        "idle": object(Scene::with(|scene| {
            scene.outcome = Outcome::Done(Step::Set { replicas: 0 });
            scene.world.pods.clear();
        })),
        "completed": object(Scene::with(|scene| {
            scene.outcome = Outcome::Done(Step::Done);
            nobody(scene);
        })),
        "reference-not-found": invalid(Reason::ReferenceNotFound),
        "transform-invalid": invalid(Reason::TransformInvalid),
        "name-conflict": outcome(Outcome::Failed { conflict: true, user: true, message: "it belongs to another".to_owned() }),
        "unschedulable": object(Scene::with(|scene| {
            scene.workers.clear();
            scene.world.pods[0].unschedulable = Some("0/3 nodes are available".to_owned());
        })),
        "source-unavailable": crashed(Reason::SourceUnavailable, 3),
        "authentication-failed": crashed(Reason::AuthenticationFailed, 3),
        "crashing": crashed(Reason::Internal, 70),
        "offset-out-of-range": crashed(Reason::OffsetOutOfRange, 5),
        "dead-letters": object(Scene::with(|scene| scene.workers[0]["totals"]["dead"] = json!(2))),
    });
    insta::assert_json_snapshot!("gitops", states);
}

#[test]
fn what_a_worker_died_of_long_ago_is_not_what_ails_it_now() {
    let scene = |ago: i64| {
        Scene::with(|scene| {
            scene.crash(Some(Reason::RetriesExhausted), 6);
            for pod in &mut scene.world.pods {
                pod.running_since = Timestamp::from_second(NOW - ago).ok();
            }
            let hash = scene.hash();
            let mut report = worker_report(&hash, "Retrying", &[(0, 100, 5000)], &[]);
            report["trouble"] = json!("SourceUnavailable: no broker answers");
            scene.workers = vec![report];
        })
    };
    assert_eq!(scene(3600).told()[0], "Ready=False:SourceUnavailable");
    assert!(!scene(3600).told().iter().any(|word| word.starts_with("Stalled")));
    assert!(scene(5).told().contains(&"Stalled=True:RetriesExhausted".to_owned()));
}

#[test]
fn workers_of_another_plan_do_not_make_a_job_ready_that_could_not_be_rolled_out() {
    let scene = Scene::with(|scene| {
        scene.outcome = Outcome::Failed { conflict: false, user: false, message: "the webhook is away".to_owned() };
        for worker in &mut scene.workers {
            worker["planHash"] = json!("old");
        }
    });
    let ready = scene.status().conditions.into_iter().find(|condition| condition.type_ == "Ready").expect("told");
    assert_eq!((ready.status.as_str(), ready.message.as_str()), ("False", "the webhook is away"));
}

#[test]
fn pods_of_an_earlier_state_of_the_job_are_a_change_on_its_way() {
    let scene = Scene::with(|scene| scene.world.pods[1].inputs = Some("before".to_owned()));
    assert_eq!(scene.told(), ["Ready=True:Running", "Reconciling=True:NewGeneration"]);
}
