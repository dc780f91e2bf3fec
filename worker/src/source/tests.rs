//! The source against librdkafka's mock cluster. The mock has no transactions, no time index and keeps 5 MiB per partition.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use sluice_crds::condition::Reason;
use sluice_crds::plan::{KafkaPlan, OnOffsetOutOfRange, SourceFormat, SourcePlan, StartPosition};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::budget::Budget;
use crate::error::Classified;

const PATIENCE: Duration = Duration::from_mins(1);
const NO_SECRETS: &str = "/nonexistent";

struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
}

impl World {
    fn new(topic: &str, partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(topic, partitions, 1).unwrap();
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "1")
            .create()
            .unwrap();
        Self { cluster, producer }
    }

    /// Appends records whose values are their numbers.
    fn produce(&self, topic: &str, partition: i32, numbers: std::ops::Range<i64>) {
        for number in numbers {
            let value = number.to_string();
            let record = BaseRecord::<str, str>::to(topic).partition(partition).payload(&value);
            self.producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        self.producer.flush(PATIENCE).unwrap();
    }

    fn kafka(&self) -> KafkaPlan {
        kafka(&self.cluster.bootstrap_servers())
    }

    fn reader(&self, topic: &str, change: impl FnOnce(&mut ReaderConfig)) -> Running {
        let source = SourcePlan {
            kafka: self.kafka(),
            topic: topic.into(),
            group_id: "g".into(),
            start_position: StartPosition::Earliest,
            on_offset_out_of_range: OnOffsetOutOfRange::Stall,
            kafka_metadata: false,
            format: SourceFormat::Json {},
            columns: Vec::new(),
        };
        let mut config = ReaderConfig::new(source, "ns.job", NO_SECRETS, Budget::new(64 << 20));
        config.linger = Duration::from_millis(5);
        change(&mut config);
        let budget = Arc::clone(&config.budget);
        let (senders, lanes) = (0..2).map(|_| crossbeam_channel::bounded(2)).unzip();
        let (reader, events) = Reader::start(config, senders).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Running { reader, events, lanes, budget, runtime }
    }
}

fn kafka(servers: &str) -> KafkaPlan {
    KafkaPlan {
        connection: "mock".into(),
        bootstrap_servers: vec![servers.into()],
        tls: None,
        authentication: None,
        // The mock waits for a member that left as long as its session may last.
        config: BTreeMap::from([
            ("session.timeout.ms".into(), "6000".into()),
            ("heartbeat.interval.ms".into(), "500".into()),
            ("statistics.interval.ms".into(), "200".into()),
        ]),
    }
}

struct Running {
    reader: Reader,
    events: mpsc::UnboundedReceiver<SourceEvent>,
    lanes: Vec<Receiver<LaneInput>>,
    budget: Arc<Budget>,
    runtime: tokio::runtime::Runtime,
}

/// What came out of the lanes: partition to offsets, in order.
type Got = BTreeMap<i32, Vec<i64>>;

impl Running {
    fn event(&mut self) -> SourceEvent {
        let next = async { tokio::time::timeout(PATIENCE, self.events.recv()).await };
        self.runtime.block_on(next).expect("an event in time").expect("the reader lives")
    }

    fn answer<T>(&self, answer: oneshot::Receiver<T>) -> T {
        let next = async { tokio::time::timeout(PATIENCE, answer).await };
        self.runtime.block_on(next).expect("an answer in time").expect("the reader answers")
    }

