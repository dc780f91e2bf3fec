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
use crate::ledger::Illegal;
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
pub mod start;
pub mod stores;
pub mod window;

use batch::{Batch, BatchEnd, BatchTask};
use commit::{Committed, Committer};
use lane::{LaneEvent, OpenWindow, Windows};
use window::{Progress, backoff, is_due, ranges};

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
    let asked = stop.clone();
    let opened = tokio::select! {
        opened = start::open(&plan, &options.secrets) => opened,
        () = stopped(stop.clone()) => return Ok(()),
    };
    let outcome = match opened {
        Ok(opened) => match build::build(plan, options, opened, Arc::clone(&board), stop.clone()) {
            Ok(mut pipeline) => {
                // Whatever the loop waits for: the ledger makes it safe to leave at any moment.
                let overdue = async {
                    stopped(asked).await;
                    tokio::time::sleep(DRAIN_DEADLINE + LOOK_AGAIN * 5).await;
                };
                let outcome = tokio::select! {
                    outcome = pipeline.run() => outcome,
                    () = overdue => {
                        tracing::warn!("the drain took too long; what is not committed will be read again");
                        Ok(())
                    }
                };
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
            let due_at = tokio::time::Instant::from_std(self.opened_at + self.plan.window.period);
            tokio::select! {
                () = &mut stop => return self.drain().await,
                end = finished(&mut self.batch) => self.batch_ended(end?).await?,
                event = self.source_events.recv() => self.source_event(event).await?,
                event = self.lane_events.recv() => self.lane_event(event).await?,
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

    async fn lane_event(&mut self, event: Option<LaneEvent>) -> Result<(), Stop> {
        match event {
            Some(LaneEvent::Failed { window, stop }) if window == self.window.id => self.window_failed(stop).await,
            // Of a window that was closed or abandoned meanwhile.
            Some(LaneEvent::Failed { .. } | LaneEvent::Abandoned { .. } | LaneEvent::MaybeDue) => Ok(()),
            Some(LaneEvent::Closed { files, .. }) => {
                if let Some(files) = files {
                    files.abandon();
                }
                Ok(())
            }
            None => Err(Stop::new(Reason::Internal, "all lanes ended by themselves")),
        }
    }

    /// Closes the open window and sends its batch on its way. The next window is open when this returns.
    async fn close(&mut self) -> Result<(), Stop> {
        let closing = Arc::clone(&self.window);
        let next = self.announce_next()?;
        let (reply, positions) = oneshot::channel();
        self.reader.send(Command::Close { window: next.id, reply });
        let to = positions.await.map_err(|_| Stop::new(Reason::Internal, "the reader ended by itself"))?;
        let mut files = Vec::new();
        let mut open = self.lanes;
        while open > 0 {
            match self.lane_events.recv().await {
                Some(LaneEvent::Closed { window, files: of_lane }) if window == closing.id => {
                    files.extend(of_lane);
                    open -= 1;
                }
                Some(LaneEvent::Failed { window, stop }) if window == closing.id => {
                    files.into_iter().for_each(PendingFiles::abandon);
                    // The next window is announced: its id must not be given again.
                    self.window = next;
                    return self.window_failed(stop).await;
                }
                Some(_) => {}
                None => return Err(Stop::new(Reason::Internal, "all lanes ended by themselves")),
            }
        }
        let lost: Vec<i32> = self.from.keys().copied().filter(|partition| !to.contains_key(partition)).collect();
        if !lost.is_empty() {
            // The reader knows it already, its event is still on the way. The files hold rows of a partition that others read now.
            tracing::warn!(partitions = ?lost, "partitions lost while the window closed: it is dropped");
            files.into_iter().for_each(PendingFiles::abandon);
            self.window = next;
            self.forget(&lost);
            return self.rewind().await;
        }
        let ranges = ranges(&self.plan.source.topic, &self.topic_id, &self.from, &to);
        for (partition, from) in &mut self.from {
            *from = to.get(partition).copied().unwrap_or(*from).max(*from);
        }
        self.window = next;
        self.opened_at = Instant::now();
        let batch = Batch { window: closing, closed: Timestamp::now(), ranges, files };
        self.batch = Some(tokio::spawn(self.batch_task(batch)));
        Ok(())
    }

    fn announce_next(&self) -> Result<Arc<OpenWindow>, Stop> {
        let next = build::open_window(&self.committer.worker, self.window.id, self.lanes, &self.transform)?;
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
                self.board.voided();
                if matches!(illegal, Illegal::OtherPlan { .. }) {
                    return Err(Stop::new(
                        Reason::Superseded,
                        format!("a newer plan of this job is at work: {illegal}"),
                    ));
                }
                tracing::info!(%illegal, "the batch is void: another worker owns its partitions or committed them");
                self.rewind().await
            }
            BatchEnd::Failed(stop) => self.window_failed(stop).await,
        }
    }

    /// A window failed before anything of it was decided: everything read since goes back, and is read again.
    async fn window_failed(&mut self, stop: Stop) -> Result<(), Stop> {
        if !stop.retry {
            return Err(stop);
        }
        self.failures += 1;
        if self.failures > self.plan.retries.per_window {
            let ranges: Vec<String> =
                self.from.iter().map(|(partition, from)| format!("{partition}: from {from}")).collect();
            return Err(Stop::new(
                Reason::RetriesExhausted,
                format!(
                    "batch {} of topic {} (partition offsets {}) failed {} times, the last time with {stop}",
                    self.window.batch,
                    self.plan.source.topic,
                    ranges.join(", "),
                    self.failures
                ),
            ));
        }
        let wait = backoff(self.plan.retries.backoff, self.failures);
        tracing::warn!(error = %stop, failures = self.failures, wait = ?wait, "a window failed and will be tried again");
        self.board.retrying(&stop);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(self.stop.clone()) => {
                // The loop sees the request next; the failed window is not worth a try before that.
                self.from.clear();
                return Ok(());
            }
        }
        self.rewind().await?;
        self.board.phase(Phase::Running);
        Ok(())
    }

    /// Drops everything that is not decided and goes back to the ledger's positions, with all owned partitions.
    async fn rewind(&mut self) -> Result<(), Stop> {
        if let Some(batch) = self.batch.take() {
            // A batch that is under way may already be decided: only its own end tells.
            match batch.await {
                Ok(Ok(BatchEnd::Published(committed, codes))) => self.published(&committed, &codes).await,
                Ok(Ok(BatchEnd::Nothing(_) | BatchEnd::Void(_) | BatchEnd::Failed(_))) => {}
                Ok(Err(stop)) => return Err(stop),
                Err(error) => return Err(broke_off(&error)),
            }
        }
        let owned: BTreeSet<i32> = self.from.keys().copied().collect();
        self.committer.ledger.lock().await.sync().await?;
        self.from = {
            let ledger = self.committer.ledger.lock().await;
            start::positions_of(&self.topic, &ledger, &owned).await?
        };
        self.at_end.clear();
        let next = self.announce_next()?;
        let (done, rewound) = oneshot::channel();
        self.reader.send(Command::Rewind { positions: self.from.clone(), epoch: next.id, done });
        rewound.await.map_err(|_| Stop::new(Reason::Internal, "the reader ended by itself"))?;
        let mut waiting = self.lanes;
        while waiting > 0 {
            match self.lane_events.recv().await {
                Some(LaneEvent::Abandoned { window }) if window == next.id => waiting -= 1,
                Some(LaneEvent::Closed { files: Some(files), .. }) => files.abandon(),
                Some(_) => {}
                None => return Err(Stop::new(Reason::Internal, "all lanes ended by themselves")),
            }
        }
        self.window = next;
        self.opened_at = Instant::now();
        self.board.positions(&self.from);
        Ok(())
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
