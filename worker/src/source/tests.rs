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

mod broker;
mod group;
mod positions;
mod pressure;
mod reading;
mod topic;

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
        self.produce_sized(topic, partition, numbers, 0);
    }

    /// The same with as many zeros in front as make this many bytes.
    fn produce_sized(&self, topic: &str, partition: i32, numbers: std::ops::Range<i64>, size: usize) {
        for number in numbers {
            let value = format!("{number:0size$}");
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