    /// Waits for an assignment and gives the positions of its partitions.
    fn assign(&mut self, positions: &BTreeMap<i32, i64>) -> Vec<i32> {
        loop {
            match self.event() {
                SourceEvent::Assigned(partitions) if partitions.is_empty() => {}
                SourceEvent::Assigned(partitions) => {
                    let given = partitions.iter().map(|partition| (*partition, positions[partition])).collect();
                    assert!(self.reader.send(Command::Assign(given)));
                    return partitions;
                }
                SourceEvent::AtEnd { .. } => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn start_close(&self, window: u64) -> oneshot::Receiver<BTreeMap<i32, i64>> {
        let (reply, answer) = oneshot::channel();
        assert!(self.reader.send(Command::Close { window, reply }));
        answer
    }

    /// Closes a window; what the lanes got in it, and the positions.
    fn close(&self, window: u64) -> (Got, BTreeMap<i32, i64>) {
        let answer = self.start_close(window);
        let got = self.drain(|input| matches!(input, LaneInput::Close { window: closed } if *closed == window));
        (got, self.answer(answer))
    }

    /// Reads each lane up to a marker. An `Abandon` on the way voids what was read before.
    fn drain(&self, is_last: impl Fn(&LaneInput) -> bool) -> Got {
        let mut got = Got::new();
        for (index, lane) in self.lanes.iter().enumerate() {
            let of_lane = |partition: i32| partition.unsigned_abs() as usize % self.lanes.len() == index;
            loop {
                let input = lane.recv_timeout(PATIENCE).expect("a marker in time");
                if is_last(&input) {
                    break;
                }
                match input {
                    LaneInput::Batch { raw, held } => {
                        assert!(of_lane(raw.partition), "partition {} in lane {index}", raw.partition);
                        assert!(held.bytes() >= raw.bytes() as u64);
                        for record in raw.records() {
                            got.entry(raw.partition).or_default().push(record.offset);
                        }
                    }
                    LaneInput::Abandon { .. } => got.retain(|partition, _| !of_lane(*partition)),
                    LaneInput::Close { .. } => {}
                }
            }
        }
        got
    }

    /// Waits until these partitions are at their ends, closing windows meanwhile so that the lanes do not fill up.
    fn read_to_end(&mut self, ends: &BTreeMap<i32, i64>) -> (Got, BTreeMap<i32, i64>) {
        let mut all = Got::new();
        let start = Instant::now();
        for window in 1_000.. {
            let (got, positions) = self.close(window);
            for (partition, offsets) in got {
                all.entry(partition).or_default().extend(offsets);
            }
            if ends.iter().all(|(partition, end)| positions.get(partition) >= Some(end)) {
                return (all, positions);
            }
            assert!(start.elapsed() < PATIENCE, "stuck at {positions:?} instead of {ends:?}");
        }
        unreachable!()
    }

    fn rewind(&self, positions: BTreeMap<i32, i64>, epoch: u64) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        assert!(self.reader.send(Command::Rewind { positions, epoch, done }));
        told
    }

    fn stop(self) {
        let (done, told) = oneshot::channel();
        assert!(self.reader.send(Command::Stop { done }));
        self.answer(told);
    }
}

fn same(partitions: impl IntoIterator<Item = i32>, position: i64) -> BTreeMap<i32, i64> {
    partitions.into_iter().map(|partition| (partition, position)).collect()
}

/// Waits for something that nobody tells.
fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn records_come_from_the_given_positions_and_a_close_names_exactly_what_was_delivered() {
    let world = World::new("t", 3);
    for partition in 0..3 {
        world.produce("t", partition, 0..100);
    }
    let mut running = world.reader("t", |_| {});
    let starts = BTreeMap::from([(0, 10), (1, 0), (2, 100)]);
    running.assign(&starts);
    let mut next = starts.clone();
    // Windows are closed while records arrive: each position is just behind the last record of its partition in the window.
    for window in 0..200 {
        if window % 20 == 0 {
            world.produce("t", window % 3, 0..50);
        }
        let (got, positions) = running.close(window as u64);
        for (partition, offsets) in got {
            let expected: Vec<i64> = (next[&partition]..next[&partition] + offsets.len() as i64).collect();
            assert_eq!(offsets, expected, "partition {partition}");
            next.insert(partition, next[&partition] + offsets.len() as i64);
        }
        assert!(positions.is_empty() || positions == next, "window {window}: {positions:?} instead of {next:?}");
    }
    let (_, positions) = running.read_to_end(&BTreeMap::from([(0, 300), (1, 250), (2, 250)]));
    assert_eq!(positions, BTreeMap::from([(0, 300), (1, 250), (2, 250)]));
    assert_eq!(running.reader.positions(), positions);
    assert_eq!(running.reader.ends(), positions);
    running.stop();
}

#[test]
fn a_record_arrives_with_key_value_headers_and_timestamp() {
    let world = World::new("t", 1);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "h", value: Some("1") })
        .insert(Header::<&str> { key: "h", value: None });
    let record = BaseRecord::to("t").partition(0).key("k").payload("v").headers(headers).timestamp(1234);
    world.producer.send(record).map_err(|(error, _)| error).unwrap();
    world.producer.send(BaseRecord::<str, [u8]>::to("t").partition(0).key("")).map_err(|(error, _)| error).unwrap();
    world.producer.flush(PATIENCE).unwrap();
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 0));
    let mut records = Vec::new();
    while records.len() < 2 {
        if let LaneInput::Batch { raw, .. } = running.lanes[0].recv_timeout(PATIENCE).unwrap() {
            for record in raw.records() {
                let headers: Vec<(String, Option<Vec<u8>>)> =
                    record.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
                let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
                records.push((record.offset, record.timestamp, key, value, headers));
            }
        }
    }
    let headers = vec![("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None)];
    assert_eq!(records[0], (0, 1234, Some(b"k".to_vec()), Some(b"v".to_vec()), headers));
    assert_eq!(
        (&records[1].2, &records[1].3),
        (&Some(Vec::new()), &None),
        "an empty key is a key, a tombstone has no value"
    );
    running.stop();
}

#[test]
fn the_end_of_a_partition_is_told_with_its_offset() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..7);
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 3));
    assert!(matches!(running.event(), SourceEvent::AtEnd { partition: 0, offset: 7, epoch: 0 }));
    assert_eq!(running.reader.ends(), same([0], 7));
    running.stop();
}

