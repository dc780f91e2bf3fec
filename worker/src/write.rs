//! From transformed rows to staged files: routing to Hive partitions, Parquet encoding, dead letters.
//!
//! ```text
//! OutputBatch ─► lane ─► table (route ─► pool ─► file) ─► Staging ─► FileRecord
//!                  └─ refused ─► dead_letter ─────────────┘
//! ```
//!
//! Promises: each row is in exactly one file, rows of a partition keep their order, a file without rows never exists,
//! and two files of one lane with the same partition values have disjoint source ranges. A file is only staged here;
//! the ledger decides whether it becomes visible.
//!
//! Must not: wait for an upload on the thread that encodes, or read anything back. `parquet` lives only here.

pub mod file;
pub mod hive;
pub mod lane;
pub mod lessons;
mod pages;
pub mod pool;
pub mod read_back;
pub mod route;
pub mod table;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use parquet::errors::ParquetError;
use sluice_crds::condition::Reason;
use sluice_crds::plan::SinkPlan;

pub use self::lane::{DeadCodes, LaneFiles, LaneWriter, PendingFiles};
use crate::budget::Budget;
use crate::error::Classified;
use crate::store::{Store, StoreError};

/// What all lanes of a plan share.
#[derive(Debug)]
pub struct WriteContext {
    /// `namespace/name` of the job, for the files' metadata and dead letters.
    pub job: String,
    /// The sink.
    pub sink: SinkPlan,
    /// The sink's columns, then its partition keys, outermost first.
    pub schema: SchemaRef,
    /// How many columns of the schema are partition keys.
    pub partition_keys: usize,
    /// The table's folder.
    pub table: Arc<Store>,
    /// The dead letters' folder; none: a refused record is an error.
    pub dead: Option<Arc<Store>>,
    /// The topic that is read.
    pub topic: String,
    /// What earlier files taught about the columns.
    pub lessons: lessons::Lessons,
    /// What all lanes together may hold.
    pub budget: Arc<Budget>,
    /// Where uploads run.
    pub runtime: tokio::runtime::Handle,
}

impl WriteContext {
    /// Checks what can be checked before the first row: partition keys of types that folders can name, and at least one
    /// other column.
    pub fn validate(&self) -> Result<(), WriteError> {
        file::FileFormat::new(&self.sink.format, self.router()?.file_schema()).map(|_| ())
    }

    /// What splits rows of the sink by their partition.
    pub fn router(&self) -> Result<route::Router, WriteError> {
        let limit = hive::PathLimit::of(&self.sink.location.url);
        route::Router::new(&self.schema, self.partition_keys, limit)
    }
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The task that uploads a file ended without an answer.
    #[error("the upload of {path} ended without an answer")]
    Upload {
        /// The file.
        path: String,
        /// What the runtime says.
        #[source]
        source: tokio::task::JoinError,
    },
    /// Rows could not be encoded.
    #[error("the rows of {path} cannot be encoded as Parquet")]
    Encode {
        /// The file, or the schema.
        path: String,
        /// What the encoder says.
        #[source]
        source: ParquetError,
    },
    /// Rows could not be handled.
    #[error("cannot {operation} the sink's rows")]
    Arrow {
        /// What was tried.
        operation: &'static str,
        /// What Arrow says.
        #[source]
        source: ArrowError,
    },
    /// A batch does not have the sink's columns.
    #[error("a batch has {got} columns where the sink and its partition keys have {expected}")]
    ColumnCount {
        /// The batch's columns.
        got: usize,
        /// The sink's columns and its partition keys.
        expected: usize,
    },
    /// Rows that should wait for their file are gone.
    #[error("rows that waited for their file are gone")]
    LostRows,
    /// Nothing would be left in the files.
    #[error("the sink has no columns besides its partition keys; a file needs at least one")]
    NoColumns,
    /// A type that folders cannot name.
    #[error(
        "partition key `{key}` is of type {data_type}, which cannot name a folder; \
         use a string, an integer, a boolean, a decimal, a date or a timestamp"
    )]
    PartitionKeyType {
        /// The key.
        key: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// A row's values cannot name a folder.
    #[error(transparent)]
    PartitionValue(#[from] hive::ValueError),
    /// The same of a row that aggregates many records.
    #[error("a row of an aggregate cannot be written, and none of its records is to blame, so there is no dead letter")]
    Aggregate(#[source] hive::ValueError),
    /// A record was refused, and dead letters have no place.
    #[error(
        "record {topic}/{partition} offset {offset} was refused by {stage}{}: {code}: {message}; mend it, filter it \
         out, or set spec.deadLetter to keep such records aside", at(.field.as_deref())
    )]
    Rejected {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// Who refused it.
        stage: &'static str,
        /// The stable code.
        code: &'static str,
        /// Why.
        message: String,
        /// The field, where there is one.
        field: Option<String>,
    },
    /// A dead letter could not be encoded.
    #[error("record {offset} of partition {partition} cannot be encoded as a dead letter")]
    DeadLetter {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What the encoder says.
        #[source]
        source: serde_json::Error,
    },
}

fn at(field: Option<&str>) -> String {
    field.map(|field| format!(" at `{field}`")).unwrap_or_default()
}

impl WriteError {
    pub(crate) fn arrow(operation: &'static str, source: ArrowError) -> Self {
        Self::Arrow { operation, source }
    }
}

impl Classified for WriteError {
    fn reason(&self) -> Reason {
        match self {
            Self::Store(error) => error.reason(),
            Self::NoColumns | Self::PartitionKeyType { .. } => Reason::ConfigInvalid,
            Self::PartitionValue(_) | Self::Aggregate(_) | Self::Rejected { .. } => Reason::RecordRejected,
            Self::Upload { .. }
            | Self::Encode { .. }
            | Self::Arrow { .. }
            | Self::ColumnCount { .. }
            | Self::LostRows
            | Self::DeadLetter { .. } => Reason::Internal,
        }
    }

    fn retry(&self) -> bool {
        match self {
            Self::Store(error) => error.retry(),
            _ => false,
        }
    }

    fn exit_code(&self) -> u8 {
        crate::error::store_exit_code(self.reason())
    }
}

#[cfg(test)]
mod tests;
