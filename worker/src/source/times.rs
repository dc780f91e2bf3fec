//! When the first records behind some offsets were written. Outside of any consumer group.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_crds::plan::SourcePlan;

use super::client;
use super::context::SourceContext;
use super::error::{Meaning, SourceError, describe, meaning};
use super::topic::subject;

/// One record of each partition is wanted; a fetch brings a batch of them.
const PREFETCH: u64 = 1 << 17;

/// The time of the first record at or behind each of these offsets, in milliseconds since the epoch; nothing where only transaction
/// markers follow. A partition that is missing in the answer was not heard of in time. Blocks.
pub fn record_times(
    source: &SourcePlan,
    job: &str,
    secrets: &Path,
    from: &BTreeMap<i32, i64>,
    timeout: Duration,
) -> Result<BTreeMap<i32, Option<i64>>, SourceError> {
    let deadline = Instant::now() + timeout;
    let mut config = client::reader_config(source, secrets, job, PREFETCH)?;
    config.set("queued.min.messages", "1");
    let consumer: BaseConsumer<SourceContext> =
        client::create(&source.kafka.connection, &config, SourceContext::default())?;
    let failed = |error: &KafkaError| {
        let subject = subject(&source.kafka, &source.topic);
        let code = error.rdkafka_error_code().unwrap_or(rdkafka::error::RDKafkaErrorCode::Fail);
        subject.error(code, &describe(error), "reading the times of records", consumer.context().trouble.get().as_ref())
    };
    let mut list = TopicPartitionList::with_capacity(from.len());
    for (&partition, &offset) in from {
        list.add_partition_offset(&source.topic, partition, Offset::Offset(offset)).map_err(|error| failed(&error))?;
    }
    consumer.assign(&list).map_err(|error| failed(&error))?;
    let mut times = BTreeMap::new();
    while times.len() < from.len() && Instant::now() < deadline {
        let wait = deadline.saturating_duration_since(Instant::now()).min(Duration::from_millis(200));
        match consumer.poll(wait) {
            None => {}
            Some(Ok(message)) => {
                let time = message.timestamp().to_millis().filter(|time| *time >= 0);
                times.entry(message.partition()).or_insert(time);
                let mut heard = TopicPartitionList::new();
                heard.add_partition(&source.topic, message.partition());
                // Its next records are of no use. A pause that fails only lets some more of them come.
                let _ = consumer.pause(&heard);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                times.entry(partition).or_insert(None);
            }
            Some(Err(error)) => match error.rdkafka_error_code().map(meaning) {
                // An offset that is gone is the worker's to tell about, and a passing error passes.
                Some(Meaning::Passing | Meaning::OutOfRange) => {}
                _ => return Err(failed(&error)),
            },
        }
    }
    Ok(times)
}
