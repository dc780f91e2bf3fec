use std::path::Path;

use tokio::sync::mpsc;

use super::super::build::open_window;
use super::super::start::{decoder, plan_transforms};
use super::super::testing::{BAD, GOOD, plan, raw};
use super::*;
use crate::budget::Budget;
use crate::store::Store;
use crate::write::lessons::Lessons;

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_again_at_the_close_and_forgotten_when_the_window_is_abandoned() {
    let plan = plan("nowhere:9092", Path::new("/nowhere"));
    let transform = Arc::new(plan_transforms(&plan).await.unwrap());
    let budget = Budget::new(u64::MAX);
    let write = Arc::new(WriteContext {
        job: "default/orders".into(),
        sink: plan.sink.clone(),
        schema: transform.output_schema(),
        partition_keys: transform.partition_keys(),
        table: Arc::new(Store::memory()),
        dead: None,
        topic: "orders".into(),
        lessons: Lessons::default(),
        budget: Arc::clone(&budget),
        runtime: tokio::runtime::Handle::current(),
    });
    let windows = Arc::new(Windows::default());
    let mut open = Vec::new();
    for previous in 0..4 {
        open.push(
            open_window("w", open.last().map_or(previous, |last: &Arc<OpenWindow>| last.id), 1, &transform).unwrap(),
        );
    }
    for window in &open {
        windows.announce(Arc::clone(window));
    }
    let ids: Vec<u64> = open.iter().map(|window| window.id).collect();
    let context = Arc::new(LaneContext {
        transform: Arc::clone(&transform),
        write,
        windows,
        max_records: u64::MAX,
        max_bytes: u64::MAX,
        metrics: Metrics::new(),
    });
    let (inputs, received) = crossbeam_channel::unbounded();
    let (events, mut told_by_lane) = mpsc::unbounded_channel();
    let (first, decoder) = (Arc::clone(&open[0]), decoder(&plan, &transform).unwrap());
    let lane = std::thread::spawn(move || run(0, context, decoder, first, &received, events));

    let read = |text| LaneInput::Batch { raw: raw(0, 0..1, text), held: budget.hold(1) };
    inputs.send(read(BAD)).unwrap();
    inputs.send(LaneInput::Close { window: ids[1] }).unwrap();
    inputs.send(LaneInput::Abandon { epoch: ids[2] }).unwrap();
    inputs.send(read(GOOD)).unwrap();
    inputs.send(LaneInput::Close { window: ids[3] }).unwrap();
    drop(inputs);

    for _ in ["when it happens", "at the close"] {
        let event = told(&mut told_by_lane).await.unwrap();
        let LaneEvent::Failed { window, stop } = event else { panic!("a failure is expected") };
        assert_eq!((window, stop.reason), (ids[0], Reason::RecordRejected));
    }
    assert!(matches!(told(&mut told_by_lane).await.unwrap(), LaneEvent::Abandoned { window } if window == ids[2]));
    let event = told(&mut told_by_lane).await.unwrap();
    assert!(matches!(event, LaneEvent::Closed { window, files: Some(_) } if window == ids[2]));
    lane.join().unwrap();
    assert_eq!(told(&mut told_by_lane).await.err().map(|stop| stop.reason), Some(Reason::Internal), "nobody is left");
}
