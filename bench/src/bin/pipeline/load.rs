//! Fills a topic with the records of a shape.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sluice_bench::shapes::{Fate, Shape};
use sluice_e2e::kafka::Kafka;
use sluice_e2e::ledger::Counts;

/// A topic, and what is in it.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// What must become of its records.
    pub counts: Counts,
    /// Bytes of their values.
    pub bytes: u64,
}

/// Creates a topic with the records of a shape, round robin over its partitions, so that neighbours are neighbours in time.
pub async fn fill(kafka: &Kafka, shape: &Shape, seed: u64) -> Result<Topic> {
    let name: String = shape.name.chars().filter(char::is_ascii_alphanumeric).collect();
    kafka.create_topic(&name, shape.partitions).await?;
    let (kafka, shape) = (kafka.clone(), shape.clone());
    tokio::task::spawn_blocking(move || send(&kafka, name, &shape, seed)).await?
}

fn send(kafka: &Kafka, name: String, shape: &Shape, seed: u64) -> Result<Topic> {
    let mut config = kafka.config();
    config.set("linger.ms", "50").set("batch.size", "1000000").set("queue.buffering.max.messages", "400000");
    // One request after another keeps their order.
    let producer: BaseProducer =
        config.set("acks", "all").set("max.in.flight", "1").set("compression.type", shape.codec).create()?;
    let mut topic = Topic { name, counts: Counts::default(), bytes: 0 };
    let Topic { name, counts, bytes } = &mut topic;
    shape.generate(seed, |index, value, fate| {
        counts.read += 1;
        *bytes += value.len() as u64;
        match fate {
            Fate::Written => counts.written += 1,
            Fate::Filtered => counts.filtered += 1,
            Fate::Dead => counts.dead += 1,
        }
        let partition = (index % shape.partitions as u64) as i32;
        let mut record = BaseRecord::<[u8], [u8]>::to(name).partition(partition).payload(value);
        while let Err((error, back)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(error).context("cannot queue a record");
            }
            producer.poll(Duration::from_millis(20));
            record = back;
        }
        if index % 10_000 == 0 {
            producer.poll(Duration::ZERO);
        }
        Ok(())
    })?;
    producer.flush(Duration::from_mins(2))?;
    let ends: i64 = kafka.ends(name)?.values().sum();
    if ends as u64 != shape.records {
        bail!("{ends} of {} records arrived in {name}", shape.records);
    }
    Ok(topic)
}
