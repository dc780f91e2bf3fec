//! The numbers beside the conditions: lag, commits, rate, and when they are written.

use super::*;

#[test]
fn lag_is_told_also_while_no_worker_lives() {
    let scene = Scene::with(|scene| {
        scene.suspended = true;
        scene.world.pods.clear();
        scene.workers.clear();
        let mut report = agent_report(&scene.hash(), true, "Valid", "");
        report["jobs"][0]["lag"] = json!({"partitions": [
            {"topic": "orders", "partition": 0, "committed": 5, "position": 5, "end": 25}], "seconds": 90, "time": now()});
        let url = "s3://lake/shop/_sluice/etl.orders/";
        report["jobs"][0]["ledger"] = json!({"url": url, "tail": 9, "lastCommit": commit(9, now(), 1000, 7), "totals": {
            "read": 100, "written": 90, "filtered": 8, "dead": 2, "bytesRead": 1, "bytesWritten": 2, "files": 3, "batches": 4,
            "voided": 0, "retried": 0}});
        scene.agent = Some(report);
    });
    let status = scene.status();
    let lag = status.lag.expect("a lag");
    assert_eq!((lag.records, lag.seconds, lag.partitions, lag.worst.len()), (20, Some(90), 1, 1));
    assert_eq!(status.totals.map(|totals| (totals.read, totals.dead)), Some((100, 2)));
    assert_eq!(status.checkpoint.and_then(|checkpoint| checkpoint.seq), Some(9));
    assert_eq!(status.last_commit.map(|commit| commit.seq), Some(9));
    let told = scene.told();
    assert!(told.contains(&"LagWithinTarget=False:FallingBehind".to_owned()), "{told:?}");
    assert!(told.contains(&"DeadLettersPresent=True:DeadLetters".to_owned()), "{told:?}");
}

#[test]
fn a_lag_was_seen_when_the_last_of_its_partitions_was_measured() {
    let observed = |workers: &[i32], ago: i64| {
        let scene = Scene::with(|scene| {
            let hash = scene.hash();
            let report = |partition: &i32| worker_report(&hash, "Running", &[(*partition, 100, 100)], &[]);
            scene.workers = workers.iter().map(report).collect();
            let mut report = agent_report(&hash, true, "Valid", "");
            let partition = |number: i32| json!({"topic": "orders", "partition": number, "committed": 90, "position": 90, "end": 100});
            let time = Timestamp::from_second(NOW - ago).expect("a time");
            report["jobs"][0]["lag"] = json!({"partitions": [partition(0), partition(1)], "seconds": 0, "time": time});
            scene.agent = Some(report);
        });
        NOW - scene.status().lag.expect("a lag").observed_time.0.as_second()
    };
    assert_eq!(observed(&[], 12), 12, "the agent measured it");
    assert_eq!(observed(&[0], 12), 12, "one partition is known from the agent only");
    assert_eq!(observed(&[0, 1], 12), 0, "workers know better");
    assert_eq!(observed(&[], -5), 0, "the agent's clock is ahead");
}

#[test]
fn a_lag_that_becomes_smaller_is_being_worked_off() {
    let behind = |records: i64, settled: Option<(i64, i64)>, before: StreamingJobStatus| {
        Scene::with(|scene| {
            scene.before = before;
            // The commit that is seen now is number 3.
            scene.settled = settled.map(|(seq, records)| Settled { seq, records });
            let mut report = agent_report(&scene.hash(), true, "Valid", "");
            report["jobs"][0]["lag"] = json!({"partitions": [
                {"topic": "orders", "partition": 0, "committed": 100, "position": 100, "end": 100 + records},
                {"topic": "orders", "partition": 1, "committed": 100, "position": 100, "end": 100}], "seconds": 90, "time": now()});
            scene.agent = Some(report);
        })
        .status()
    };
    let reason = |status: &StreamingJobStatus| {
        status.conditions.iter().find(|it| it.type_ == "LagWithinTarget").map(|it| it.reason.clone()).expect("told")
    };
    let first = behind(500, None, StreamingJobStatus::default());
    assert_eq!(reason(&first), "FallingBehind");
    let second = behind(400, Some((2, 500)), first);
    assert_eq!(reason(&second), "CatchingUp");
    let third = behind(900, Some((3, 400)), second);
    assert_eq!(reason(&third), "CatchingUp", "until the next commit lag can only grow");
    assert_eq!(reason(&behind(600, Some((2, 400)), third)), "FallingBehind");
}

