//! The pipeline: a partitioned Kafka topic becomes partitioned files in object storage, every record exactly once.
//!
//! One room per stage, in the order in which data walks. Each stage takes the value of the stage before it by move.
//!
//! ```text
//! Kafka ─► source ──► decode ─────► transform ──► write ───────► ledger
//!          RawBatch   DecodedBatch  OutputBatch   StagedFiles    Committed
//!                        └── refused records ──► dead_letter ──┘
//! ```

pub mod agent;
pub mod batch;
pub mod budget;
pub mod dead_letter;
pub mod decode;
pub mod error;
pub mod fault;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod pipeline;
pub mod report;
pub mod schema;
pub mod source;
pub mod store;
#[cfg(test)]
mod testing;
pub mod transform;
pub mod write;
