//! The loop, with a reader that the test plays: what it does when events come at the worst moment.

use crate::ledger::Illegal;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path;
use sluice_crds::condition::Reason;
use sluice_crds::plan::Mode;
use tokio::sync::watch;

use super::testing::{BAD, GOOD, PATIENCE, commits, ended, play, run};
use super::*;
use crate::ledger::record::{Body, Start};
use crate::ledger::{Ledger, Owner};
use crate::source::LaneInput;

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_closes_while_a_partition_is_lost_is_dropped_as_a_whole() {
    let (pipeline, played) = play(2, 0, |plan| plan.window.max_records = Some(20)).await;
    let running = run(pipeline);
    played.assign(&[0, 1]);
    played.read(0, 0..10, GOOD);
    played.read(1, 0..10, GOOD);
    // Partition 1 is gone for the reader; the event that says so is still behind what the loop is doing.
    played.close(&[(0, 10)]);
    assert_eq!(played.rewind().0, BTreeMap::from([(0, 0)]), "what is still owned is read again");
    played.tell(SourceEvent::Lost(vec![1]));
    assert_eq!(played.rewind().0, BTreeMap::from([(0, 0)]));
    played.stop.send_replace(true);
    played.close(&[(0, 0)]);
    let (pipeline, outcome) = ended(running).await;
    outcome.unwrap();
    assert_eq!(commits(&pipeline).await, []);
    assert_eq!((played.files(".parquet"), played.files(".inprogress")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_over_which_the_topic_was_made_again_is_not_committed() {
    let (mut pipeline, played) = play(1, 10, |plan| plan.window.max_records = Some(10)).await;
    // When the worker started, the name was that of another topic.
    "AAAAAAAAAAAAAAAAAAAAAA".clone_into(&mut pipeline.topic_id);
    let running = run(pipeline);
    played.assign(&[0]);
    played.read(0, 0..10, GOOD);
    played.close(&[(0, 10)]);
    let (pipeline, outcome) = ended(running).await;
    assert_eq!(outcome.unwrap_err().reason, Reason::TopicRecreated);
    assert_eq!(commits(&pipeline).await, []);
    assert_eq!((played.files(".parquet"), played.files(".inprogress")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_partition_counts_only_where_the_reader_stands_now() {
    let (pipeline, played) = play(1, 10, |plan| plan.mode = Mode::UntilCaughtUp).await;
    let running = run(pipeline);
    let at_end = |offset, epoch| played.tell(SourceEvent::AtEnd { partition: 0, offset, epoch });
    // An end that counts closes the window at once; else the next command is the rewind that is asked for behind it.
    at_end(10, 0);
    assert_eq!(played.assign(&[0]), BTreeMap::from([(0, 0)]), "an end of an earlier ownership");
    played.tell(SourceEvent::Lost(Vec::new()));
    played.rewind();
    at_end(10, 0);
    played.tell(SourceEvent::Lost(Vec::new()));
    let (_, epoch) = played.rewind();
    at_end(9, epoch);
    played.tell(SourceEvent::Lost(Vec::new()));
    let (_, epoch) = played.rewind();
    at_end(10, epoch);
    played.close(&[(0, 10)]);
    let (pipeline, outcome) = ended(running).await;
    outcome.unwrap();
    assert_eq!(commits(&pipeline).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_fails_in_the_next_window_before_others_closed_the_last_is_heard_at_once() {
    let (pipeline, played) = play(2, 0, |plan| plan.window.max_records = Some(20)).await;
    let running = run(pipeline);
    played.assign(&[0, 1]);
    played.read(0, 0..10, GOOD);
    played.read(1, 0..10, GOOD);
    let (window, reply) = played.closing();
    reply.send(BTreeMap::from([(0, 10), (1, 10)])).unwrap();
    played.lanes[0].send(LaneInput::Close { window }).unwrap();
    played.read(0, 10..11, BAD);
    while played.held.used() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    played.lanes[1].send(LaneInput::Close { window }).unwrap();
    let (_, outcome) = ended(running).await;
    assert_eq!(outcome.unwrap_err().reason, Reason::RecordRejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_asked_to_stop_takes_no_partitions_any_more() {
    let (mut pipeline, played) = play(1, 0, |_| {}).await;
    played.stop.send_replace(true);
    played.tell(SourceEvent::Assigned(vec![0]));
    // What is ready at once comes in random order: that it never comes first is seen by looking often.
    for _ in 0..30 {
        pipeline.run().await.unwrap();
    }
    assert!(played.commands.try_iter().all(|command| matches!(command, Command::CommitGroup { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_batch_and_a_failed_window_do_not_spoil_a_drain() {
    let (mut pipeline, played) = play(1, 0, |_| {}).await;
    pipeline.from = BTreeMap::from([(0, 0)]);
    pipeline.batch = Some(tokio::spawn(async { Ok(BatchEnd::Void(Illegal::NoRanges)) }));
    played.stop.send_replace(true);
    let failed = Stop { retry: true, ..Stop::new(Reason::SinkUnavailable, "no answer") };
    let drain = async {
        pipeline.open_window_failed(failed).await?;
        pipeline.drain().await
    };
    tokio::time::timeout(PATIENCE, drain).await.expect("an end in time").unwrap();
    assert!(
        !played.commands.try_iter().any(|command| matches!(command, Command::Rewind { .. } | Command::Close { .. }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_plan_is_old_ends_also_when_it_hears_of_it_on_its_way_back() {
    let (mut pipeline, _played) = play(1, 0, |_| {}).await;
    pipeline.from = BTreeMap::from([(0, 0)]);
    let illegal = Illegal::OtherPlan { current: Some("new".to_owned()), found: "old".to_owned() };
    pipeline.batch = Some(tokio::spawn(async { Ok(BatchEnd::Void(illegal)) }));
    let failed = Stop { retry: true, ..Stop::new(Reason::SinkUnavailable, "no answer") };
    let ended = tokio::time::timeout(PATIENCE, pipeline.open_window_failed(failed)).await.expect("an end in time");
    assert_eq!(ended.unwrap_err().reason, Reason::Superseded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_although_nobody_has_read_its_empty_partitions() {
    let (mut pipeline, _played) = play(2, 0, |plan| plan.mode = Mode::UntilCaughtUp).await;
    let name = String::from;
    let owner = Owner { cluster: name("c"), namespace: name("n"), name: name("j"), kafka_cluster: name("k") };
    let mut ledger = Ledger::open(Arc::new(InMemory::new()), Path::from("c"), "memory:///c/", &owner).await.unwrap();
    let run = Run { id: name("r"), ends: BTreeMap::from([(0, 0), (1, 0)]) };
    // The ledger has never heard of partition 1.
    let positions = BTreeMap::from([(0, 0)]);
    let first = Start { topic: name("orders"), topic_id: name("id"), earliest: false, positions };
    for body in [Body::Start(first), Body::Run(run.clone())] {
        let record = ledger.record(body);
        ledger.decide(&record).await.unwrap();
    }
    *pipeline.committer.ledger.lock().await = ledger;
    pipeline.run = Some(run.clone());
    assert!(pipeline.is_run_done().await.unwrap());
    pipeline.run = Some(Run { ends: BTreeMap::from([(0, 0), (1, 1)]), ..run });
    assert!(!pipeline.is_run_done().await.unwrap(), "one that is not empty has to be read");
}

#[tokio::test]
async fn what_a_worker_waits_for_has_a_deadline_once_it_is_asked_to_stop() {
    let (stop, stopped) = watch::channel(false);
    let works = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Err(Stop::new(Reason::Internal, "by itself"))
    };
    let outcome = unless_overdue(works, stopped.clone(), Duration::ZERO).await;
    assert_eq!(outcome.unwrap_err().message, "by itself", "nobody asked");
    stop.send_replace(true);
    let stuck = unless_overdue(std::future::pending(), stopped, Duration::from_millis(10));
    tokio::time::timeout(PATIENCE, stuck).await.expect("an end in time").unwrap();
}
