//! Records whose fate is known before they are sent.
//!
//! The same seed always gives the same records: transactions in JSON, of which some are filtered out by the test jobs and
//! some are not what the columns say. A header carries the fate, so that a topic can be judged without its producer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::util::Timeout;

use crate::kafka::{Kafka, Offsets};

/// Partition and offset of a record.
pub type Place = (i32, i64);

/// 2026-01-01T00:00:00Z in milliseconds: the time of the first record.
pub const FIRST_TIME: i64 = 1_767_225_600_000;

/// How long the client may take to learn of new partitions.
const LEARN: Duration = Duration::from_secs(10);

/// What the test jobs must do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It becomes a row.
    Written,
    /// The filter removes it.
    Filtered,
    /// It cannot be decoded.
    Dead,
}

impl Fate {
    fn code(self) -> &'static [u8] {
        match self {
            Self::Written => b"w",
            Self::Filtered => b"f",
            Self::Dead => b"d",
        }
    }
}

/// Which records are in a topic, and what must become of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// Become rows.
    pub written: BTreeSet<Place>,
    /// Are filtered out.
    pub filtered: BTreeSet<Place>,
    /// Become dead letters.
    pub dead: BTreeSet<Place>,
}

impl Book {
    /// Writes down one record.
    pub fn enter(&mut self, place: Place, fate: Fate) {
        let page = match fate {
            Fate::Written => &mut self.written,
            Fate::Filtered => &mut self.filtered,
            Fate::Dead => &mut self.dead,
        };
        page.insert(place);
    }

    /// Adds another book.
    pub fn add(&mut self, other: Self) {
        self.written.extend(other.written);
        self.filtered.extend(other.filtered);
        self.dead.extend(other.dead);
    }

    /// Forgets the records below these offsets.
    pub fn forget(&mut self, before: &Offsets) {
        let keep = |place: &Place| before.get(&place.0).is_none_or(|&offset| place.1 >= offset);
        self.written.retain(keep);
        self.filtered.retain(keep);
        self.dead.retain(keep);
    }

    /// All records.
    pub fn len(&self) -> usize {
        self.written.len() + self.filtered.len() + self.dead.len()
    }

    /// No record?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How records are made.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// The same seed gives the same records.
    pub seed: u64,
    /// Of a thousand records, how many cannot be decoded.
    pub dead_per_mille: u32,
    /// Of a thousand records, how many are filtered out.
    pub filtered_per_mille: u32,
}

impl Recipe {
    /// One in a hundred is refused, three in a hundred are filtered out.
    pub fn new(seed: u64) -> Self {
        Self { seed, dead_per_mille: 10, filtered_per_mille: 30 }
    }

    /// The fate and the value of a record.
    pub fn record(&self, index: u64) -> (Fate, Vec<u8>) {
        let mut random = StdRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ index);
        let draw = random.random_range(0..1000);
        if draw < self.dead_per_mille {
            return (Fate::Dead, refused(index, &mut random));
        }
        if draw < self.dead_per_mille + self.filtered_per_mille {
            let (id, amount) = if random.random() { (None, 1) } else { (Some(index), -1) };
            return (Fate::Filtered, transaction(id, amount, index, &mut random));
        }
        let amount = random.random_range(1..50_000);
        (Fate::Written, transaction(Some(index), amount, index, &mut random))
    }
}

/// A transaction of the sample job; `cents` may be negative. One second of event time for every record.
fn transaction(id: Option<u64>, cents: i64, index: u64, random: &mut StdRng) -> Vec<u8> {
    const TYPES: [&str; 4] = ["purchase", "refund", "checkout", "sign up – später"];
    const CURRENCIES: [&str; 4] = ["USD", "EUR", "INR", "JPY"];
    let id = id.map_or_else(|| "null".to_owned(), |id| format!("\"event-{id:010}\""));
    let mut json = format!("{{\"event_id\":{id},\"user_id\":\"user-{:06}\"", random.random_range(0..100_000));
    let kind = TYPES[random.random_range(0..TYPES.len())];
    let currency = CURRENCIES[random.random_range(0..CURRENCIES.len())];
    let amount = cents as f64 / 100.0;
    let time = FIRST_TIME + index as i64 * 1000;
    // Writing into a String cannot fail.
    let _ = write!(
        json,
        ",\"event_type\":\"{kind}\",\"amount\":{amount:?},\"currency\":\"{currency}\",\"event_time\":{time},\
         \"metadata\":{{\"source\":\"web\",\"ip\":\"10.0.{}.{}\",\"tags\":[\"a\",\"b\"]}}}}",
        random.random::<u8>(),
        random.random::<u8>()
    );
    json.into_bytes()
}