#[test]
fn full_lanes_stop_the_reading_but_not_the_commands_and_nothing_is_lost() {
    let world = World::new("t", 2);
    for partition in 0..2 {
        world.produce("t", partition, 0..3000);
    }
    let mut running = world.reader("t", |config| config.max_batch_rows = 100);
    running.assign(&same(0..2, 0));
    // Nobody reads the lanes, which have room for two batches each.
    until(|| running.lanes.iter().any(Receiver::is_full));
    let asked = Instant::now();
    let early = running.start_close(1);
    let positions = running.answer(early);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(positions.values().sum::<i64>() < 2 * 3000, "{positions:?}");
    let got = running.drain(|input| matches!(input, LaneInput::Close { window: 1 }));
    let (rest, _) = running.read_to_end(&same(0..2, 3000));
    for partition in 0..2 {
        let of = |got: &Got| got.get(&partition).cloned().unwrap_or_default();
        assert_eq!(of(&got).len() as i64, positions[&partition]);
        let all: Vec<i64> = [of(&got), of(&rest)].concat();
        assert_eq!(all, (0..3000).collect::<Vec<_>>());
    }
    running.stop();
}

#[test]
fn a_used_up_budget_stops_the_reading_until_memory_is_given_back() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..500);
    let mut running = world.reader("t", |_| {});
    let pressure = running.budget.hold(running.budget.limit() + 1);
    running.assign(&same([0], 0));
    for window in 0..3 {
        assert_eq!(running.close(window), (Got::new(), same([0], 0)));
    }
    drop(pressure);
    let (got, _) = running.read_to_end(&same([0], 500));
    assert_eq!(got[&0].len(), 500);
    let budget = Arc::clone(&running.budget);
    running.stop();
    assert_eq!(budget.used(), 0, "all is given back");
}

