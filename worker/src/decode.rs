//! JSON to rows: each message is one row or one refusal, and a bad one never spoils its neighbours.
//!
//! Values go straight from the text into the builders of their columns; there is no document in between. The text is
//! held to RFC 8259 to its last byte, also in members that nobody needs. Values are taken exactly or not at all:
//!
//! | column | takes |
//! | --- | --- |
//! | `boolean` | `true`, `false` |
//! | `tinyint` … `bigint` | a number that is whole and fits: `7`, `7.0`, `7e3` |
//! | `float`, `double` | a number that is not beyond the greatest one; the strings `NaN`, `Infinity`, `-Infinity` |
//! | `decimal(p,s)` | a number, or a string that holds one, with no more digits than declared |
//! | `string` | a string; any other value but null as its source text |
//! | `binary` | a string in base64 (standard alphabet, padding optional) |
//! | `date` | a string `YYYY-MM-DD` |
//! | `timestamp` | a string `YYYY-MM-DDTHH:MM[:SS[.f…]]` with `Z` or an offset, else UTC; at most microseconds |
//! | `timestamp_ntz` | the same without a zone |
//! | `array<…>`, `struct<…>`, `map<string,…>` | an array, an object, an object |
//!
//! `null` and a missing member are null. Of a key that stands twice the last value counts. Names are compared byte by byte.
//! Unknown members are passed. The stage must not allocate for a good record, must not panic whatever the bytes are, and
//! must not change what a record means in order to keep it.

#![allow(clippy::unnecessary_box_returns, reason = "a boxed fault keeps the results of the hot path at one word")]

mod column;
mod cursor;
mod fault;
mod keys;
mod leaf;
mod metadata;
mod nested;
mod number;
mod object;
mod scan;
mod skip;
mod text;
mod time;
mod value;

#[cfg(test)]
mod tests;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use sluice_crds::condition::Reason;
use sluice_crds::plan::ColumnPlan;
use sluice_crds::types::HiveType;

use self::column::Column;
use self::cursor::Cursor;
use self::fault::{Fault, Outcome, quote};
use self::metadata::Metadata;
use self::object::{Member, Structs};
use self::text::Text;
use crate::batch::{DecodedBatch, RawBatch, RawRecord, RecordError, Refused};
use crate::error::Classified;
use crate::schema::{arrow_schema, data_type};

pub use self::fault::Code;

/// Why columns cannot be decoded at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Two columns have the same name.
    #[error("the column `{0}` is declared twice; remove one of them")]
    DuplicateColumn(String),
    /// A declared column has the name of the metadata column.
    #[error("the column `{0}` is one that kafkaMetadata adds; rename it or set kafkaMetadata: false")]
    ReservedColumn(String),
    /// A map whose keys are not strings.
    #[error(
        "the column `{column}` has a map with keys of type {key}, and keys of JSON objects are strings; declare map<string,…>"
    )]
    MapKey {
        /// The column.
        column: String,
        /// The type of the keys.
        key: HiveType,
    },
    /// The plan needs a column that is not declared, or names its columns out of order.
    #[error("the plan needs column {index} of {columns}; such indexes rise and stay below the number of columns")]
    NeededColumn {
        /// The index that the plan has.
        index: usize,
        /// How many columns are declared.
        columns: usize,
    },
}

impl Classified for DecodeError {
    fn reason(&self) -> Reason {
        match self {
            Self::DuplicateColumn(_) | Self::ReservedColumn(_) | Self::MapKey { .. } => Reason::ConfigInvalid,
            Self::NeededColumn { .. } => Reason::Internal,
        }
    }

    fn retry(&self) -> bool {
        false
    }
}

/// The schema of all declared columns, and of `_kafka` when asked for.
pub fn source_schema(columns: &[ColumnPlan], kafka_metadata: bool) -> SchemaRef {
    arrow_schema(columns.iter().chain(kafka_metadata.then(metadata::column).as_ref()))
}

/// Decodes the records of one topic. Keeps its buffers from batch to batch, so each thread has one of its own.
#[derive(Debug)]
pub struct Decoder {
    rows: Structs,
    /// The type of each column that is built, and whether it is part of the output.
    columns: Vec<(DataType, bool)>,
    metadata: Option<(Metadata, DataType)>,
    schema: SchemaRef,
    scratch: Text,
    /// Where quotes stand in the record that is being decoded.
    quotes: Vec<u64>,
}

