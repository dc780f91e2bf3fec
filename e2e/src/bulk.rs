//! Millions of records in a short time: the same ten thousand again and again, and no book but how many there are.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use crate::kafka::Kafka;
use crate::produce::{Fate, Recipe};

/// How many different records there are.
const DIFFERENT: u64 = 10_000;
/// The recipe's records are a second apart; this many of them are left out in between, so that the times fill a day.
const STRIDE: u64 = 8;

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Become rows.
    pub written: u64,
    /// Are filtered out.
    pub filtered: u64,
    /// Become dead letters.
    pub dead: u64,
}

/// Sends this many records of at least `size` bytes, round robin over the partitions.
pub fn send(kafka: &Kafka, topic: &str, partitions: i32, recipe: &Recipe, count: u64, size: usize) -> Result<Sent> {
    let records: Vec<(Fate, Vec<u8>)> = (0..DIFFERENT).map(|i| recipe.record(i * STRIDE)).collect();
    let records: Vec<_> = records.into_iter().map(|(fate, value)| (fate, filled(value, size))).collect();
    let mut config = kafka.config();
    config.set("linger.ms", "50").set("batch.size", "1000000").set("queue.buffering.max.messages", "400000");
    // One request after another, as an idempotent producer would do, without its cost.
    let producer: BaseProducer = config.set("acks", "all").set("max.in.flight", "1").create()?;
    let mut sent = Sent::default();
    for index in 0..count {
        let (fate, value) = &records[(index % DIFFERENT) as usize];
        match fate {
            Fate::Written => sent.written += 1,
            Fate::Filtered => sent.filtered += 1,
            Fate::Dead => sent.dead += 1,
        }
        // Neighbours in a partition are neighbours in time, as they are in life.
        let partition = (index % partitions as u64) as i32;
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value);
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
    }
    producer.flush(Duration::from_mins(1))?;
    let ends: i64 = kafka.ends(topic)?.values().sum();
    if ends != count as i64 {
        bail!("{ends} of {count} records arrived");
    }
    Ok(sent)
}

/// The value with more in its metadata, so that it has this size. White space behind a value changes nothing, be it JSON or not.
fn filled(mut value: Vec<u8>, size: usize) -> Vec<u8> {
    const METADATA: &[u8] = b"\"metadata\":{";
    const MEMBER: &[u8] = b"\"note\":\"\",";
    let missing = size.saturating_sub(value.len());
    let place = value.windows(METADATA.len()).position(|window| window == METADATA);
    if let (Some(place), true) = (place, missing >= MEMBER.len()) {
        let member = format!("\"note\":\"{}\",", "n".repeat(missing - MEMBER.len()));
        value.splice(place + METADATA.len()..place + METADATA.len(), member.into_bytes());
    }
    value.resize(value.len().max(size), b' ');
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_record_has_its_size_and_keeps_its_fate() {
        for index in 0..2000 {
            let (fate, value) = Recipe::new(5).record(index);
            let value = filled(value, 250);
            assert!(value.len() >= 250);
            let is_object = serde_json::from_slice::<serde_json::Value>(&value).is_ok_and(|value| value.is_object());
            assert_eq!(is_object, fate != Fate::Dead, "{}", String::from_utf8_lossy(&value));
        }
    }
}