/// A value that no decoder may take for a transaction.
fn refused(index: u64, random: &mut StdRng) -> Vec<u8> {
    let mut value = transaction(Some(index), 100, index, random);
    match random.random_range(0..6) {
        0 => value.truncate(value.len() / 2),
        1 => value.extend_from_slice(b" {}"),
        2 => value = b"hello".to_vec(),
        3 => value = format!("[{index}]").into_bytes(),
        4 => value = b"{\"event_id\":\"a\nb\",\"amount\":1,\"event_time\":0}".to_vec(),
        // A byte that UTF-8 never uses, inside of a string that the table keeps.
        _ => value = b"{\"event_id\":\"\xff\",\"amount\":1,\"event_time\":0}".to_vec(),
    }
    value
}

/// Collects the offsets that the broker gave.
#[derive(Debug, Default)]
struct Receipts {
    book: Mutex<(Book, Option<String>)>,
}

impl ClientContext for Receipts {}

impl ProducerContext for Receipts {
    type DeliveryOpaque = Box<Fate>;

    fn delivery(&self, result: &DeliveryResult<'_>, fate: Box<Fate>) {
        let Ok(mut book) = self.book.lock() else { return };
        match result {
            Ok(message) => book.0.enter((message.partition(), message.offset()), *fate),
            Err((error, _)) => book.1 = Some(error.to_string()),
        }
    }
}

/// Sends records of one recipe to one topic, round robin over its partitions.
pub struct Sender {
    producer: BaseProducer<Receipts>,
    topic: String,
    partitions: i32,
    recipe: Recipe,
    next: u64,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sender({}, next {})", self.topic, self.next)
    }
}

impl Sender {
    /// A sender that starts with the recipe's first record.
    pub fn new(kafka: &Kafka, topic: &str, partitions: i32, recipe: Recipe) -> Result<Self> {
        Self::with_id(kafka, topic, partitions, recipe, None)
    }

    /// A sender of transactions; call [`send_transaction`](Self::send_transaction) only.
    pub fn transactional(kafka: &Kafka, topic: &str, partitions: i32, recipe: Recipe, id: &str) -> Result<Self> {
        let sender = Self::with_id(kafka, topic, partitions, recipe, Some(id))?;
        sender.producer.init_transactions(Duration::from_secs(30))?;
        Ok(sender)
    }

    fn with_id(kafka: &Kafka, topic: &str, partitions: i32, recipe: Recipe, id: Option<&str>) -> Result<Self> {
        let mut config = kafka.config();
        // Idempotent: a restarted broker must not make the producer write a record twice.
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.max.bytes", "16777216");
        config.set("queue.buffering.max.messages", "200000");
        if let Some(id) = id {
            config
                .set("transactional.id", id)
                .set("transaction.timeout.ms", "60000")
                .set("message.timeout.ms", "60000");
        } else {
            // A broker that is away for a while is part of some tests.
            config.set("message.timeout.ms", "120000");
        }
        let producer = config.create_with_context(Receipts::default())?;
        Ok(Self { producer, topic: topic.to_owned(), partitions, recipe, next: 0 })
    }

    /// Spreads the records to come over this many partitions.
    pub fn set_partitions(&mut self, partitions: i32) -> Result<()> {
        // The client remembers how many there were, for minutes; asking makes it look again.
        self.producer.client().fetch_metadata(Some(&self.topic), LEARN)?;
        self.partitions = partitions;
        Ok(())
    }

    /// Sends the next `count` records and waits for the broker's receipts.
    pub fn send(&mut self, count: u64) -> Result<Book> {
        for _ in 0..count {
            let (fate, value) = self.recipe.record(self.next);
            self.queue(&value, fate)?;
        }
        self.receipts()
    }

    /// Sends one value of the caller's making.
    pub fn send_value(&mut self, value: &[u8], fate: Fate) -> Result<Book> {
        self.queue(value, fate)?;
        self.receipts()
    }

    /// Begins a transaction and sends the next `count` records in it; end it with [`commit`](Self::commit) or [`abort`](Self::abort).
    pub fn begin(&mut self, count: u64) -> Result<Book> {
        self.producer.begin_transaction()?;
        self.send(count)
    }

    /// Commits the open transaction.
    pub fn commit(&mut self) -> Result<()> {
        Ok(self.producer.commit_transaction(Duration::from_secs(30))?)
    }

    /// Aborts the open transaction.
    pub fn abort(&mut self) -> Result<()> {
        Ok(self.producer.abort_transaction(Duration::from_secs(30))?)
    }