#[test]
fn after_a_rewind_each_record_comes_again_exactly_from_the_positions() {
    let world = World::new("t", 2);
    for partition in 0..2 {
        world.produce("t", partition, 0..4000);
    }
    let mut running = world.reader("t", |config| config.max_batch_rows = 64);
    running.assign(&same(0..2, 0));
    for (epoch, (first, second)) in [(0, 0), (3999, 17), (1000, 4000), (5, 2500), (0, 1)].into_iter().enumerate() {
        // In the middle of reading, with full lanes.
        let _ = running.lanes[0].recv_timeout(Duration::from_millis(100));
        let epoch = epoch as u64;
        let told = running.rewind(BTreeMap::from([(0, first), (1, second)]), epoch);
        running.answer(told);
        running.drain(|input| matches!(input, LaneInput::Abandon { epoch: marked } if *marked == epoch));
        let (got, positions) = running.read_to_end(&same(0..2, 4000));
        assert_eq!(positions, same(0..2, 4000));
        for (partition, start) in [(0, first), (1, second)] {
            let got = got.get(&partition).cloned().unwrap_or_default();
            assert_eq!(got, (start..4000).collect::<Vec<_>>(), "partition {partition} epoch {epoch}");
        }
    }
    running.stop();
}

#[test]
fn a_bounded_run_stops_exactly_at_its_limits() {
    let world = World::new("t", 3);
    for partition in 0..3 {
        world.produce("t", partition, 0..1000);
    }
    let limits = BTreeMap::from([(0, 600), (1, 0), (2, 1000)]);
    let mut running = world.reader("t", |config| config.limits = Some(limits.clone()));
    running.assign(&same(0..3, 0));
    let (got, positions) = running.read_to_end(&limits);
    assert_eq!(positions, limits);
    assert_eq!(
        got.into_iter().map(|(partition, offsets)| (partition, offsets.len())).collect::<Vec<_>>(),
        [(0, 600), (2, 1000)]
    );
    let mut ends = BTreeMap::new();
    while ends.len() < 3 {
        if let SourceEvent::AtEnd { partition, offset, .. } = running.event() {
            ends.insert(partition, offset);
        }
    }
    assert_eq!(ends, limits);
    world.produce("t", 2, 0..10);
    let told = running.rewind(BTreeMap::from([(0, 500), (1, 0), (2, 1000)]), 9);
    running.answer(told);
    let again = running.event();
    assert!(matches!(again, SourceEvent::AtEnd { epoch: 9, .. }), "what is told after a rewind says so: {again:?}");
    let (got, positions) = running.read_to_end(&limits);
    assert_eq!((got.get(&0).map(Vec::len), got.get(&2), positions), (Some(100), None, limits));
    running.stop();
}

#[test]
fn a_position_out_of_range_is_told_with_the_range_and_never_jumps() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..10);
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 500));
    let SourceEvent::Failed(error) = running.event() else { panic!("an error is expected") };
    assert!(
        matches!(error, SourceError::OutOfRange { partition: 0, position: 500, beginning: 0, end: 10, .. }),
        "{error}"
    );
    assert_eq!(error.reason(), Reason::OffsetOutOfRange);
    assert_eq!(running.close(1), (Got::new(), same([0], 500)));
    let told = running.rewind(same([0], 2), 1);
    running.answer(told);
    let (got, _) = running.read_to_end(&same([0], 10));
    assert_eq!(got[&0], (2..10).collect::<Vec<_>>());
    running.stop();
}

