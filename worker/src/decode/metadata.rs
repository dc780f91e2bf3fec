//! The struct column `_kafka`: where a record came from, and what it carried beside its value.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use sluice_crds::plan::ColumnPlan;
use sluice_crds::types::HiveType;

use super::column::mismatch;
use super::fault::Outcome;
use super::leaf::{Bytes, Offsets, Scalars};
use crate::batch::RawRecord;

/// The name of the column. No declared column may have it.
pub(super) const NAME: &str = "_kafka";

/// The column as it would be declared. The struct itself is never null.
pub(super) fn column() -> ColumnPlan {
    let header = HiveType::Struct(vec![("key".into(), HiveType::String), ("value".into(), HiveType::Binary)]);
    let members = [
        ("topic", HiveType::String),
        ("partition", HiveType::Int),
        ("offset", HiveType::BigInt),
        ("timestamp", HiveType::Timestamp),
        ("key", HiveType::Binary),
        ("headers", HiveType::Array(Box::new(header))),
    ];
    let members = members.into_iter().map(|(name, member)| (name.to_owned(), member)).collect();
    ColumnPlan { name: NAME.to_owned(), type_: HiveType::Struct(members), nullable: false }
}

/// The builder of the column.
#[derive(Debug)]
pub(super) struct Metadata {
    topic: String,
    topics: Bytes,
    partitions: Scalars<Int32Type>,
    offsets: Scalars<Int64Type>,
    timestamps: Scalars<TimestampMicrosecondType>,
    keys: Bytes,
    headers: Offsets,
    header_keys: Bytes,
    header_values: Bytes,
}

impl Metadata {
    pub(super) fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            topics: Bytes::new(),
            partitions: Scalars::new(),
            offsets: Scalars::new(),
            timestamps: Scalars::new(),
            keys: Bytes::new(),
            headers: Offsets::new(),
            header_keys: Bytes::new(),
            header_values: Bytes::new(),
        }
    }

    /// Appends what is known of a record. A record without a time has a null there; without headers it has an empty list.
    pub(super) fn push(&mut self, partition: i32, record: &RawRecord<'_>) -> Outcome<()> {
        self.topics.push(self.topic.as_bytes())?;
        self.partitions.push(partition);
        self.offsets.push(record.offset);
        match record.timestamp.checked_mul(1000).filter(|micros| *micros >= 0) {
            Some(micros) => self.timestamps.push(micros),
            None => self.timestamps.push_null(),
        }
        self.keys.push_option(record.key)?;
        for (key, value) in record.headers() {
            self.header_keys.push(key.as_bytes())?;
            self.header_values.push_option(value)?;
        }
        self.headers.push(self.header_keys.len())
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.topics.truncate(len);
        self.partitions.truncate(len);
        self.offsets.truncate(len);
        self.timestamps.truncate(len);
        self.keys.truncate(len);
        let headers = self.headers.truncate(len);
        self.header_keys.truncate(headers);
        self.header_values.truncate(headers);
    }

    /// Gives the column as an array of this type, and is empty again.
    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let fields = members(data_type)?;
        let [topic, partition, offset, timestamp, key, headers] = fields.as_ref() else {
            return Err(mismatch(data_type));
        };
        let columns = vec![
            self.topics.finish(topic.data_type())?,
            self.partitions.finish(partition.data_type())?,
            self.offsets.finish(offset.data_type())?,
            self.timestamps.finish(timestamp.data_type())?,
            self.keys.finish(key.data_type())?,
            self.finish_headers(headers)?,
        ];
        Ok(Arc::new(StructArray::try_new(fields.clone(), columns, None)?))
    }

    fn finish_headers(&mut self, field: &Field) -> Result<ArrayRef, ArrowError> {
        let DataType::List(element) = field.data_type() else { return Err(mismatch(field.data_type())) };
        let fields = members(element.data_type())?;
        let [key, value] = fields.as_ref() else { return Err(mismatch(element.data_type())) };
        let columns = vec![self.header_keys.finish(key.data_type())?, self.header_values.finish(value.data_type())?];
        let inner = StructArray::try_new(fields.clone(), columns, None)?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(element), self.headers.finish(), Arc::new(inner), None)?))
    }
}

fn members(data_type: &DataType) -> Result<&Fields, ArrowError> {
    match data_type {
        DataType::Struct(fields) => Ok(fields),
        _ => Err(mismatch(data_type)),
    }
}
