//! The loop of the reader's thread. It alone owns the state; callbacks and commands only queue up for it.

mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use super::assembly::{Assembly, BatchSize};
use super::outbox::{LaneGone, Outbox};
use super::{Command, LaneInput, SourceEvent};
use crate::budget::{Budget, Held};
use crate::fault;
use crate::source::context::{Change, SourceContext, lock};
use crate::source::error::{Meaning, SourceError, Subject, describe, meaning};
use crate::source::fetch::FetchQueue;

/// The longest wait: how late a rebalance is seen. Commands end a wait at once.
const WAIT: Duration = Duration::from_millis(50);

/// The wait while the budget is used up. Nobody tells when memory is given back, so it is looked at again.
const WAIT_FOR_MEMORY: Duration = Duration::from_millis(10);

type Shared<T> = Arc<Mutex<T>>;

pub(super) struct ReadLoop {
    // The queue first: it must be gone before its consumer.
    queue: FetchQueue<SourceContext>,
    consumer: Arc<BaseConsumer<SourceContext>>,
    subject: Subject,
    assembly: Assembly,
    outbox: Outbox,
    commands: Receiver<Command>,
    events: mpsc::UnboundedSender<SourceEvent>,
    positions: Shared<BTreeMap<i32, i64>>,
    budget: Arc<Budget>,
    /// The memory of open batches.
    open: Held,
    /// What librdkafka may prefetch is counted as long as this thread lives.
    _prefetch: Held,
    /// Partitions that the group offered, and that wait for their positions.
    offered: Option<Vec<i32>>,
    /// Partitions that the group wants back, and that the pipeline has not let go yet.
    revoking: Option<Vec<i32>>,
    paused: BTreeSet<i32>,
    /// Partitions whose position seems to be out of range, until the brokers told the range.
    out_of_range: BTreeSet<i32>,
    told: BTreeSet<(i32, i32)>,
    /// Of the last rewind.
    epoch: u64,
    /// When what did not work is tried again.
    again: Instant,
}

impl ReadLoop {
    #[allow(clippy::too_many_arguments)] // Made in one place, from parts that belong to different owners.
    pub(super) fn new(
        queue: FetchQueue<SourceContext>,
        consumer: Arc<BaseConsumer<SourceContext>>,
        subject: Subject,
        (limits, size): (BTreeMap<i32, i64>, BatchSize),
        outbox: Outbox,
        commands: Receiver<Command>,
        events: mpsc::UnboundedSender<SourceEvent>,
        positions: Shared<BTreeMap<i32, i64>>,
        budget: Arc<Budget>,
        prefetch: u64,
    ) -> Self {
        Self {
            queue,
            consumer,
            subject,
            assembly: Assembly::new(limits, size),
            outbox,
            commands,
            events,
            positions,
            open: budget.hold(0),
            _prefetch: budget.hold(prefetch),
            budget,
            offered: None,
            revoking: None,
            paused: BTreeSet::new(),
            out_of_range: BTreeSet::new(),
            told: BTreeSet::new(),
            epoch: 0,
            again: Instant::now(),
        }
    }

