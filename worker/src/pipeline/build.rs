//! Puts a pipeline together: reader, lanes, committer, and the first window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use jiff::Timestamp;
use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Mutex, mpsc, watch};

use super::commit::Committer;
use super::lane::{self, LaneContext, LaneEvent, OpenWindow, Windows};
use super::repair::Repairer;
use super::start::Opened;
use super::stores::FileStores;
use super::{Pipeline, WorkerOptions, start};
use crate::budget::Budget;
use crate::error::Stop;
use crate::report::Board;
use crate::source::{LaneInput, Reader, ReaderConfig, SourceError, SourceEvent};
use crate::transform::Transform;
use crate::write::WriteContext;
use crate::write::lessons::Lessons;

/// Batches that a lane may have waiting: enough to never starve, few enough to be small change for the memory budget.
const LANE_QUEUE: usize = 4;

/// A reader, and what it tells.
type StartedReader = (Reader, UnboundedReceiver<SourceEvent>);

/// Starts the threads of a worker. Records flow from here on. `start_reader` is [`Reader::start`], or a test that plays it.
#[allow(clippy::too_many_lines, reason = "one list of parts, without a decision in it")]
pub(super) fn build(
    plan: JobPlan,
    options: WorkerOptions,
    opened: Opened,
    board: Arc<Board>,
    stop: watch::Receiver<bool>,
    start_reader: impl FnOnce(ReaderConfig, Vec<Sender<LaneInput>>) -> Result<StartedReader, SourceError>,
) -> Result<Pipeline, Stop> {
    let plan = Arc::new(plan);
    let budget = Budget::of_process(plan.memory_budget);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let lanes = options.lanes.unwrap_or(cores).clamp(1, opened.partitions.max(1));
    let write = Arc::new(WriteContext {
        job: format!("{}/{}", plan.job.namespace, plan.job.name),
        sink: plan.sink.clone(),
        schema: opened.transform.output_schema(),
        partition_keys: opened.transform.partition_keys(),
        table: Arc::clone(&opened.stores.table),
        dead: opened.stores.dead.clone(),
        topic: plan.source.topic.clone(),
        lessons: Lessons::default(),
        budget: Arc::clone(&budget),
        runtime: tokio::runtime::Handle::current(),
    });
    write.validate()?;
    let windows = Arc::new(Windows::default());
    let context = Arc::new(LaneContext {
        transform: Arc::clone(&opened.transform),
        write: Arc::clone(&write),
        windows: Arc::clone(&windows),
        max_records: plan.window.max_records.unwrap_or(u64::MAX),
        max_bytes: plan.window.max_bytes.unwrap_or(u64::MAX),
        metrics: board.metrics(),
    });
    let window = open_window(board.worker(), 0, lanes, &opened.transform)?;
    windows.announce(Arc::clone(&window));
    let (lane_sender, lane_events) = mpsc::unbounded_channel();
    let inputs = (0..lanes)
        .map(|index| start_lane(index, &plan, &context, &window, lane_sender.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut config =
        ReaderConfig::new(plan.source.clone(), start::client_name(&plan), options.secrets.clone(), Arc::clone(&budget));
    config.limits = opened.run.as_ref().map(|run| run.ends.clone());
    let (reader, source_events) = start_reader(config, inputs)?;
    let reader = Arc::new(reader);
    board.begin(&plan, &opened, budget, Arc::clone(&reader));
    let ledger = Arc::new(Mutex::new(opened.ledger));
    let current = (opened.plan_hash.clone(), Arc::clone(&plan));
    let stores = Arc::new(FileStores::new(current, opened.stores, Arc::clone(&ledger), options.secrets.clone()));
    let repairer = Repairer::new(Arc::clone(&stores), options.secrets);
    let committer = Arc::new(Committer {
        ledger,
        stores,
        repairer,
        lost_after: options.lost_after,
        worker: board.worker().to_owned(),
        plan: opened.plan_hash,
        retries: (plan.retries.per_window, plan.retries.backoff),
        visible: std::sync::Mutex::default(),
    });
    Ok(Pipeline {
        topic: opened.topic,
        topic_id: opened.topic_id,
        run: opened.run,
        committer,
        write,
        transform: opened.transform,
        reader,
        source_events,
        lane_events,
        lanes,
        windows,
        announced: window.id,
        window,
        epoch: 0,
        early: None,
        opened_at: Instant::now(),
        from: BTreeMap::new(),
        at_end: BTreeSet::new(),
        batch: None,
        last_commit: Instant::now(),
        failures: 0,
        reported: Instant::now(),
        metrics: board.metrics(),
        board,
        plan,
        stop,
    })
}

fn start_lane(
    index: usize,
    plan: &JobPlan,
    context: &Arc<LaneContext>,
    first: &Arc<OpenWindow>,
    events: UnboundedSender<LaneEvent>,
) -> Result<Sender<LaneInput>, Stop> {
    let (sender, receiver) = crossbeam_channel::bounded(LANE_QUEUE);
    let decoder = start::decoder(plan, &context.transform)?;
    let (context, first) = (Arc::clone(context), Arc::clone(first));
    std::thread::Builder::new()
        .name(format!("lane-{index}"))
        .spawn(move || lane::run(index, context, decoder, first, &receiver, events))
        .map_err(|error| Stop::new(Reason::Internal, format!("lane {index} cannot start: {error}")))?;
    Ok(sender)
}

/// The window after `previous`.
pub fn open_window(worker: &str, previous: u64, lanes: usize, transform: &Transform) -> Result<Arc<OpenWindow>, Stop> {
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
    // Ids rise even when the clock does not, so that a batch id is never used twice.
    let id = now.max(previous + 1);
    let start = Timestamp::from_microsecond(id as i64)
        .map_err(|error| Stop::new(Reason::Internal, format!("the clock is out of range: {error}")))?;
    let batch_run = match transform.batch_part() {
        Some(part) => Some(Arc::new(part.start(start, lanes, &tokio::runtime::Handle::current())?)),
        None => None,
    };
    Ok(Arc::new(OpenWindow {
        id,
        batch: format!("{worker}{id:016x}"),
        start,
        records: 0.into(),
        bytes: 0.into(),
        pressed: false.into(),
        batch_run: batch_run.into(),
    }))
}