#[test]
fn partitions_move_between_members_and_every_record_is_read_once() {
    let world = World::new("t", 4);
    let mut ends = same(0..4, 200);
    for partition in 0..4 {
        world.produce("t", partition, 0..200);
    }
    let mut first = world.reader("t", |_| {});
    assert_eq!(first.assign(&same(0..4, 0)).len(), 4);
    let (_, mut positions) = first.read_to_end(&ends);
    // All partitions are at their ends when the second member comes: the next record of those that stay must not be lost.
    let mut second = world.reader("t", |_| {});
    let revoked = loop {
        match first.event() {
            SourceEvent::Revoked(partitions) => break partitions,
            SourceEvent::AtEnd { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    };
    positions.extend(first.close(1).1);
    assert!(first.reader.send(Command::Unassign(revoked.clone())));
    assert_eq!(second.assign(&positions), revoked);
    for partition in 0..4 {
        world.produce("t", partition, 200..300);
    }
    ends = same(0..4, 300);
    let of = |partitions: &dyn Fn(&i32) -> bool| -> BTreeMap<i32, i64> {
        ends.iter().filter(|(partition, _)| partitions(partition)).map(|(partition, end)| (*partition, *end)).collect()
    };
    let (kept, kept_positions) = first.read_to_end(&of(&|partition| !revoked.contains(partition)));
    let (moved, moved_positions) = second.read_to_end(&of(&|partition| revoked.contains(partition)));
    for (partition, offsets) in kept.iter().chain(&moved) {
        assert_eq!(offsets, &(200..300).collect::<Vec<_>>(), "partition {partition}");
    }
    assert_eq!((kept.len(), moved.len()), (4 - revoked.len(), revoked.len()));
    assert_eq!(kept_positions.len() + moved_positions.len(), 4);
    // The first one leaves; the second gets the rest.
    first.stop();
    let rest = second.assign(&same(0..4, 300));
    assert_eq!(rest.len(), 4 - revoked.len());
    second.stop();
}

#[test]
fn a_member_that_stops_without_having_answered_does_not_hang() {
    let world = World::new("t", 1);
    let mut running = world.reader("t", |_| {});
    assert!(matches!(running.event(), SourceEvent::Assigned(_)));
    running.stop();
}

#[test]
fn a_broker_that_goes_away_is_told_and_nothing_is_lost_when_it_is_back() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..100);
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 0));
    let (got, _) = running.read_to_end(&same([0], 100));
    assert_eq!(got[&0].len(), 100);
    world.cluster.broker_down(-1).unwrap();
    until(|| running.reader.trouble().is_some());
    assert_eq!(running.reader.trouble().map(|trouble| trouble.reason), Some(Reason::SourceUnavailable));
    world.cluster.broker_up(-1).unwrap();
    world.produce("t", 0, 100..200);
    let (got, _) = running.read_to_end(&same([0], 200));
    assert_eq!(got[&0], (100..200).collect::<Vec<_>>());
    until(|| running.reader.trouble().is_none());
    running.stop();
}

#[test]
fn a_topic_is_described_with_its_id_partitions_and_offsets() {
    let world = World::new("t", 3);
    world.produce("t", 1, 0..5);
    let topic = TopicClient::new(&world.kafka(), "t", Path::new(NO_SECRETS), "ns.job").unwrap();
    let info = topic.describe(PATIENCE).unwrap();
    assert_eq!((info.partitions.clone(), info.topic_id.len()), (vec![0, 1, 2], 22), "{info:?}");
    assert_eq!(topic.describe(PATIENCE).unwrap(), info, "the id stays");
    assert_eq!(topic.beginnings(&info.partitions, PATIENCE).unwrap(), same(0..3, 0));
    let ends = BTreeMap::from([(0, 0), (1, 5), (2, 0)]);
    assert_eq!(topic.ends(&info.partitions, PATIENCE).unwrap(), ends);
    assert_eq!(topic.start_positions(&info.partitions, StartPosition::Earliest, PATIENCE).unwrap(), same(0..3, 0));
    assert_eq!(topic.start_positions(&info.partitions, StartPosition::Latest, PATIENCE).unwrap(), ends);
    // The mock has no time index: every time is behind the last record.
    let time = StartPosition::Timestamp { time: jiff::Timestamp::now() };
    assert_eq!(topic.start_positions(&info.partitions, time, PATIENCE).unwrap(), ends);
    assert!(!topic.cluster_id(PATIENCE).unwrap().is_empty());
    assert_eq!(topic.trouble(), None);
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let world = World::new("t", 1);
    let topic = TopicClient::new(&world.kafka(), "other", Path::new(NO_SECRETS), "ns.job").unwrap();
    let error = topic.describe(PATIENCE).unwrap_err();
    assert_eq!(error.reason(), Reason::ReferenceNotFound);
    assert!(error.to_string().contains("`other` does not exist"), "{error}");
}