impl Decoder {
    /// A decoder for messages of `topic`.
    ///
    /// `columns` are the declared columns, `needed` the indexes of those that the plan uses, rising. Columns that are
    /// declared `nullable: false` are decoded and checked in any case. `kafka_metadata` appends the struct column
    /// `_kafka` (`topic`, `partition`, `offset`, `timestamp`, `key`, `headers`).
    ///
    /// # Errors
    /// When columns have the same name, or a type that JSON cannot fill.
    pub fn new(
        topic: &str,
        columns: &[ColumnPlan],
        needed: &[usize],
        kafka_metadata: bool,
    ) -> Result<Self, DecodeError> {
        check(columns, needed, kafka_metadata)?;
        let is_needed = |index: usize| needed.binary_search(&index).is_ok();
        let mut members = Vec::new();
        let mut built = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            if is_needed(index) || !column.nullable {
                let builder = Column::new(&column.type_)
                    .map_err(|key| DecodeError::MapKey { column: column.name.clone(), key })?;
                members.push(Member::new(&column.name, builder, !column.nullable));
                built.push((data_type(&column.type_), is_needed(index)));
            }
        }
        let appended = kafka_metadata.then(metadata::column);
        Ok(Self {
            rows: Structs::new(members),
            columns: built,
            schema: arrow_schema(needed.iter().map(|index| &columns[*index]).chain(&appended)),
            metadata: appended.map(|column| (Metadata::new(topic), data_type(&column.type_))),
            scratch: Text::default(),
            quotes: Vec::new(),
        })
    }

    /// The schema of [`DecodedBatch::rows`]: the needed columns in declared order, then `_kafka`.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// Decodes all records of a batch. Each is exactly one row or one refusal.
    ///
    /// A batch should stay below a few MiB: whatever goes beyond 2 GiB in one column is refused.
    pub fn decode(&mut self, raw: RawBatch) -> DecodedBatch {
        let mut origin = Vec::with_capacity(raw.len());
        let mut refused = Vec::new();
        for (row, record) in (0u32..).zip(raw.records()) {
            match self.push(raw.partition, &record) {
                Ok(()) => origin.push(row),
                Err(error) => refused.push(Refused { row, error }),
            }
        }
        match self.finish(origin.len()) {
            Ok(rows) => DecodedBatch { raw, rows, origin, refused },
            Err(error) => self.refuse_all(raw, &error),
        }
    }

    /// Appends a record to the rows, or leaves them as they were.
    fn push(&mut self, partition: i32, record: &RawRecord<'_>) -> Result<(), RecordError> {
        let row = self.rows.len();
        let outcome = self.push_value(record.value).and_then(|()| match &mut self.metadata {
            Some((metadata, _)) => metadata.push(partition, record),
            None => Ok(()),
        });
        outcome.map_err(|fault| {
            self.rows.truncate(row);
            if let Some((metadata, _)) = &mut self.metadata {
                metadata.truncate(row);
            }
            fault.into_error()
        })
    }

    fn push_value(&mut self, value: Option<&[u8]>) -> Outcome<()> {
        let bytes = value.ok_or_else(|| Fault::new(Code::NullValue, "the record has no value: it is a tombstone"))?;
        let survey = scan::survey(bytes, &mut self.quotes);
        if !survey.ascii
            && simdutf8::basic::from_utf8(bytes).is_err()
            && let Err(error) = std::str::from_utf8(bytes)
        {
            let message = format!("the value is not UTF-8 from byte {} on", error.valid_up_to());
            return Err(Fault::new(Code::InvalidUtf8, message));
        }
        let quotes = survey.plain.then_some(self.quotes.as_slice());
        let mut cursor = Cursor::new(bytes, quotes, &mut self.scratch);
        if cursor.space() != b'{' {
            return Err(not_an_object(cursor));
        }
        let outcome = self.rows.push(&mut cursor, 0);
        // Broken syntax comes before a value that does not fit, wherever it stands.
        if outcome.as_ref().err().is_none_or(|fault| !fault.spoils_record()) {
            cursor.end()?;
        }
        outcome
    }

    /// Gives what was pushed, and is empty again.
    fn finish(&mut self, rows: usize) -> Result<RecordBatch, ArrowError> {
        let types: Vec<&DataType> = self.columns.iter().map(|(data_type, _)| data_type).collect();
        let arrays = self.rows.finish_members(&types)?;
        let needed = self.columns.iter().map(|(_, needed)| *needed);
        let mut arrays: Vec<_> = arrays.into_iter().zip(needed).filter(|(_, needed)| *needed).map(|(a, _)| a).collect();
        if let Some((metadata, data_type)) = &mut self.metadata {
            arrays.push(metadata.finish(data_type)?);
        }
        // A plan may need no column at all; the number of rows must be known nevertheless.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema(), arrays, &options)
    }

    /// The builders do not fit together, which only a fault of the program can cause. No record may be lost by it.
    fn refuse_all(&mut self, raw: RawBatch, error: &ArrowError) -> DecodedBatch {
        self.rows.truncate(0);
        if let Some((metadata, _)) = &mut self.metadata {
            metadata.truncate(0);
        }
        let error =
            Fault::new(Code::Internal, format!("the rows of the batch do not fit together: {error}")).into_error();
        let refused = (0..raw.len() as u32).map(|row| Refused { row, error: error.clone() }).collect();
        DecodedBatch { raw, rows: RecordBatch::new_empty(self.schema()), origin: Vec::new(), refused }
    }
}

fn check(columns: &[ColumnPlan], needed: &[usize], kafka_metadata: bool) -> Result<(), DecodeError> {
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.name == column.name) {
            return Err(DecodeError::DuplicateColumn(column.name.clone()));
        }
        if kafka_metadata && column.name == metadata::NAME {
            return Err(DecodeError::ReservedColumn(column.name.clone()));
        }
    }
    for (position, index) in needed.iter().enumerate() {
        if *index >= columns.len() || needed[..position].last().is_some_and(|before| before >= index) {
            return Err(DecodeError::NeededColumn { index: *index, columns: columns.len() });
        }
    }
    Ok(())
}

/// Says why a text that does not begin with `{` is refused.
fn not_an_object(mut cursor: Cursor<'_>) -> Box<Fault> {
    if cursor.rest().is_empty() {
        return Fault::new(Code::EmptyValue, "the value is empty");
    }
    if cursor.rest().starts_with("\u{feff}".as_bytes()) {
        let message =
            "the value begins with a byte order mark, which JSON does not allow; let the producer leave it out";
        return Fault::new(Code::InvalidJson, message);
    }
    let start = cursor.position();
    if let Err(fault) = cursor.skip(0).and_then(|()| cursor.end()) {
        return fault;
    }
    let message = format!("`{}` is not an object: one message is one object", quote(cursor.since(start)));
    Fault::new(Code::NotAnObject, message)
}
