//! A topic as its brokers see it: id, partitions and offsets. Outside of any consumer group.
//!
//! All calls block up to their time-out; async callers wrap them in `spawn_blocking`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_crds::condition::Reason;
use sluice_crds::plan::{KafkaPlan, StartPosition};

use super::brokers;
use super::client;
use super::context::{SourceContext, Trouble, TroubleCell};
use super::error::{Meaning, SourceError, Subject, meaning};

/// The longest single attempt. Between attempts the client's callbacks are heard: a refused login ends the wait.
const ATTEMPT: Duration = Duration::from_secs(3);

/// The first attempt, so that a refused login shows soon.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);

/// How long a topic may be unknown before that is believed: one that was just created is not known to every broker at once,
/// and the client remembers for a moment that it was not there.
const SETTLE: Duration = Duration::from_secs(2);

/// What a topic is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id (22 characters of base64); a topic that is deleted and created again gets another one. Empty where brokers
    /// have no ids (before Kafka 2.8).
    pub topic_id: String,
    /// Its partitions, rising.
    pub partitions: Vec<i32>,
}

/// What a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its id.
    pub id: String,
    /// How many brokers it has.
    pub brokers: usize,
    /// The time of one metadata request and its answer.
    pub round_trip: Duration,
}

/// Asks the brokers about one topic.
pub struct TopicClient {
    consumer: Arc<BaseConsumer<SourceContext>>,
    subject: Subject,
    brokers: Arc<OnceLock<Vec<i32>>>,
    /// Which of them is asked; the next one, when it does not answer.
    broker: Arc<AtomicUsize>,
}

impl TopicClient {
    /// A client for this topic. Reads the secrets; connects in the background. `job` names it to the brokers.
    pub fn new(kafka: &KafkaPlan, topic: &str, secrets: &Path, job: &str) -> Result<Self, SourceError> {
        let config = client::client_config(kafka, secrets, job)?;
        let consumer = Arc::new(client::create(&kafka.connection, &config, SourceContext::default())?);
        Ok(Self { consumer, subject: subject(kafka, topic), brokers: Arc::default(), broker: Arc::default() })
    }

    /// The same client, asking about another topic.
    #[must_use]
    pub fn about(&self, topic: &str) -> Self {
        Self {
            consumer: Arc::clone(&self.consumer),
            subject: Subject { topic: topic.to_owned(), ..self.subject.clone() },
            brokers: Arc::clone(&self.brokers),
            broker: Arc::clone(&self.broker),
        }
    }

    /// Connects, logs in and looks at the cluster. Only for a client that has asked about no topic yet: see `brokers::ids`.
    pub fn cluster(&self, timeout: Duration) -> Result<ClusterInfo, SourceError> {
        let deadline = Instant::now() + timeout;
        // The first question pays for the connection, and is not timed.
        let id = self.cluster_id(timeout)?;
        let left = deadline.saturating_duration_since(Instant::now()).max(FIRST_ATTEMPT);
        let (brokers, round_trip) = self.ask("asking for the brokers", left, |timeout| {
            let asked = Instant::now();
            brokers::ids(self.consumer.client(), timeout).map(|brokers| (brokers.len(), asked.elapsed()))
        })?;
        Ok(ClusterInfo { id, brokers, round_trip })
    }

    /// What goes wrong at the moment, if anything.
    pub fn trouble(&self) -> Option<Trouble> {
        hear(&self.consumer);
        self.consumer.context().trouble.get()
    }

    /// The id of the Kafka cluster.
    pub fn cluster_id(&self, timeout: Duration) -> Result<String, SourceError> {
        self.ask("asking for the cluster's id", timeout, |timeout| {
            let unanswered = || (Code::OperationTimedOut, "no answer in time".to_owned());
            self.consumer.client().fetch_cluster_id(timeout).ok_or_else(unanswered)
        })
    }

    /// The topic's id and partitions.
    pub fn describe(&self, timeout: Duration) -> Result<TopicInfo, SourceError> {
        let description = self.ask("describing the topic", timeout, |timeout| {
            let brokers = self.brokers.get().map_or(&[][..], Vec::as_slice);
            let broker = brokers.get(self.broker.load(Ordering::Relaxed) % brokers.len().max(1)).copied().unwrap_or(-1);
            let answer = brokers::describe_topic(self.consumer.client(), broker, &self.subject.topic, timeout);
            if answer.is_err() {
                self.broker.fetch_add(1, Ordering::Relaxed);
            }
            answer
        })?;
        Ok(TopicInfo { topic_id: description.topic_id, partitions: description.partitions })
    }

    /// The first offset that each partition still has.
    pub fn beginnings(&self, partitions: &[i32], timeout: Duration) -> Result<BTreeMap<i32, i64>, SourceError> {
        self.offsets(partitions, Offset::Beginning, "asking for the first offsets", timeout)
    }

    /// The last stable offset of each partition: behind the last record that `read_committed` shows.
    pub fn ends(&self, partitions: &[i32], timeout: Duration) -> Result<BTreeMap<i32, i64>, SourceError> {
        self.offsets(partitions, Offset::End, "asking for the end offsets", timeout)
    }

