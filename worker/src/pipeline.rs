//! The loop: opens and closes windows, hands batches from room to room, follows the consumer group, retries, drains.
//!
//! One task owns all the state. The reader, the lanes and the commit of the last batch work beside it and only send it
//! events. At most one batch is being committed while the next window is open, so reading never waits for a commit,
//! and a worker never has two commits that are not published.
//!
//! ```text
//!             ┌────────── commands ─────────┐
//!   Kafka ─► reader ─ records, markers ─► lanes ─ files ─► batch task ─► ledger, publish
//!             └─ assigned, revoked ─► this loop ◄─ closed ──┘   └──── outcome ────► this loop
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;
use sluice_crds::report::Phase;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::Stop;
use crate::ledger::record::Run;
use crate::metrics::Metrics;
use crate::report::Board;
use crate::source::{Command, Reader, SourceEvent, TopicClient};
use crate::transform::Transform;
use crate::write::{DeadCodes, PendingFiles, WriteContext};

pub mod batch;
pub mod build;
pub mod commit;
mod ending;
mod group;
pub mod lane;
pub mod repair;
mod retreat;
pub mod start;
pub mod stores;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tries;
pub mod window;

use batch::{Batch, BatchEnd, BatchTask};
use commit::{Committed, Committer};
use lane::{LaneEvent, OpenWindow, Windows};
use window::{Failure, Progress, is_due, ranges};

/// A drain that takes longer drops the open window; the pod's own grace period is longer still.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);

/// How often a worker that waits for others looks at the ledger.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Group offsets expire on the brokers when nobody commits; this is far below every usual retention.
const REPORT_AGAIN: Duration = Duration::from_hours(1);

/// What a worker needs besides its plan.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Folder of secrets: `<folder>/<secret>/<key>`.
    pub secrets: PathBuf,
    /// Threads that decode, transform and encode; none: one for each core, at most one for each partition.
    pub lanes: Option<usize>,
    /// How long an upload that was decided must be missing before its file is made again: a store may be slow to agree with itself.
    pub lost_after: Duration,
}

impl WorkerOptions {
    /// The usual ones: one lane for each core, a minute until a file counts as lost.
    pub fn new(secrets: impl Into<PathBuf>) -> Self {
        Self { secrets: secrets.into(), lanes: None, lost_after: Duration::from_mins(1) }
    }
}

/// Runs a job until it is done, stopped or cannot go on. `stop` turns true when the worker should drain.
pub async fn run(
    plan: JobPlan,
    options: WorkerOptions,
    board: Arc<Board>,
    stop: watch::Receiver<bool>,
) -> Result<(), Stop> {
    board.phase(Phase::Starting);
    let opened = tokio::select! {
        opened = start::open(&plan, &options.secrets) => opened,
        () = stopped(stop.clone()) => return Ok(()),
    };
    let outcome = match opened {
        Ok(opened) => match build::build(plan, options, opened, Arc::clone(&board), stop.clone(), Reader::start) {
            Ok(mut pipeline) => {
                let outcome = unless_overdue(Box::pin(pipeline.run()), stop, DRAIN_DEADLINE + LOOK_AGAIN * 5).await;
                pipeline.leave().await;
                outcome
            }
            Err(stop) => Err(stop),
        },
        Err(stop) => Err(stop),
    };
    if let Err(stop) = &outcome {
        board.stopped(stop);
    }
    outcome
}

/// Does the work of a worker. When it is asked to stop, the work has this long to end by itself: whatever it waits for, the
/// ledger makes it safe to leave at any moment.
async fn unless_overdue(
    work: impl Future<Output = Result<(), Stop>>,
    stop: watch::Receiver<bool>,
    patience: Duration,
) -> Result<(), Stop> {
    let overdue = async {
        stopped(stop).await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        outcome = work => outcome,
        () = overdue => {
            tracing::warn!("the drain took too long; what is not committed will be read again");
            Ok(())
        }
    }
}

/// Waits until the worker is asked to stop.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody can ask any more: whoever could is gone without asking.
        std::future::pending::<()>().await;
    }
}

