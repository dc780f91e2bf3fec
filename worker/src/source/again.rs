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
use super::error::{SourceError, describe};
use crate::batch::RawBatch;

/// librdkafka's prefetch while ranges are read again.
const PREFETCH: u64 = 8 << 20;
/// Records of one batch.
const ROWS: usize = 8192;
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
    let fault = |problem: String| SourceError::Internal { topic: source.topic.clone(), problem };
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&source.topic, partition, Offset::Offset(range.start))
        .and_then(|()| consumer.assign(&list))
        .map_err(|error| fault(describe(&error)))?;
    let mut batch = RawBatch::new(partition);
    let mut heard = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            None if heard.elapsed() > SILENCE => {
                return Err(SourceError::Unavailable {
                    connection: source.kafka.connection.clone(),
                    servers: source.kafka.bootstrap_servers.join(", "),
                    doing: format!("reading partition {partition} again from offset {}", range.start),
                    problem: "no record arrives".to_owned(),
                }
                .into());
            }
            None => continue,
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => {
                let problem =
                    format!("offsets {range:?} of partition {partition} cannot be read again: {}", describe(&error));
                return Err(fault(problem).into());
            }
            Some(Ok(message)) => {
                heard = Instant::now();
                if message.offset() >= range.end {
                    break;
                }
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
        }
    }
    if batch.is_empty() { Ok(()) } else { each(batch) }
}
