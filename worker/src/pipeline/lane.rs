//! A lane: one thread that decodes, transforms and encodes the records of its share of the partitions.
//!
//! Lanes share nothing but the memory budget and a few counters. What is in a window is decided by markers that travel
//! with the records, so every lane cuts its stream at the same point as the reader.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::Receiver;
use jiff::Timestamp;
use sluice_crds::condition::Reason;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::batch::{OutputBatch, RawBatch};
use crate::decode::Decoder;
use crate::error::{Stop, words_of};
use crate::fault;
use crate::ledger::record::{OffsetRange, SourceRange};
use crate::metrics::Metrics;
use crate::source::LaneInput;
use crate::transform::{BatchRun, RowProgram, Transform};
use crate::write::{LaneWriter, PendingFiles, WriteContext};

/// An open window, as all lanes see it.
#[derive(Debug)]
pub struct OpenWindow {
    /// Its start in microseconds since the epoch: rises with every window of a worker.
    pub id: u64,
    /// Id of its batch.
    pub batch: String,
    /// `now()` of its transforms.
    pub start: Timestamp,
    /// Records read by all lanes.
    pub records: AtomicU64,
    /// Bytes read by all lanes.
    pub bytes: AtomicU64,
    /// A lane is over the budget with all its files closed.
    pub pressed: AtomicBool,
    /// The part of an aggregating plan that sees the whole batch.
    pub batch_run: Mutex<Option<Arc<BatchRun>>>,
}

impl OpenWindow {
    fn batch_run(&self) -> Option<Arc<BatchRun>> {
        self.batch_run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the run, once all lanes have closed the window.
    pub fn take_batch_run(&self) -> Option<BatchRun> {
        self.batch_run.lock().unwrap_or_else(PoisonError::into_inner).take().and_then(Arc::into_inner)
    }
}

/// The windows that lanes may be told to open, by id.
#[derive(Debug, Default)]
pub struct Windows(Mutex<BTreeMap<u64, Arc<OpenWindow>>>);

impl Windows {
    /// Makes a window known, before its marker is sent. Older ones are forgotten once no lane works on them.
    pub fn announce(&self, window: Arc<OpenWindow>) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A lane holds the Arc of its window; an announced one that no lane took yet is newer than all of theirs.
        windows.retain(|_, window| Arc::strong_count(window) > 1);
        windows.insert(window.id, window);
    }

    fn get(&self, id: u64) -> Option<Arc<OpenWindow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

/// What a lane tells the pipeline.
pub enum LaneEvent {
    /// The lane finished its share of a window.
    Closed {
        /// The window.
        window: u64,
        /// Its files; `None` when nothing came.
        files: Option<PendingFiles>,
    },
    /// The lane dropped everything and is at a new window.
    Abandoned {
        /// The new window.
        window: u64,
    },
    /// The lane cannot go on with this window. It drops what comes until it is told to abandon it.
    Failed {
        /// The window.
        window: u64,
        /// Why.
        stop: Stop,
    },
    /// The window may be due: by records, by bytes or by memory.
    MaybeDue,
    /// The lane ended by itself and will never answer again; [`told`] makes it an error for whoever waits.
    Gone {
        /// Why.
        stop: Stop,
    },
}

/// What a lane tells next. Whoever waits for an answer of every lane must wait with this: a lane that is gone gives none.
pub async fn told(events: &mut UnboundedReceiver<LaneEvent>) -> Result<LaneEvent, Stop> {
    match events.recv().await {
        Some(LaneEvent::Gone { stop }) => Err(stop),
        Some(event) => Ok(event),
        None => Err(Stop::new(Reason::Internal, "all lanes ended by themselves")),
    }
}

/// What all lanes of a plan have in common.
pub struct LaneContext {
    /// The transforms.
    pub transform: Arc<Transform>,
    /// Everything that writing needs.
    pub write: Arc<WriteContext>,
    /// The windows that may be opened.
    pub windows: Arc<Windows>,
    /// Records or bytes after which a window may be due.
    pub max_records: u64,
    /// The same in bytes.
    pub max_bytes: u64,
    /// Where to count.
    pub metrics: Arc<Metrics>,
}

struct Lane {
    index: usize,
    context: Arc<LaneContext>,
    decoder: Decoder,
    window: Arc<OpenWindow>,
    program: Option<RowProgram>,
    writer: Option<LaneWriter>,
    /// Why this window cannot go on; told again at its close, in case nobody listened.
    failed: Option<Stop>,
    events: UnboundedSender<LaneEvent>,
}

/// Runs a lane until its input ends. A panic ends it, too, and is told: the program is wrong, and the worker must not wait
/// for a lane that is gone.
pub fn run(
    index: usize,
    context: Arc<LaneContext>,
    decoder: Decoder,
    first: Arc<OpenWindow>,
    inputs: &Receiver<LaneInput>,
    events: UnboundedSender<LaneEvent>,
) {
    let last_words = events.clone();
    let lane = Lane { index, context, decoder, window: first, program: None, writer: None, failed: None, events };
    // The lane goes with the panic: nothing of it is looked at again.
    if let Err(panic) = std::panic::catch_unwind(AssertUnwindSafe(|| work(lane, inputs))) {
        let stop = Stop::new(Reason::Internal, format!("lane {index} panicked: {}", words_of(&*panic)));
        // A pipeline that is gone needs no news.
        let _ = last_words.send(LaneEvent::Gone { stop });
    }
}

fn work(mut lane: Lane, inputs: &Receiver<LaneInput>) {
    for input in inputs {
        match input {
            LaneInput::Batch { raw, held } => {
                lane.batch(raw);
                drop(held);
            }
            LaneInput::Close { window } => lane.close(window),
            LaneInput::Abandon { epoch } => lane.abandon(epoch),
        }
    }
    if let Some(writer) = lane.writer.take() {
        writer.abandon();
    }
}

impl Lane {
    fn batch(&mut self, raw: RawBatch) {
        if self.failed.is_some() {
            return;
        }
        if let Err(stop) = self.process(raw) {
            self.failed = Some(stop.clone());
            self.tell(LaneEvent::Failed { window: self.window.id, stop });
        }
    }