    /// Sends the next `count` records in one transaction. The records of an aborted one are in no book.
    pub fn send_transaction(&mut self, count: u64, commit: bool) -> Result<Book> {
        let book = self.begin(count)?;
        if commit {
            return self.commit().map(|()| book);
        }
        self.abort().map(|()| Book::default())
    }

    /// Queues one value of the caller's making; [`receipts`](Self::receipts) waits for it.
    pub fn queue(&mut self, value: &[u8], fate: Fate) -> Result<()> {
        self.queue_or_tombstone(Some(value), fate)
    }

    /// As [`queue`](Self::queue); without a value it is a tombstone.
    pub fn queue_or_tombstone(&mut self, value: Option<&[u8]>, fate: Fate) -> Result<()> {
        let key = format!("key-{}", self.next);
        let partition = (self.next % self.partitions as u64) as i32;
        let headers = || OwnedHeaders::new().insert(Header { key: "fate", value: Some(fate.code()) });
        let mut record = BaseRecord::with_opaque_to(&self.topic, Box::new(fate)).partition(partition).key(&key);
        record = record.headers(headers());
        record.payload = value;
        let start = Instant::now();
        while let Err((error, back)) = self.producer.send(record) {
            let passes = match error {
                KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => true,
                // What the client learnt of new partitions reaches its topics a moment later.
                KafkaError::MessageProduction(RDKafkaErrorCode::UnknownPartition) => start.elapsed() < LEARN,
                _ => false,
            };
            if !passes {
                return Err(error).context("cannot queue a record");
            }
            self.producer.poll(Duration::from_millis(50));
            record = back;
        }
        self.next += 1;
        if self.next.is_multiple_of(1000) {
            self.producer.poll(Duration::ZERO);
        }
        Ok(())
    }

    /// Waits until all that is queued has arrived; answers where.
    pub fn receipts(&self) -> Result<Book> {
        self.producer.flush(Duration::from_mins(2))?;
        let context = self.producer.context();
        let Ok(mut book) = context.book.lock() else { bail!("a delivery report panicked") };
        if let Some(error) = book.1.take() {
            bail!("a record was not delivered: {error}");
        }
        Ok(std::mem::take(&mut book.0))
    }
}

/// Reads what is in a topic now, as a `read_committed` reader sees it.
pub fn read_book(kafka: &Kafka, topic: &str) -> Result<Book> {
    let mut config = kafka.config();
    config.set("group.id", "sluice-e2e-reader").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
    let consumer: BaseConsumer = config.set("isolation.level", "read_committed").create()?;
    let mut open: BTreeMap<i32, (i64, i64)> = kafka.watermarks(topic)?;
    let mut list = TopicPartitionList::new();
    for (&partition, &(first, _)) in &open {
        list.add_partition_offset(topic, partition, Offset::Offset(first))?;
    }
    consumer.assign(&list)?;
    open.retain(|_, (first, end)| first < end);
    let mut book = Book::default();
    while !open.is_empty() {
        match consumer.poll(Timeout::After(Duration::from_secs(30))) {
            Some(Ok(message)) => book.enter((message.partition(), message.offset()), fate_of(&message)?),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(open.remove(&partition)),
            Some(Err(error)) => return Err(error.into()),
            None => bail!("{topic} gives no more records, though {open:?} are not at their ends"),
        }
    }
    Ok(book)
}

fn fate_of(message: &BorrowedMessage<'_>) -> Result<Fate> {
    let headers = message.headers().context("a record has no headers")?;
    ensure!(headers.count() == 1, "a record has {} headers", headers.count());
    let value = headers.get(0).value;
    let fates = [Fate::Written, Fate::Filtered, Fate::Dead];
    fates.into_iter().find(|fate| Some(fate.code()) == value).context("a record has no fate")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let fates = |seed| (0..2000).map(|i| Recipe::new(seed).record(i)).collect::<Vec<_>>();
        assert_eq!(fates(7), fates(7));
        assert_ne!(fates(7), fates(8));
    }

    #[test]
    fn records_are_what_their_fate_says() {
        for index in 0..5000 {
            let (fate, value) = Recipe::new(3).record(index);
            let parsed = serde_json::from_slice::<serde_json::Value>(&value).ok().filter(serde_json::Value::is_object);
            let kept = parsed.as_ref().map(|v| !v["event_id"].is_null() && v["amount"].as_f64() > Some(0.0));
            let expected = match kept {
                None => Fate::Dead,
                Some(true) => Fate::Written,
                Some(false) => Fate::Filtered,
            };
            assert_eq!(fate, expected, "{}", String::from_utf8_lossy(&value));
        }
    }
}
