//! Hive types as Arrow types. Parquet follows from Arrow; docs/types.md has the whole table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use sluice_crds::plan::ColumnPlan;
use sluice_crds::types::HiveType;

/// The Arrow type that holds a Hive type.
pub fn data_type(hive: &HiveType) -> DataType {
    match hive {
        HiveType::Boolean => DataType::Boolean,
        HiveType::TinyInt => DataType::Int8,
        HiveType::SmallInt => DataType::Int16,
        HiveType::Int => DataType::Int32,
        HiveType::BigInt => DataType::Int64,
        HiveType::Float => DataType::Float32,
        HiveType::Double => DataType::Float64,
        HiveType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale as i8),
        HiveType::String => DataType::Utf8,
        HiveType::Binary => DataType::Binary,
        HiveType::Date => DataType::Date32,
        HiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        HiveType::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
        // "element" and "key_value" are the names that the Parquet format gives to the inner groups.
        HiveType::Array(element) => DataType::List(Arc::new(Field::new("element", data_type(element), true))),
        HiveType::Map(key, value) => {
            let entries = Fields::from(vec![
                Field::new("key", data_type(key), false),
                Field::new("value", data_type(value), true),
            ]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false)
        }
        HiveType::Struct(members) => {
            DataType::Struct(members.iter().map(|(name, member)| Field::new(name, data_type(member), true)).collect())
        }
    }
}

/// The Arrow schema of declared columns.
pub fn arrow_schema<'a>(columns: impl IntoIterator<Item = &'a ColumnPlan>) -> SchemaRef {
    let fields: Vec<Field> =
        columns.into_iter().map(|column| Field::new(&column.name, data_type(&column.type_), column.nullable)).collect();
    Arc::new(Schema::new(fields))
}