    /// Runs until it is told to stop, or until a lane is gone. The answer is whom to tell that it has left the group.
    pub(super) fn run(&mut self) -> Option<oneshot::Sender<()>> {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop { done }) => return Some(done),
                Ok(command) => {
                    self.obey(command);
                    continue;
                }
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            if let Err(LaneGone(lane)) = self.turn() {
                self.fault(format!("lane {lane} ended while the reader fed it"));
                return None;
            }
        }
    }

    fn turn(&mut self) -> Result<(), LaneGone> {
        fault::point("reader.turn.before");
        self.serve_group();
        self.move_fetchers();
        self.find_ranges();
        self.assembly.expire(Instant::now());
        self.hand_over();
        let sent = self.outbox.send()?;
        if !sent {
            self.outbox.wait(&self.commands, WAIT);
        } else if self.budget.is_over() {
            self.outbox.wait(&self.commands, WAIT_FOR_MEMORY);
        } else {
            self.take();
        }
        self.publish();
        Ok(())
    }

    fn tell(&self, event: SourceEvent) {
        // A pipeline that is gone needs no news; it drops the reader, too.
        let _ = self.events.send(event);
    }

    fn fault(&self, problem: String) {
        self.tell(SourceEvent::Failed(SourceError::Internal { topic: self.subject.topic.clone(), problem }));
    }

    // --- commands ---

    fn obey(&mut self, command: Command) {
        match command {
            Command::Assign(positions) => self.assign(&positions),
            Command::Unassign(partitions) => self.unassign(&partitions),
            Command::Rewind { positions, epoch, done } => self.rewind(&positions, epoch, done),
            Command::Close { window, reply } => {
                self.assembly.flush();
                self.hand_over();
                self.outbox.broadcast(|| LaneInput::Close { window });
                let _ = reply.send(self.assembly.positions());
            }
            Command::CommitGroup { positions, metadata } => self.commit_group(&positions, &metadata),
            Command::Stop { .. } => {}
        }
    }

    fn assign(&mut self, positions: &BTreeMap<i32, i64>) {
        let Some(offered) = self.offered.take() else {
            tracing::debug!(topic = self.subject.topic, "positions for an assignment that is no longer offered");
            return;
        };
        let given: Vec<(i32, i64)> =
            offered.iter().filter_map(|partition| Some((*partition, *positions.get(partition)?))).collect();
        if given.len() < offered.len() {
            self.fault(format!("partitions {offered:?} were assigned, and positions came only for {given:?}"));
            self.offered = Some(offered);
            return;
        }
        for (partition, position) in &given {
            self.queue.forward(*partition);
            self.assembly.own(*partition, *position);
            lock(&self.consumer.context().ends).insert(*partition, *position);
        }
        let answer = self.list(&given).and_then(|list| self.consumer.incremental_assign(&list));
        self.check(answer, "taking partitions over");
    }

    fn unassign(&mut self, partitions: &[i32]) {
        let Some(revoking) = self.revoking.take() else {
            tracing::debug!(topic = self.subject.topic, ?partitions, "partitions that nobody wants back any more");
            return;
        };
        self.let_go(&revoking);
    }

    fn let_go(&mut self, partitions: &[i32]) {
        let paused: Vec<i32> = partitions.iter().copied().filter(|partition| self.paused.remove(partition)).collect();
        // librdkafka keeps a pause for a partition that comes back later.
        self.resume(&paused);
        for partition in partitions {
            self.assembly.release(*partition);
            self.out_of_range.remove(partition);
            self.told.retain(|(other, _)| other != partition);
            lock(&self.consumer.context().ends).remove(partition);
        }
        let answer = self.consumer.incremental_unassign(&self.names(partitions));
        self.check(answer, "letting partitions go");
    }

    fn rewind(&mut self, positions: &BTreeMap<i32, i64>, epoch: u64, done: oneshot::Sender<()>) {
        let owned = self.assembly.positions();
        if let Some(partition) = owned.keys().find(|partition| !positions.contains_key(partition)) {
            // Dropping what was read of it, and not reading it again, would lose it.
            self.fault(format!("a rewind to {positions:?} does not name the owned partition {partition}"));
            return;
        }
        self.assembly.rewind(positions);
        self.outbox.abandon();
        self.outbox.broadcast(|| LaneInput::Abandon { epoch });
        self.out_of_range.clear();
        self.told.clear();
        self.again = Instant::now();
        self.epoch = epoch;
        let _ = done.send(());
    }

    fn commit_group(&self, positions: &BTreeMap<i32, i64>, metadata: &str) {
        let given: Vec<(i32, i64)> = positions.iter().map(|(partition, position)| (*partition, *position)).collect();
        let committed = self.list(&given).and_then(|list| {
            for (partition, _) in &given {
                if let Some(mut element) = list.find_partition(&self.subject.topic, *partition) {
                    element.set_metadata(metadata);
                }
            }
            self.consumer.commit(&list, CommitMode::Async)
        });
        if let Err(error) = committed {
            tracing::debug!(topic = self.subject.topic, %error, "reporting positions to the consumer group");
        }
    }

    // --- the group ---

    fn serve_group(&mut self) {
        // Each poll serves one callback; a few are enough to keep up, and an empty poll costs next to nothing.
        for _ in 0..8 {
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(message)) => {
                    let (partition, offset) =
                        (rdkafka::Message::partition(&message), rdkafka::Message::offset(&message));
                    drop(message);
                    self.fault(format!("offset {offset} of partition {partition} went past the queue of the reader"));
                }
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => self.failed(-1, code, &code.to_string()),
                Some(Err(error)) => {
                    let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                    if matches!(meaning(code), Meaning::UnknownTopic | Meaning::Authorization | Meaning::Fatal) {
                        self.failed(-1, code, &describe(&error));
                    }
                }
            }
        }
        while let Some(change) = self.consumer.context().next_change() {
            self.changed(change);
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Offered(partitions) => {
                if partitions.is_empty() {
                    let answer = self.consumer.incremental_assign(&TopicPartitionList::new());
                    self.check(answer, "taking no partition over");
                } else {
                    self.offered = Some(partitions.clone());
                }
                self.tell(SourceEvent::Assigned(partitions));
            }
            Change::Revoking(partitions) if partitions.is_empty() => self.let_go(&[]),
            Change::Revoking(partitions) => {
                self.revoking = Some(partitions.clone());
                self.tell(SourceEvent::Revoked(partitions));
            }
            Change::Lost(partitions) => {
                self.let_go(&partitions);
                self.tell(SourceEvent::Lost(partitions));
            }
        }
    }

    // --- lanes ---

    /// Hands closed batches to the outbox, and tells the ends that were reached.
    fn hand_over(&mut self) {
        for raw in self.assembly.take_ready() {
            let held = self.budget.hold(raw.memory() as u64);
            self.outbox.push(raw.partition, LaneInput::Batch { raw, held });
        }
        for (partition, offset) in self.assembly.take_ends() {
            if self.assembly.is_done(partition) && self.paused.insert(partition) {
                // What is behind the limit need not be fetched.
                let answer = self.consumer.pause(&self.names(&[partition]));
                self.check(answer, "pausing a partition at its limit");
            }
            self.tell(SourceEvent::AtEnd { partition, offset, epoch: self.epoch });
        }
        self.open.resize(self.assembly.open_memory());
    }

    fn publish(&self) {
        let positions = self.assembly.positions();
        let mut shared = lock(&self.positions);
        if *shared != positions {
            *shared = positions;
        }
    }

    // --- lists of partitions ---

    fn list(&self, positions: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, position) in positions {
            list.add_partition_offset(&self.subject.topic, *partition, Offset::Offset(*position))?;
        }
        Ok(list)
    }

    fn names(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.subject.topic, *partition);
        }
        list
    }

    fn resume(&self, partitions: &[i32]) {
        if !partitions.is_empty() {
            let answer = self.consumer.resume(&self.names(partitions));
            self.check(answer, "resuming partitions");
        }
    }

    /// These calls fail only when the program's picture of the assignment is wrong.
    fn check(&self, answer: KafkaResult<()>, doing: &str) {
        if let Err(error) = answer {
            self.fault(format!("{doing}: {error}"));
        }
    }
}

impl Drop for ReadLoop {
    /// Closing the consumer waits for an answer to what the group asked: gives it, also when the thread panics.
    fn drop(&mut self) {
        self.consumer.context().close();
        if let Some(partitions) = self.revoking.take() {
            let _ = self.consumer.incremental_unassign(&self.names(&partitions));
        }
        if self.offered.take().is_some() {
            let _ = self.consumer.incremental_assign(&TopicPartitionList::new());
        }
    }
}
