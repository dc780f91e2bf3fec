//! Reading ranges of offsets again: for a file that was decided and then lost. Outside of any consumer group.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use sluice_crds::plan::SourcePlan;

use super::client;
use super::context::SourceContext;
use super::error::{Meaning, SourceError, describe, meaning};
use crate::batch::RawBatch;

/// librdkafka's prefetch while ranges are read again.
const PREFETCH: u64 = 8 << 20;
/// Records of one batch.
const ROWS: usize = 8192;
/// How long brokers are waited for when only a message depends on it.
const ANSWER: Duration = Duration::from_secs(10);
/// Without a record for this long the brokers count as gone.
const SILENCE: Duration = Duration::from_mins(1);

/// Hands over the records of a range of one partition, in order, in batches. Blocks.
///
/// Fails when records of the range are gone, or when nothing arrives for a minute; `each` may end it with an error of its own.
pub fn read_again<E: From<SourceError>>(
    source: &SourcePlan,
    job: &str,
    secrets: &Path,
    (partition, range): (i32, Range<i64>),
    mut each: impl FnMut(RawBatch) -> Result<(), E>,
) -> Result<(), E> {
    let config = client::reader_config(source, secrets, job, PREFETCH)?;
    let consumer: BaseConsumer<SourceContext> =
        client::create(&source.kafka.connection, &config, SourceContext::default())?;
    read_from(&consumer, &source.topic, partition, range.start)?;
    let mut batch = RawBatch::new(partition);
    let mut next = range.start;
    let mut heard = Instant::now();
    // Did the broker have the whole range before it told of an end? A leader that is new may tell one that is too low.
    let mut all_there = false;
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Err(KafkaError::PartitionEOF(_))) if all_there => break,
            None | Some(Err(_)) if heard.elapsed() > SILENCE => return Err(silent(source, partition, next).into()),
            None => continue,
            Some(Err(KafkaError::PartitionEOF(_))) => {
                let ends = consumer.fetch_watermarks(&source.topic, partition, ANSWER);
                all_there = ends.is_ok_and(|(_, end)| end >= range.end);
                // The end is told once; from here it is told again.
                read_from(&consumer, &source.topic, partition, next)?;
                continue;
            }
            Some(Err(error)) => match failure(&consumer, &source.topic, partition, next, &error) {
                Some(failure) => return Err(failure.into()),
                None => continue,
            },
            Some(Ok(message)) => {
                heard = Instant::now();
                if message.offset() >= range.end {
                    break;
                }
                next = message.offset() + 1;
                let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
                batch.push(
                    message.offset(),
                    message.timestamp().to_millis().unwrap_or(-1),
                    message.key(),
                    message.payload(),
                    headers.map(|header| (header.key, header.value)),
                );
            }
        }
        if batch.len() >= ROWS {
            each(std::mem::replace(&mut batch, RawBatch::new(partition)))?;
            heard = Instant::now();
        }
    }
    if batch.is_empty() { Ok(()) } else { each(batch) }
}

fn read_from(
    consumer: &BaseConsumer<SourceContext>,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<(), SourceError> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .and_then(|()| consumer.assign(&list))
        .map_err(|error| SourceError::Internal { topic: topic.to_owned(), problem: describe(&error) })
}

fn silent(source: &SourcePlan, partition: i32, next: i64) -> SourceError {
    SourceError::Unavailable {
        connection: source.kafka.connection.clone(),
        servers: source.kafka.bootstrap_servers.join(", "),
        doing: format!("reading partition {partition} again from offset {next}"),
        problem: "no record arrives".to_owned(),
    }
}

/// What an error means for the record at this offset; `None` when librdkafka mends it by itself.
fn failure(
    consumer: &BaseConsumer<SourceContext>,
    topic: &str,
    partition: i32,
    offset: i64,
    error: &KafkaError,
) -> Option<SourceError> {
    let (topic, problem) = (topic.to_owned(), describe(error));
    Some(match error.rdkafka_error_code().map(meaning) {
        Some(Meaning::Passing) => return None,
        Some(Meaning::OutOfRange) => {
            // Only for the message: where nobody answers, it does not say what the topic has.
            let (beginning, end) = consumer.fetch_watermarks(&topic, partition, ANSWER).unwrap_or((-1, -1));
            SourceError::OutOfRange { topic, partition, position: offset, beginning, end }
        }
        Some(Meaning::Unreadable) => SourceError::Unreadable { topic, partition, offset, problem },
        _ => SourceError::Internal {
            topic,
            problem: format!("partition {partition} cannot be read again at offset {offset}: {problem}"),
        },
    })
}
