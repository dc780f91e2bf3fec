//! The thread that reads: it owns the consumer, is the member of the group, and feeds the lanes.
//!
//! ```text
//!             Command                           LaneInput (bounded)
//! pipeline ───────────────► reader thread ───────────────────────────► lane of partition % lanes
//!          ◄───────────────      │ ▲
//!             SourceEvent        ▼ │ records, ends
//!                             librdkafka
//! ```
//!
//! Promises: partitions are read from exactly the positions that were given, in order, each record once for each position that
//! was set; a `Close` marker stands in every lane behind exactly the records below the positions that were replied; commands
//! are heard within milliseconds, also while the lanes are full. When a lane is full or the memory budget is used up, nothing is
//! taken from librdkafka any more, whose own queue then fills up to its bounds and stops fetching; the thread goes on serving
//! the group. (Partitions are not paused for that: pausing throws away what is fetched.)
//!
//! Must not decide anything about positions: they come from the pipeline, which has them from the ledger.

mod assembly;
mod outbox;
mod run;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::Sender;
use rdkafka::consumer::{BaseConsumer, Consumer};
use sluice_crds::plan::SourcePlan;
use tokio::sync::{mpsc, oneshot};

use self::assembly::BatchSize;
use self::outbox::Outbox;
use self::run::ReadLoop;
use super::context::{SourceContext, Trouble, TroubleCell, lock};
use super::error::SourceError;
use super::fetch::{FetchQueue, Waker};
use super::{client, topic};
use crate::batch::RawBatch;
use crate::budget::{Budget, Held};
use crate::error::words_of;

/// The part of the memory budget that librdkafka's prefetch may take: one in this many bytes.
const PREFETCH_SHARE: u64 = 5;

/// What the pipeline asks of the reader.
#[derive(Debug)]
pub enum Command {
    /// The answer to [`SourceEvent::Assigned`]: the position of each of those partitions.
    Assign(BTreeMap<i32, i64>),
    /// The answer to [`SourceEvent::Revoked`]: they are let go. What was read of them since the last `Close` is dropped here, not in the lanes.
    Unassign(Vec<i32>),
    /// Drops everything read since the last `Close` and goes on from these positions, which must name every owned partition.
    /// Each lane gets an `Abandon`; nothing that was fetched before follows it. `done` is told when the marker is on its way.
    Rewind {
        /// Partition to the next offset to read.
        positions: BTreeMap<i32, i64>,
        /// Told in the `Abandon`, and in what the reader tells from then on.
        epoch: u64,
        /// Told when the markers stand in line.
        done: oneshot::Sender<()>,
    },
    /// Ends a window: what is open goes to the lanes, then a `Close` to every lane.
    Close {
        /// Told in the `Close`.
        window: u64,
        /// The next offset of every owned partition at exactly that point, transaction markers counted.
        reply: oneshot::Sender<BTreeMap<i32, i64>>,
    },
    /// Leaves the group and ends the thread. Open batches are dropped.
    Stop {
        /// Told when the group was left.
        done: oneshot::Sender<()>,
    },
    /// Reports positions to the consumer group; best effort.
    CommitGroup {
        /// Partition to the next offset.
        positions: BTreeMap<i32, i64>,
        /// `sluice:<seq>`
        metadata: String,
    },
}

/// What the reader tells the pipeline.
#[derive(Debug)]
pub enum SourceEvent {
    /// The group gives these partitions; wants [`Command::Assign`]. May be empty: then nothing is wanted.
    Assigned(Vec<i32>),
    /// The group wants these partitions back; wants [`Command::Unassign`]. Until then nothing is read at all.
    Revoked(Vec<i32>),
    /// These partitions are lost already, others may read them: what was read of them must not be committed. No answer is wanted.
    Lost(Vec<i32>),
    /// All before `offset` went to the lanes, and there is nothing more: told when the end is reached the first time after each
    /// assignment or rewind, and when a limit is reached.
    AtEnd {
        /// The partition.
        partition: i32,
        /// The next offset; the limit, where there is one and it is reached.
        offset: i64,
        /// Of the last [`Command::Rewind`] that was carried out; none yet: 0.
        epoch: u64,
    },
    /// Something that needs a decision; told once for each partition and kind until the partition gets a new position. Nothing was skipped.
    Failed(SourceError),
}

/// What a lane gets, in order.
#[derive(Debug)]
pub enum LaneInput {
    /// Records of one partition.
    Batch {
        /// The records.
        raw: RawBatch,
        /// Their memory in the budget.
        held: Held,
    },
    /// The window ends here.
    Close {
        /// As in the command.
        window: u64,
    },
    /// What came since the last `Close` is void.
    Abandon {
        /// As in the command.
        epoch: u64,
    },
}

/// What a reader needs.
#[derive(Debug)]
pub struct ReaderConfig {
    /// The topic, the group and how to reach them.
    pub source: SourcePlan,
    /// Names the client to the brokers: `namespace.name`.
    pub job: String,
    /// Where secrets are mounted.
    pub secrets: PathBuf,
    /// Where each partition ends in a bounded run: the first offset that is not read.
    pub limits: Option<BTreeMap<i32, i64>>,
    /// Counts batches until the lanes are done with them, and the prefetch.
    pub budget: Arc<Budget>,
    /// Records after which a batch is closed.
    pub max_batch_rows: usize,
    /// Bytes after which a batch is closed; a bigger record is a batch of its own.
    pub max_batch_bytes: usize,
    /// Time after which a batch is closed.
    pub linger: Duration,
}