/// The state of the loop.
struct Pipeline {
    plan: Arc<JobPlan>,
    topic: Arc<TopicClient>,
    topic_id: String,
    run: Option<Run>,
    committer: Arc<Committer>,
    write: Arc<WriteContext>,
    transform: Arc<Transform>,
    reader: Arc<Reader>,
    source_events: mpsc::UnboundedReceiver<SourceEvent>,
    lane_events: mpsc::UnboundedReceiver<LaneEvent>,
    lanes: usize,
    windows: Arc<Windows>,
    window: Arc<OpenWindow>,
    /// Id of the window that lanes were told of last: no id is given twice, also when nobody got to open it.
    announced: u64,
    /// Id of the last rewind; none yet: 0. What the reader told before it does not count.
    epoch: u64,
    /// A window that failed before this loop came to it.
    early: Option<(u64, Stop)>,
    opened_at: Instant,
    /// Where the open window begins, of every owned partition.
    from: BTreeMap<i32, i64>,
    /// Owned partitions at the end of a bounded run.
    at_end: BTreeSet<i32>,
    batch: Option<JoinHandle<Result<BatchEnd, Stop>>>,
    last_commit: Instant,
    failures: u32,
    /// When the group was told last.
    reported: Instant,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

impl Pipeline {
    async fn run(&mut self) -> Result<(), Stop> {
        let mut look = tokio::time::interval(LOOK_AGAIN);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = std::pin::pin!(stopped(self.stop.clone()));
        self.board.phase(Phase::Running);
        loop {
            // A request to stop goes before everything else: a failed window must not be joined by new partitions.
            if *self.stop.borrow() {
                return self.drain().await;
            }
            if let Some((window, stop)) = self.early.take()
                && window == self.window.id
            {
                self.open_window_failed(stop).await?;
                continue;
            }
            let due_at = tokio::time::Instant::from_std(self.opened_at + self.plan.window.period);
            tokio::select! {
                () = &mut stop => return self.drain().await,
                end = finished(&mut self.batch) => self.batch_ended(end?).await?,
                event = self.source_events.recv() => self.source_event(event).await?,
                event = lane::told(&mut self.lane_events) => self.lane_event(event?).await?,
                // Without partitions there is nothing to close, however late it is.
                () = tokio::time::sleep_until(due_at), if self.batch.is_none() && !self.from.is_empty() => {}
                _ = look.tick() => {
                    if self.run.is_some() && self.is_run_done().await? {
                        return self.complete().await;
                    }
                    self.note_when_idle().await;
                    self.board.unpublished(self.committer.unpublished().await);
                    if self.batch.is_none() && self.reported.elapsed() >= REPORT_AGAIN {
                        self.report_to_group(self.from.clone()).await;
                    }
                }
            }
            if self.batch.is_none() && !self.from.is_empty() && is_due(&self.plan.window, &self.progress()) {
                self.close().await?;
            }
        }
    }

    fn progress(&self) -> Progress {
        use std::sync::atomic::Ordering::Relaxed;
        let ended = self.run.is_some() && self.from.keys().all(|partition| self.at_end.contains(partition));
        Progress {
            age: self.opened_at.elapsed(),
            records: self.window.records.load(Relaxed),
            bytes: self.window.bytes.load(Relaxed),
            pressed: self.window.pressed.load(Relaxed),
            at_end: ended && self.needs_last_commit(),
        }
    }

    /// At the end of a bounded run: is there anything that the ledger does not know yet?
    fn needs_last_commit(&self) -> bool {
        let ends = self.run.as_ref().map(|run| &run.ends);
        self.from
            .iter()
            .any(|(partition, from)| ends.and_then(|ends| ends.get(partition)).is_some_and(|end| from < end))
    }

    async fn lane_event(&mut self, event: LaneEvent) -> Result<(), Stop> {
        match event {
            LaneEvent::Failed { window, stop } if window == self.window.id => self.open_window_failed(stop).await,
            other => {
                self.set_aside(other);
                Ok(())
            }
        }
    }

    /// What a lane tells of another window than the one that is waited for: of one that was given up meanwhile, or of the
    /// next one already.
    fn set_aside(&mut self, event: LaneEvent) {
        match event {
            LaneEvent::Closed { files: Some(files), .. } => files.abandon(),
            LaneEvent::Failed { window, stop } if window > self.window.id => self.early = Some((window, stop)),
            LaneEvent::Gone { .. }
            | LaneEvent::Closed { .. }
            | LaneEvent::Failed { .. }
            | LaneEvent::Abandoned { .. }
            | LaneEvent::MaybeDue => {}
        }
    }