#[test]
fn brokers_that_do_not_answer_are_named_within_the_time_out() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let servers = format!("127.0.0.1:{port}");
    let topic = TopicClient::new(&kafka(&servers), "t", Path::new(NO_SECRETS), "ns.job").unwrap();
    let start = Instant::now();
    let error = topic.describe(Duration::from_secs(2)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!((error.reason(), error.retry()), (Reason::SourceUnavailable, true));
    let text = error.to_string();
    assert!(text.contains(&servers) && text.contains("refused"), "{text}");
}

/// Needs a real broker: `SLUICE_TEST_KAFKA` is a plaintext listener, `SLUICE_TEST_KAFKA_SASL` a listener with TLS and SASL PLAIN, and
/// `SLUICE_TEST_KAFKA_CA` the folder of its `ca.crt`.
#[test]
#[ignore = "needs a real broker"]
#[allow(clippy::too_many_lines)] // One broker, one story.
fn transactions_are_read_committed_and_a_refused_login_is_named() {
    let servers = std::env::var("SLUICE_TEST_KAFKA").expect("SLUICE_TEST_KAFKA");
    let config = |id: &str| ClientConfig::new().set("bootstrap.servers", &servers).set("transactional.id", id).clone();
    let topic = format!("t{}", jiff::Timestamp::now().as_nanosecond());
    let world = World { producer: config(&topic).create().unwrap(), cluster: MockCluster::new(1).unwrap() };
    let client = TopicClient::new(&kafka(&servers), &topic, Path::new(NO_SECRETS), "j").unwrap();
    assert_eq!(client.describe(PATIENCE).unwrap_err().reason(), Reason::ReferenceNotFound);
    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let new = rdkafka::admin::NewTopic::new(&topic, 1, rdkafka::admin::TopicReplication::Fixed(1));
    futures::executor::block_on(admin.create_topics(&[new], &rdkafka::admin::AdminOptions::new())).unwrap();
    world.producer.init_transactions(PATIENCE).unwrap();
    world.producer.begin_transaction().unwrap();
    world.produce(&topic, 0, 0..5);
    world.producer.commit_transaction(PATIENCE).unwrap();
    let between = jiff::Timestamp::now();
    world.producer.begin_transaction().unwrap();
    world.produce(&topic, 0, 0..3);
    world.producer.abort_transaction(PATIENCE).unwrap();
    // Five records, a marker, three aborted records, a marker.
    assert_eq!(client.ends(&[0], PATIENCE).unwrap(), same([0], 10));
    let info = client.describe(PATIENCE).unwrap();
    assert_eq!((info.topic_id.len(), info.partitions.as_slice()), (22, &[0][..]));
    let after = StartPosition::Timestamp { time: between };
    // The marker has a time, too, and it may be a little later than the commit.
    let found = client.start_positions(&[0], after, PATIENCE).unwrap();
    assert!((5..=6).contains(&found[&0]), "{found:?}");
    let mut running = world.reader(&topic, |config| {
        config.source.kafka = kafka(&servers);
        config.source.group_id.clone_from(&topic);
    });
    running.assign(&same([0], 0));
    let (got, positions) = running.read_to_end(&same([0], 10));
    assert_eq!((got[&0].as_slice(), positions), (&[0, 1, 2, 3, 4][..], same([0], 10)));
    // An open transaction is behind the end.
    world.producer.begin_transaction().unwrap();
    world.produce(&topic, 0, 0..2);
    assert_eq!(client.ends(&[0], PATIENCE).unwrap(), same([0], 10));
    assert_eq!(running.close(1), (Got::new(), same([0], 10)));
    world.producer.commit_transaction(PATIENCE).unwrap();
    let (got, positions) = running.read_to_end(&same([0], 13));
    assert_eq!((got[&0].as_slice(), positions), (&[10, 11][..], same([0], 13)));
    running.reader.send(Command::CommitGroup { positions: same([0], 13), metadata: "sluice:7".into() });
    running.stop();

    let mut refused = kafka(&std::env::var("SLUICE_TEST_KAFKA_SASL").expect("SLUICE_TEST_KAFKA_SASL"));
    let folder = tempfile::tempdir().unwrap();
    let file = |key: &str| sluice_crds::plan::SecretFile { secret_name: "s".into(), key: key.into() };
    std::fs::create_dir(folder.path().join("s")).unwrap();
    let ca = std::env::var("SLUICE_TEST_KAFKA_CA").expect("SLUICE_TEST_KAFKA_CA");
    std::fs::copy(Path::new(&ca).join("ca.crt"), folder.path().join("s/ca.crt")).unwrap();
    std::fs::write(folder.path().join("s/password"), "wr0ng-one").unwrap();
    let certificates = vec![file("ca.crt")];
    refused.tls = Some(sluice_crds::plan::TlsPlan { trusted_certificates: certificates, hostname_verification: true });
    refused.authentication =
        Some(sluice_crds::plan::KafkaAuthentication::Plain { username: "bob".into(), password: file("password") });
    let start = Instant::now();
    let error = TopicClient::new(&refused, &topic, folder.path(), "j").unwrap().describe(PATIENCE).unwrap_err();
    assert_eq!(error.reason(), Reason::AuthenticationFailed, "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "told long before the time-out: {:?}", start.elapsed());
    assert!(!error.to_string().contains("wr0ng-one"), "{error}");
    std::fs::write(folder.path().join("s/password"), "bob-secret").unwrap();
    let allowed = TopicClient::new(&refused, &topic, folder.path(), "j").unwrap();
    assert_eq!(allowed.describe(PATIENCE).unwrap(), info);
    refused.tls = Some(sluice_crds::plan::TlsPlan { trusted_certificates: Vec::new(), hostname_verification: true });
    let error = TopicClient::new(&refused, &topic, folder.path(), "j").unwrap().describe(PATIENCE).unwrap_err();
    assert_eq!(error.reason(), Reason::AuthenticationFailed, "{error}");
    println!("{error}");
}

/// Not a test: prints what a million records cost the reader's thread and librdkafka's threads. Run it with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    const PARTITIONS: i32 = 64;
    const EACH: i64 = 15_625;
    let world = World::new("t", PARTITIONS);
    let value = "x".repeat(250);
    for partition in 0..PARTITIONS {
        for _ in 0..EACH {
            while let Err((_, _)) =
                world.producer.send(BaseRecord::<str, str>::to("t").partition(partition).payload(&value))
            {
                world.producer.poll(Duration::from_millis(10));
            }
        }
        world.producer.flush(PATIENCE).unwrap();
    }
    let ticks = |name: &str| -> u64 {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        stats
            .filter(|stat| stat.contains(name))
            .map(|stat| {
                let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
                fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
            })
            .sum()
    };
    let before = ticks("rdk:");
    let mut running = world.reader("t", |config| config.linger = Duration::from_millis(50));
    running.assign(&same(0..PARTITIONS, 0));
    let start = Instant::now();
    let lanes = running.lanes.clone();
    let readers: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            std::thread::spawn(move || {
                let (mut rows, mut batches) = (0, 0);
                while rows < EACH * i64::from(PARTITIONS) / 2 {
                    if let LaneInput::Batch { raw, .. } = lane.recv().unwrap() {
                        rows += raw.len() as i64;
                        batches += 1;
                    }
                }
                batches
            })
        })
        .collect();
    let batches: i32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
    let wall = start.elapsed();
    println!(
        "wall {wall:?}, batches {batches}, reader {} ms CPU, librdkafka with the mock {} ms CPU",
        ticks("(reader)") * 10,
        (ticks("rdk:") - before) * 10
    );
    running.stop();
}
