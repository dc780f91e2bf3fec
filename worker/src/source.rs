//! Kafka: where records come from. librdkafka lives only here.
//!
//! Promises: records of a partition come in offset order and never before the position that was given; a position never
//! passes a record that was not handed over; nothing is read from Kafka's group offsets, they are only written, as a report.
//!
//! ```text
//! client   plan + secrets → librdkafka properties
//! context  librdkafka's callbacks; they only note what happened
//! fetch    how much is read ahead, and the queue of fetched records (with `unsafe`)
//! brokers  what they are asked and the safe client does not offer (with `unsafe`)
//! topic    id, partitions and offsets of a topic, asked from the brokers
//! times    when the first records behind some offsets were written
//! reader   the thread that reads owned partitions and feeds the lanes
//! ```

mod again;
mod brokers;
mod client;
mod context;
mod embedded;
mod error;
mod fetch;
mod reader;
mod times;
mod topic;

pub use again::read_again;
pub use context::{Trouble, TroubleCell};
pub use embedded::{EmbeddedKafka, EmbeddedProducer};
pub use error::SourceError;
pub use reader::{Command, LaneInput, Reader, ReaderConfig, SourceEvent};
pub use times::record_times;
pub use topic::{ClusterInfo, TopicClient, TopicInfo};

/// A name for C. Kafka's topic names have no NUL; a name with one becomes the empty name, which no topic has.
fn c_name(name: &str) -> std::ffi::CString {
    std::ffi::CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests;
