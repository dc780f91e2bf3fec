//! A Kafka inside of the process, for the demo and for tests: librdkafka's mock cluster.
//!
//! It speaks the protocol, groups included, and keeps nothing on disk. It is no substitute for a broker in a proof of
//! exactly once: it knows no transactions and no offsets by time, and **silently drops** what is older than 5 MiB in a partition.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, NoCustomPartitioner, Producer, ThreadedProducer};

use super::SourceError;

/// An embedded broker. It ends when it is dropped.
pub struct EmbeddedKafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

/// A producer of an embedded broker.
#[derive(Clone)]
pub struct EmbeddedProducer {
    producer: Arc<ThreadedProducer<DefaultProducerContext, NoCustomPartitioner>>,
}

impl EmbeddedKafka {
    /// Starts a broker on a free port of the loopback with one topic.
    pub fn start(topic: &str, partitions: i32) -> Result<(Self, EmbeddedProducer), SourceError> {
        let embedded = |source| SourceError::Embedded { source };
        let cluster = MockCluster::new(1).map_err(embedded)?;
        cluster.create_topic(topic, partitions, 1).map_err(embedded)?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("linger.ms", "5")
            .set("queue.buffering.max.messages", "100000")
            .create()
            .map_err(embedded)?;
        Ok((Self { cluster }, EmbeddedProducer { producer: Arc::new(producer) }))
    }

    /// `host:port` of the broker.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

impl EmbeddedProducer {
    /// Appends a record without key and headers; waits while the producer's queue is full.
    pub fn produce(&self, topic: &str, partition: i32, value: &[u8]) -> Result<(), SourceError> {
        let mut record: BaseRecord<'_, (), [u8]> = BaseRecord::to(topic).partition(partition).payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    // The producer's own thread makes room; there is no event to wait for.
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((source, _)) => return Err(SourceError::Embedded { source }),
            }
        }
    }

    /// Waits until everything produced has arrived.
    pub fn flush(&self) -> Result<(), SourceError> {
        self.producer.flush(Duration::from_secs(30)).map_err(|source| SourceError::Embedded { source })
    }
}