    /// Where a job that begins now begins. A time behind the last record is the end.
    pub fn start_positions(
        &self,
        partitions: &[i32],
        start: StartPosition,
        timeout: Duration,
    ) -> Result<BTreeMap<i32, i64>, SourceError> {
        match start {
            StartPosition::Earliest => self.beginnings(partitions, timeout),
            StartPosition::Latest => self.ends(partitions, timeout),
            StartPosition::Timestamp { time } => {
                let deadline = Instant::now() + timeout;
                let wanted = Offset::Offset(time.as_millisecond().max(0));
                let mut found = self.offsets(partitions, wanted, "asking for offsets by time", timeout)?;
                let behind: Vec<i32> =
                    found.iter().filter(|(_, offset)| **offset < 0).map(|(partition, _)| *partition).collect();
                if !behind.is_empty() {
                    found.extend(self.ends(&behind, deadline.saturating_duration_since(Instant::now()).max(ATTEMPT))?);
                }
                Ok(found)
            }
        }
    }

    /// Offsets of partitions. Negative where there is none (a time behind the end).
    fn offsets(
        &self,
        partitions: &[i32],
        wanted: Offset,
        doing: &str,
        timeout: Duration,
    ) -> Result<BTreeMap<i32, i64>, SourceError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let topic = &self.subject.topic;
        self.ask(doing, timeout, |timeout| {
            let answer = list_offsets(&self.consumer, topic, partitions, wanted, timeout);
            if answer.is_err() {
                // The client remembers a topic that was not there, and leaders that are gone; this makes it look again.
                let _ = self.consumer.fetch_metadata(Some(topic), timeout);
            }
            answer
        })
    }

    fn ask<T, E: Answer>(
        &self,
        doing: &str,
        timeout: Duration,
        question: impl Fn(Duration) -> Result<T, E>,
    ) -> Result<T, SourceError> {
        let deadline = Instant::now() + timeout;
        if self.brokers.get().is_none() {
            // Before the first question about a topic: see `brokers::ids`.
            let asked = |timeout| brokers::ids(self.consumer.client(), timeout);
            // Two threads may ask at once; their answers are as good.
            let _ = self.brokers.set(ask(&self.consumer, &self.subject, doing, timeout, asked)?);
        }
        ask(&self.consumer, &self.subject, doing, deadline.saturating_duration_since(Instant::now()), question)
    }
}

/// The words for messages.
pub(super) fn subject(kafka: &KafkaPlan, topic: &str) -> Subject {
    Subject {
        connection: kafka.connection.clone(),
        servers: kafka.bootstrap_servers.join(","),
        topic: topic.to_owned(),
    }
}

/// One `ListOffsets` for all partitions. It follows `isolation.level`, so the end is the last stable offset.
pub(super) fn list_offsets(
    consumer: &BaseConsumer<SourceContext>,
    topic: &str,
    partitions: &[i32],
    wanted: Offset,
    timeout: Duration,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(topic, *partition, wanted)?;
    }
    let answer = consumer.offsets_for_times(list, timeout)?;
    let mut offsets = BTreeMap::new();
    for element in answer.elements() {
        element.error()?;
        // An offset that does not exist is -1, which is also the name of the end.
        let offset = if let Offset::Offset(offset) = element.offset() { offset } else { -1 };
        offsets.insert(element.partition(), offset);
    }
    Ok(offsets)
}

/// A failed answer: its code and its text.
trait Answer {
    fn parts(&self) -> (Code, String);
}

impl Answer for KafkaError {
    fn parts(&self) -> (Code, String) {
        (self.rdkafka_error_code().unwrap_or(Code::Fail), super::error::describe(self))
    }
}

impl Answer for (Code, String) {
    fn parts(&self) -> (Code, String) {
        self.clone()
    }
}

/// Asks until there is an answer, the time is over, or it is clear that waiting does not help.
fn ask<T, E: Answer>(
    consumer: &BaseConsumer<SourceContext>,
    subject: &Subject,
    doing: &str,
    timeout: Duration,
    question: impl Fn(Duration) -> Result<T, E>,
) -> Result<T, SourceError> {
    let start = Instant::now();
    let deadline = start + timeout;
    let trouble: &TroubleCell = &consumer.context().trouble;
    let mut attempt = FIRST_ATTEMPT;
    loop {
        let asked = Instant::now();
        let left = deadline.saturating_duration_since(asked);
        let error = match question(left.min(attempt).max(Duration::from_millis(1))) {
            Ok(answer) => {
                hear(consumer);
                trouble.clear();
                return Ok(answer);
            }
            Err(error) => error,
        };
        hear(consumer);
        attempt = ATTEMPT;
        let (code, text) = error.parts();
        let noted = trouble.get();
        let refused = noted.as_ref().is_some_and(|trouble| trouble.reason == Reason::AuthenticationFailed);
        let hopeless = match meaning(code) {
            Meaning::Passing => refused,
            Meaning::UnknownTopic => start.elapsed() >= SETTLE,
            _ => true,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if hopeless || left.is_zero() {
            return Err(subject.error(code, &text, doing, noted.as_ref()));
        }
        // An answer that came at once (no leader at the moment) is asked for again a little later; the client is served meanwhile.
        if asked.elapsed() < Duration::from_millis(200) {
            drop(consumer.poll(left.min(Duration::from_millis(200))));
        }
    }
}

/// Serves the callbacks that wait, log lines among them. A poll serves them until its time is over or one is an error.
fn hear(consumer: &BaseConsumer<SourceContext>) {
    for _ in 0..32 {
        if consumer.poll(Duration::from_millis(2)).is_none() {
            break;
        }
    }
}
