//! The whole pipeline on the embedded Kafka and a local folder: what a job promises from its first record to its last.
//!
//! The embedded broker knows no transactions and keeps little, so nothing about brokers is proven here; that is done
//! against a real one by the end-to-end tests.

#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "pipeline/world.rs"]
mod world;

use std::time::Duration;

use sluice_crds::condition::Reason;
use sluice_crds::report::{Phase, Totals};

use world::World;

fn counts(totals: &Totals) -> (u64, u64, u64, u64) {
    (totals.read, totals.written, totals.filtered, totals.dead)
}

/// `n` good records; every tenth is filtered out by the usual job.
fn good(n: usize) -> Vec<String> {
    (0..n)
        .map(|i| format!(r#"{{"id":"r{i}","amount":{}.5,"at":{}}}"#, if i % 10 == 0 { -1 } else { 1 }, i * 60_000))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_run_balances_and_a_second_one_writes_nothing_again() {
    let world = World::new(4);
    let mut records = good(1000);
    records.push("{broken".to_owned());
    records.push(r#"{"id":"x","amount":"a lot","at":0}"#.to_owned());
    world.produce(&records);

    let first = world.run_to_the_end(&world.plan("")).await.expect("first run");
    assert_eq!(counts(&first.totals), (1002, 900, 100, 2));
    assert_eq!(first.phase, Phase::Completed);
    assert_eq!(world.ids(), (0..1000).filter(|i| i % 10 != 0).map(|i| format!("r{i}")).collect());
    assert_eq!(world.dead_letters().len(), 2);

    let second = world.run_to_the_end(&world.plan("")).await.expect("second run");
    assert_eq!(counts(&second.totals), (0, 0, 0, 0));
    assert_eq!(world.ids().len(), 900);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_record_stops_a_job_without_dead_letters_and_nothing_is_written() {
    let world = World::new(1);
    let mut records = good(50);
    records.insert(20, "{broken".to_owned());
    world.produce(&records);
    let mut plan = world.plan("");
    plan.dead_letter = None;
    let stop = world.run_to_the_end(&plan).await.expect_err("the record must be refused");
    assert_eq!((stop.reason, stop.exit_code), (Reason::RecordRejected, 5), "{stop}");
    assert!(stop.message.contains("offset 20") && stop.message.contains("InvalidJson"), "{stop}");
    assert_eq!(world.ids().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_value_that_no_folder_can_hold_is_a_dead_letter_or_stops_the_job() {
    let world = World::new(2);
    let mut records: Vec<String> =
        (0..40).map(|i| format!(r#"{{"id":"r{i}","amount":{},"at":{}}}"#, i % 4, i % 3)).collect();
    records[21] = r#"{"id":"far","amount":1,"at":400000000000000}"#.to_owned();
    world.produce(&records);
    let mut plan = world.plan("");
    let dead_letter = plan.dead_letter.take();
    let stop = world.run_to_the_end(&plan).await.expect_err("there is no place for it");
    assert_eq!((stop.reason, stop.exit_code), (Reason::RecordRejected, 5), "{stop}");
    assert!(stop.message.contains("orders/1 offset 10") && stop.message.contains("`day`"), "{stop}");
    assert_eq!(world.ids().len(), 0);

    plan.dead_letter = dead_letter;
    let report = world.run_to_the_end(&plan).await.expect("the others are written");
    assert_eq!(counts(&report.totals), (40, 29, 10, 1));
    assert_eq!(world.ids(), (0..40).filter(|i| i % 4 != 0 && *i != 21).map(|i| format!("r{i}")).collect());
    let [letter] = world.dead_letters().try_into().expect("one dead letter");
    for part in [
        r#""offset":10"#,
        r#""stage":"write","code":"PartitionValueOutOfRange""#,
        r#"\"id\":\"far\""#,
        r#""field":"day""#,
    ] {
        assert!(letter.contains(part), "{part} is not in {letter}");
    }
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_dead_letters_stalls_the_job_and_nothing_is_written() {
    let world = World::new(1);
    let mut records = good(150);
    records.extend((0..150).map(|_| "not json".to_owned()));
    world.produce(&records);
    let mut plan = world.plan("");
    if let Some(dead) = &mut plan.dead_letter {
        dead.max_percent = Some(10.0);
    }
    let stop = world.run_to_the_end(&plan).await.expect_err("too many are refused");
    assert_eq!(stop.reason, Reason::DeadLetterRateExceeded, "{stop}");
    assert_eq!((world.ids().len(), world.dead_letters().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_plan_goes_on_exactly_where_the_old_one_ended() {
    let world = World::new(2);
    world.produce(&good(100));
    world.run_to_the_end(&world.plan("")).await.expect("old plan");
    world.produce(&(100..200).map(|i| format!(r#"{{"id":"n{i}","amount":-1,"at":0}}"#)).collect::<Vec<_>>());
    let mut plan = world.plan("");
    plan.parameters.insert("least".to_owned(), "-5".to_owned());
    let report = world.run_to_the_end(&plan).await.expect("new plan");
    assert_eq!((report.generation, counts(&report.totals)), (2, (100, 100, 0, 0)));
    assert_eq!(world.ids().len(), 190);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_job_is_refused() {
    let world = World::new(1);
    world.produce(&good(10));
    world.run_to_the_end(&world.plan("")).await.expect("the owner");
    let mut plan = world.plan("");
    plan.job.name = "somebody-else".to_owned();
    let stop = world.run_to_the_end(&plan).await.expect_err("foreign");
    assert_eq!((stop.reason, stop.exit_code), (Reason::CheckpointForeign, 5), "{stop}");
    assert!(stop.message.contains("default/orders") && stop.message.contains("default/somebody-else"), "{stop}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_commits_the_open_window() {
    let world = World::new(2);
    world.produce(&good(300));
    let mut plan = world.plan("");
    plan.mode = sluice_crds::plan::Mode::Continuous;
    plan.window.period = Duration::from_hours(1);
    let running = world.start(plan);
    running.until(|report| report.partitions.iter().map(|partition| partition.position).sum::<i64>() == 300).await;
    assert_eq!(world.ids().len(), 0, "the window is open for an hour");
    let report = running.drain().await.expect("drains");
    assert_eq!(counts(&report.totals), (300, 270, 30, 0));
    assert_eq!(world.ids().len(), 270);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_topic_and_every_record_lands_once() {
    let world = World::new(4);
    let mut plan = world.plan("");
    plan.mode = sluice_crds::plan::Mode::Continuous;
    plan.window.period = Duration::from_secs(1);
    world.produce(&good(2000));
    let first = world.start(plan.clone());
    first.until(|report| report.totals.read > 0).await;
    let second = world.start(plan);
    second.until(|report| !report.partitions.is_empty()).await;
    world.produce(&(0..2000).map(|i| format!(r#"{{"id":"s{i}","amount":1,"at":0}}"#)).collect::<Vec<_>>());
    world.until_committed(4000).await;
    let (one, two) = (first.drain().await.expect("first drains"), second.drain().await.expect("second drains"));
    assert_eq!(one.totals.read + two.totals.read, 4000);
    assert_eq!(world.ids().len(), 1800 + 2000);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_sees_all_lanes_of_a_batch() {
    let world = World::new(4);
    world.produce(&good(1000));
    let report = world.run_to_the_end(&world.aggregating_plan()).await.expect("aggregates");
    assert_eq!((report.totals.read, report.totals.written), (1000, 2));
    assert_eq!(world.column("n"), ["100", "900"].map(String::from).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_a_good_run_by_their_documented_names() {
    let world = World::new(1);
    let mut records = good(10);
    records.push("[]".to_owned());
    world.produce(&records);
    let running = world.start(world.plan(""));
    let board = running.board();
    running.ended().await.expect("completes");
    let text = board.render_metrics();
    for line in [
        "sluice_records_total{result=\"written\"} 9",
        "sluice_records_total{result=\"filtered\"} 1",
        "sluice_records_total{result=\"dead\"} 1",
        "sluice_dead_letters_total{stage=\"decode\",code=\"NotAnObject\"} 1",
        "sluice_commits_total 1",
        "sluice_voids_total 0",
        "sluice_window_retries_total 0",
        "sluice_lag_records{topic=\"orders\",partition=\"0\"} 0",
        "sluice_stage_seconds_total{stage=\"decode\"}",
        "sluice_batch_seconds_bucket",
        "sluice_memory_budget_bytes",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_named_with_its_address() {
    let world = World::new(1);
    let mut plan = world.plan("");
    plan.source.kafka.bootstrap_servers = vec!["127.0.0.1:1".to_owned()];
    let stop = world.run_to_the_end(&plan).await.expect_err("nobody listens there");
    assert_eq!((stop.reason, stop.exit_code), (Reason::SourceUnavailable, 3), "{stop}");
    assert!(stop.message.contains("127.0.0.1:1"), "{stop}");
}
