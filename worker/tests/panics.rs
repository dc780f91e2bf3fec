//! A thread that panics ends its worker, with what it said. A test binary of its own, because it lets the process fail.

#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "pipeline/world.rs"]
mod world;

use sluice_crds::condition::Reason;

use world::World;

/// What a worker ends with when these points do this. Points are of the whole process, so one test goes after the other.
async fn ends_with(points: &[(&str, &str)]) -> String {
    static ONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = ONE.lock().await;
    let world = World::new(2);
    world.produce(&(0..100).map(|i| format!(r#"{{"id":"r{i}","amount":1,"at":0}}"#)).collect::<Vec<_>>());
    for (point, action) in points {
        fail::cfg(*point, action).expect("a fault point");
    }
    let outcome = world.run_to_the_end(&world.plan("")).await;
    for (point, _) in points {
        fail::remove(point);
    }
    let stop = outcome.expect_err("it cannot go on");
    assert_eq!((stop.reason, stop.exit_code), (Reason::Internal, 70), "{stop}");
    stop.message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_panics_while_its_window_closes_ends_the_worker() {
    let message = ends_with(&[("lane.close.before", "1*panic(out of luck)")]).await;
    assert!(message.starts_with("lane ") && message.ends_with(" panicked: out of luck"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_panics_while_its_window_is_abandoned_ends_the_worker() {
    // The window has to fail first: a part of a file is not written.
    let points = [("store.part.before", "1*panic"), ("lane.abandon.before", "1*panic(out of luck)")];
    let message = ends_with(&points).await;
    assert!(message.starts_with("lane ") && message.ends_with(" panicked: out of luck"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_panics_ends_the_worker() {
    let message = ends_with(&[("reader.turn.before", "20*off->panic(out of luck)")]).await;
    assert!(message.contains("the reader panicked: out of luck"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_panics_on_its_way_ends_the_worker() {
    let message = ends_with(&[("commit.before", "panic(out of luck)")]).await;
    assert!(message.contains("a batch broke off"), "{message}");
}