#[test]
fn a_lag_of_some_partitions_is_no_lag() {
    for silent in [0, 1] {
        let scene = Scene::with(|scene| drop(scene.workers.remove(silent)));
        assert_eq!(scene.status().lag, None, "partition {silent} may be far behind");
        assert_eq!(scene.told()[0], "Ready=False:Starting", "and nobody may own it");
    }
    let scene = Scene::with(|scene| {
        scene.workers[0]["partitions"][0]["end"] = Value::Null;
    });
    assert_eq!(scene.status().lag, None, "an end that is not known is not zero");
}

#[test]
fn numbers_alone_are_written_every_fifteen_seconds_and_states_at_once() {
    let before = Scene::with(|scene| scene.behind(5)).status();
    let later = |seconds: i64, edit: &dyn Fn(&mut Scene)| {
        let scene = Scene::with(|scene| {
            scene.before = before.clone();
            scene.now = Timestamp::from_second(NOW + seconds).expect("a time");
            scene.behind(5);
            edit(scene);
        });
        worth_writing(&before, scene.status(), scene.now)
    };
    let moved = |scene: &mut Scene| scene.workers[0]["partitions"][0]["committed"] = json!(200);
    assert_eq!(later(14, &|_| {}), None, "nothing moved");
    assert_eq!(later(14, &moved), None, "only a number");
    assert!(later(15, &moved).is_some());
    assert!(later(1, &|scene| scene.workers.clear()).is_some(), "it is not ready any more");
    assert_eq!(later(60, &|_| {}), None, "the same lag again is no news");
    let measured = |seconds_ago: i64| {
        move |scene: &mut Scene| {
            scene.workers.clear();
            let mut report = agent_report(&scene.hash(), true, "Valid", "");
            let time = Timestamp::from_second(scene.now.as_second() - seconds_ago).expect("a time");
            let end = scene.now.as_second();
            report["jobs"][0]["lag"] = json!({"time": time, "partitions": [
                {"topic": "orders", "partition": 0, "committed": 1, "position": 1, "end": end}]});
            scene.agent = Some(report);
        }
    };
    let first = Scene::with(measured(20)).status();
    let then = |seconds: i64, seconds_ago: i64| {
        let scene = Scene::with(|scene| {
            scene.before = first.clone();
            scene.now = Timestamp::from_second(NOW + seconds).expect("a time");
            measured(seconds_ago)(scene);
        });
        worth_writing(&first, scene.status(), scene.now).is_some()
    };
    assert!(!then(1, 20), "it was written a second ago, however old the measurement is");
    assert!(then(15, 20), "and it was measured again");
}

#[test]
fn the_rate_is_that_of_the_last_commits() {
    let scene = Scene::with(|scene| {
        for worker in &mut scene.workers {
            worker["commits"] =
                json!([commit(5, now(), 10, 61_500), commit(4, now(), 15, 61_500), commit(3, now(), 20, 7)]);
        }
    });
    assert_eq!(scene.status().summary.and_then(|summary| summary.rate).as_deref(), Some("24.6k/s"));
    assert_eq!(Progress { rate: 0.0, ..Progress::default() }.rate_text(), "0/s");
    assert_eq!(Progress { rate: 1.25, ..Progress::default() }.rate_text(), "1.2/s");
    assert_eq!(Progress { rate: 2_500_000.0, ..Progress::default() }.rate_text(), "2.5M/s");
}

#[test]
fn a_rate_of_nobody_is_zero() {
    let scene = Scene::with(|scene| scene.workers.clear());
    assert_eq!(scene.status().summary.and_then(|summary| summary.rate).as_deref(), Some("0/s"));
}

#[test]
fn a_ledger_of_another_place_is_another_ledger() {
    let scene = Scene::with(|scene| {
        scene.before = Scene::running().status();
        scene.before.checkpoint = Some(CheckpointStatus { url: "s3://elsewhere/".to_owned(), seq: Some(999) });
        if let Some(commit) = &mut scene.before.last_commit {
            commit.seq = 999;
        }
    });
    let status = scene.status();
    assert_eq!(status.last_commit.map(|commit| commit.seq), Some(3));
    assert_eq!(status.checkpoint.and_then(|checkpoint| checkpoint.seq), Some(3));
}

#[test]
fn the_workers_of_the_plan_before_are_counted_until_the_new_one_is_rolled_out() {
    let scene = Scene::with(|scene| {
        scene.outcome = Outcome::Checking;
        for worker in &mut scene.workers {
            worker["planHash"] = json!("old");
        }
    });
    let status = scene.status();
    assert_eq!(status.summary.and_then(|summary| summary.workers).as_deref(), Some("2/2"));
    assert_eq!(status.lag.map(|lag| lag.records), Some(0));
}