    /// Closes the open window and sends its batch on its way. The next window is open when this returns.
    async fn close(&mut self) -> Result<(), Stop> {
        let closing = Arc::clone(&self.window);
        let next = self.announce_next()?;
        let (reply, positions) = oneshot::channel();
        self.reader.send(Command::Close { window: next.id, reply });
        let Ok(to) = positions.await else { return Err(self.reader_is_gone()) };
        let closed = self.closed_by_lanes(closing.id).await?;
        // Whatever becomes of the old one, the lanes are at the next window.
        self.window = next;
        let ranges = ranges(&self.plan.source.topic, &self.topic_id, &self.from, &to);
        let files = match closed {
            Ok(files) => files,
            Err(stop) => return self.window_failed(Failure::of_closed(&closing.batch, &ranges, stop)).await,
        };
        let lost: Vec<i32> = self.from.keys().copied().filter(|partition| !to.contains_key(partition)).collect();
        if !lost.is_empty() {
            // The reader knows it already, its event is still on the way. The files hold rows of a partition that others read now.
            tracing::warn!(partitions = ?lost, "partitions lost while the window closed: it is dropped");
            files.into_iter().for_each(PendingFiles::abandon);
            self.forget(&lost);
            return self.rewind().await;
        }
        for (partition, from) in &mut self.from {
            *from = to.get(partition).copied().unwrap_or(*from).max(*from);
        }
        self.opened_at = Instant::now();
        let batch = Batch { window: closing, closed: Timestamp::now(), ranges, files };
        self.batch = Some(tokio::spawn(self.batch_task(batch)));
        Ok(())
    }

    /// What the lanes made of a window that ends; the inner error is that of a lane that could not make it.
    async fn closed_by_lanes(&mut self, closing: u64) -> Result<Result<Vec<PendingFiles>, Stop>, Stop> {
        let mut files = Vec::new();
        let mut open = self.lanes;
        while open > 0 {
            match lane::told(&mut self.lane_events).await? {
                LaneEvent::Closed { window, files: of_lane } if window == closing => {
                    files.extend(of_lane);
                    open -= 1;
                }
                LaneEvent::Failed { window, stop } if window == closing => {
                    files.into_iter().for_each(PendingFiles::abandon);
                    return Ok(Err(stop));
                }
                other => self.set_aside(other),
            }
        }
        Ok(Ok(files))
    }

    fn announce_next(&mut self) -> Result<Arc<OpenWindow>, Stop> {
        let next = build::open_window(&self.committer.worker, self.announced, self.lanes, &self.transform)?;
        self.announced = next.id;
        self.windows.announce(Arc::clone(&next));
        Ok(next)
    }

    fn batch_task(&self, batch: Batch) -> impl Future<Output = Result<BatchEnd, Stop>> + use<> {
        let task = BatchTask {
            plan: Arc::clone(&self.plan),
            topic: Arc::clone(&self.topic),
            committer: Arc::clone(&self.committer),
            write: Arc::clone(&self.write),
            metrics: Arc::clone(&self.metrics),
            topic_id: self.topic_id.clone(),
            since_last: self.last_commit.elapsed(),
            last_of_run: self.run.is_some() && self.progress_ended(),
        };
        task.carry_out(batch)
    }

    fn progress_ended(&self) -> bool {
        self.from.keys().all(|partition| self.at_end.contains(partition))
    }

    async fn published(&mut self, committed: &Committed, codes: &DeadCodes) {
        self.failures = 0;
        self.last_commit = Instant::now();
        let positions = committed.commit.ranges.iter().map(|range| (range.partition, range.to)).collect();
        self.report_to_group(positions).await;
        self.board.committed(committed, codes);
    }

    async fn batch_ended(&mut self, end: BatchEnd) -> Result<(), Stop> {
        match end {
            BatchEnd::Published(committed, codes) => {
                self.published(&committed, &codes).await;
                Ok(())
            }
            BatchEnd::Nothing(ranges) => {
                for range in ranges {
                    if let Some(from) = self.from.get_mut(&range.partition) {
                        *from = range.from;
                    }
                }
                Ok(())
            }
            BatchEnd::Void(illegal) => {
                self.voided(&illegal)?;
                self.rewind().await
            }
            BatchEnd::Failed(failure) => self.window_failed(failure).await,
        }
    }

    /// Commits and publishes everything that was read so far.
    async fn settle(&mut self) -> Result<(), Stop> {
        self.wait_for_batch().await?;
        if !self.from.is_empty() {
            self.close().await?;
            self.wait_for_batch().await?;
        }
        Ok(())
    }

    async fn wait_for_batch(&mut self) -> Result<(), Stop> {
        if self.batch.is_some() {
            let end = finished(&mut self.batch).await?;
            self.batch_ended(end).await?;
        }
        Ok(())
    }
}

async fn finished(batch: &mut Option<JoinHandle<Result<BatchEnd, Stop>>>) -> Result<BatchEnd, Stop> {
    let Some(handle) = batch else { return std::future::pending().await };
    let end = handle.await;
    *batch = None;
    match end {
        Ok(end) => end,
        Err(error) => Err(broke_off(&error)),
    }
}

fn broke_off(error: &tokio::task::JoinError) -> Stop {
    Stop::new(Reason::Internal, format!("a batch broke off: {error}"))
}