    fn process(&mut self, raw: RawBatch) -> Result<(), Stop> {
        let (records, bytes) = (raw.len() as u64, raw.bytes() as u64);
        let started = Instant::now();
        let decoded = self.decoder.decode(raw);
        let decoded_at = Instant::now();
        if self.program.is_none() {
            self.program = Some(self.context.transform.rows(self.window.start)?);
        }
        let Some(program) = self.program.as_mut() else { return Ok(()) };
        let output = program.apply(decoded);
        let transformed_at = Instant::now();
        self.write(output)?;
        self.context.metrics.stage_seconds(decoded_at - started, transformed_at - decoded_at, transformed_at.elapsed());
        self.count(records, bytes);
        Ok(())
    }

    fn write(&mut self, mut output: OutputBatch) -> Result<(), Stop> {
        let writer = self.writer.get_or_insert_with(|| {
            LaneWriter::new(Arc::clone(&self.context.write), &self.window.batch, self.index, self.window.start)
        });
        if let Some(run) = self.window.batch_run() {
            let empty = output.rows.slice(0, 0);
            let rows = std::mem::replace(&mut output.rows, empty);
            run.push(self.index, rows);
        }
        Ok(writer.write(output)?)
    }

    fn count(&self, records: u64, bytes: u64) {
        let records = self.window.records.fetch_add(records, Ordering::Relaxed) + records;
        let bytes = self.window.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let pressed = self.writer.as_ref().is_some_and(LaneWriter::under_pressure);
        if pressed {
            self.window.pressed.store(true, Ordering::Relaxed);
        }
        if pressed || records >= self.context.max_records || bytes >= self.context.max_bytes {
            self.tell(LaneEvent::MaybeDue);
        }
    }

    fn close(&mut self, next: u64) {
        fault::point("lane.close.before");
        let closed = self.window.id;
        let files = self.writer.take().map(LaneWriter::finish);
        if let Some(stop) = self.failed.clone() {
            if let Some(files) = files {
                files.abandon();
            }
            self.tell(LaneEvent::Failed { window: closed, stop });
        } else {
            self.tell(LaneEvent::Closed { window: closed, files });
        }
        self.enter(next);
    }

    fn abandon(&mut self, next: u64) {
        fault::point("lane.abandon.before");
        if let Some(writer) = self.writer.take() {
            writer.abandon();
        }
        self.failed = None;
        self.enter(next);
        self.tell(LaneEvent::Abandoned { window: next });
    }

    fn enter(&mut self, id: u64) {
        self.program = None;
        if let Some(window) = self.context.windows.get(id) {
            self.window = window;
        } else {
            let stop = Stop::new(Reason::Internal, format!("lane {} was sent to an unknown window {id}", self.index));
            self.failed = Some(stop.clone());
            self.tell(LaneEvent::Failed { window: id, stop });
        }
    }

    /// The pipeline ends before its lanes only when it fails; then nobody needs to hear.
    fn tell(&self, event: LaneEvent) {
        let _ = self.events.send(event);
    }
}

/// The lane number in the names of files that aggregate over all lanes.
pub const AGGREGATES: usize = 9999;

/// The ranges of a whole batch as the sources of files that aggregate over it.
pub fn sources_of(ranges: &[OffsetRange]) -> Vec<SourceRange> {
    ranges.iter().map(|range| SourceRange { partition: range.partition, from: range.from, to: range.to }).collect()
}

#[cfg(test)]
mod tests;