impl ReaderConfig {
    /// The usual sizes: 8192 records, 1 MiB, 50 ms, no limits.
    pub fn new(source: SourcePlan, job: impl Into<String>, secrets: impl Into<PathBuf>, budget: Arc<Budget>) -> Self {
        Self {
            source,
            job: job.into(),
            secrets: secrets.into(),
            limits: None,
            budget,
            max_batch_rows: 8192,
            max_batch_bytes: 1 << 20,
            linger: Duration::from_millis(50),
        }
    }
}

/// A handle of the reader's thread. Dropping it stops the thread, as [`Command::Stop`] does.
pub struct Reader {
    commands: Sender<Command>,
    waker: Waker,
    positions: Arc<Mutex<BTreeMap<i32, i64>>>,
    ends: Arc<Mutex<BTreeMap<i32, i64>>>,
    trouble: TroubleCell,
}

impl Reader {
    /// Starts a member of the group. Brokers are reached in the background: see [`trouble`](Self::trouble). Fails when
    /// secrets or properties are wrong.
    pub fn start(
        config: ReaderConfig,
        lanes: Vec<Sender<LaneInput>>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<SourceEvent>), SourceError> {
        let prefetch = config.budget.limit() / PREFETCH_SHARE;
        let properties = client::reader_config(&config.source, &config.secrets, &config.job, prefetch)?;
        let kafka = &config.source.kafka;
        let consumer: BaseConsumer<SourceContext> =
            client::create(&kafka.connection, &properties, SourceContext::default())?;
        let consumer = Arc::new(consumer);
        let fault = |problem: String| SourceError::Client { connection: kafka.connection.clone(), problem };
        let queue = FetchQueue::new(Arc::clone(&consumer), &config.source.topic)
            .ok_or_else(|| fault("no queue can be made".to_owned()))?;
        consumer.subscribe(&[&config.source.topic]).map_err(|error| fault(super::error::describe(&error)))?;

        let (commands, inbox) = crossbeam_channel::unbounded();
        let (events, told) = mpsc::unbounded_channel();
        let context = consumer.context();
        let reader = Self {
            commands,
            waker: queue.waker(),
            positions: Arc::default(),
            ends: Arc::clone(&context.ends),
            trouble: context.trouble.clone(),
        };
        let size = BatchSize { rows: config.max_batch_rows, bytes: config.max_batch_bytes, linger: config.linger };
        let subject = topic::subject(kafka, &config.source.topic);
        let limits = config.limits.unwrap_or_default();
        let positions = Arc::clone(&reader.positions);
        let outbox = Outbox::new(lanes);
        let mut read = ReadLoop::new(
            queue,
            consumer,
            subject,
            (limits, size),
            outbox,
            inbox,
            events.clone(),
            positions,
            config.budget,
            prefetch,
        );
        let (topic, last_words) = (config.source.topic, events);
        let unstarted = topic.clone();
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || {
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| read.run()));
                if let Err(panic) = &outcome {
                    // Before the state goes: lanes end with it, and of two pieces of news the first is told.
                    let problem = format!("the reader panicked: {}", words_of(&**panic));
                    let _ = last_words.send(SourceEvent::Failed(SourceError::Internal { topic, problem }));
                }
                // Leaves the group; this may take as long as a broker takes to answer.
                drop(read);
                if let Ok(Some(done)) = outcome {
                    let _ = done.send(());
                }
            })
            .map_err(|error| {
                let problem = format!("no thread can be started: {error}");
                SourceError::Internal { topic: unstarted, problem }
            })?;
        Ok((reader, told))
    }

    /// A handle without a thread: a test takes the commands and plays the reader.
    #[cfg(test)]
    pub(crate) fn played() -> (Self, crossbeam_channel::Receiver<Command>) {
        let (commands, inbox) = crossbeam_channel::unbounded();
        let (positions, ends, trouble) = (Arc::default(), Arc::default(), TroubleCell::default());
        (Self { commands, waker: Waker::default(), positions, ends, trouble }, inbox)
    }

    /// Sends a command. False when the thread has ended.
    pub fn send(&self, command: Command) -> bool {
        let sent = self.commands.send(command).is_ok();
        self.waker.wake();
        sent
    }

    /// The next offset of each owned partition.
    pub fn positions(&self) -> BTreeMap<i32, i64> {
        lock(&self.positions).clone()
    }

    /// The last stable offset of each owned partition, as the brokers told last (every few seconds); at least the position.
    pub fn ends(&self) -> BTreeMap<i32, i64> {
        let mut ends = lock(&self.ends).clone();
        for (partition, position) in lock(&self.positions).iter() {
            ends.entry(*partition).and_modify(|end| *end = (*end).max(*position));
        }
        ends
    }

    /// Why nothing arrives at the moment, when the client knows.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.get()
    }
}
