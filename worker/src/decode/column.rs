//! The tree of column builders: one node for each type, made from the declared columns.
//!
//! Every builder can be cut back to an earlier length. So a record that turns out to be bad half-way leaves nothing behind,
//! and a key that stands twice is simply read again.

use arrow::array::ArrayRef;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use sluice_crds::types::HiveType;

use super::cursor::Cursor;
use super::fault::Outcome;
use super::leaf::{Booleans, Bytes, Scalars};
use super::nested::{Lists, Maps};
use super::object::{Member, Structs};
use super::value;

/// The builder of one column, or of a part of one.
#[derive(Debug)]
pub(super) enum Column {
    Boolean(Booleans),
    TinyInt(Scalars<Int8Type>),
    SmallInt(Scalars<Int16Type>),
    Int(Scalars<Int32Type>),
    BigInt(Scalars<Int64Type>),
    Float(Scalars<Float32Type>),
    Double(Scalars<Float64Type>),
    Decimal { values: Scalars<Decimal128Type>, precision: u8, scale: u8 },
    Date(Scalars<Date32Type>),
    Timestamp(Scalars<TimestampMicrosecondType>),
    TimestampNtz(Scalars<TimestampMicrosecondType>),
    String(Bytes),
    Binary(Bytes),
    List(Box<Lists>),
    Map(Box<Maps>),
    Struct(Box<Structs>),
}

/// The same expression for every kind of builder.
macro_rules! each {
    ($column:expr, $builder:ident => $result:expr) => {
        match $column {
            Column::Boolean($builder) => $result,
            Column::TinyInt($builder) => $result,
            Column::SmallInt($builder) => $result,
            Column::Int($builder) => $result,
            Column::BigInt($builder) => $result,
            Column::Float($builder) => $result,
            Column::Double($builder) => $result,
            Column::Decimal { values: $builder, .. } => $result,
            Column::Date($builder) => $result,
            Column::Timestamp($builder) | Column::TimestampNtz($builder) => $result,
            Column::String($builder) | Column::Binary($builder) => $result,
            Column::List($builder) => $result,
            Column::Map($builder) => $result,
            Column::Struct($builder) => $result,
        }
    };
}

impl Column {
    /// A builder for values of this type; the type of map keys that JSON cannot have, if there is such a map in it.
    pub(super) fn new(hive: &HiveType) -> Result<Self, HiveType> {
        Ok(match hive {
            HiveType::Boolean => Self::Boolean(Booleans::new()),
            HiveType::TinyInt => Self::TinyInt(Scalars::new()),
            HiveType::SmallInt => Self::SmallInt(Scalars::new()),
            HiveType::Int => Self::Int(Scalars::new()),
            HiveType::BigInt => Self::BigInt(Scalars::new()),
            HiveType::Float => Self::Float(Scalars::new()),
            HiveType::Double => Self::Double(Scalars::new()),
            HiveType::Decimal { precision, scale } => {
                Self::Decimal { values: Scalars::new(), precision: *precision, scale: *scale }
            }
            HiveType::String => Self::String(Bytes::new()),
            HiveType::Binary => Self::Binary(Bytes::new()),
            HiveType::Date => Self::Date(Scalars::new()),
            HiveType::Timestamp => Self::Timestamp(Scalars::new()),
            HiveType::TimestampNtz => Self::TimestampNtz(Scalars::new()),
            HiveType::Array(element) => Self::List(Box::new(Lists::new(Self::new(element)?))),
            HiveType::Map(key, value) if **key == HiveType::String => Self::Map(Box::new(Maps::new(Self::new(value)?))),
            HiveType::Map(key, _) => return Err((**key).clone()),
            HiveType::Struct(members) => {
                let members: Result<Vec<Member>, HiveType> =
                    members.iter().map(|(name, member)| Ok(Member::new(name, Self::new(member)?, false))).collect();
                Self::Struct(Box::new(Structs::new(members?)))
            }
        })
    }

    /// Reads the value that comes next and appends it. `depth` is how many containers are open around it.
    /// After a fault the column may have grown, and the cursor stands anywhere behind its place.
    #[inline]
    pub(super) fn push(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Outcome<()> {
        if cursor.space() == b'n' {
            cursor.literal("null")?;
            self.push_null();
            return Ok(());
        }
        match self {
            Self::String(column) => column.push_json(cursor, depth)?,
            Self::BigInt(column) => column.push(value::integer(cursor, depth, "bigint")?),
            Self::Double(column) => column.push(value::double(cursor, depth, "double")?),
            Self::Int(column) => column.push(value::integer(cursor, depth, "int")?),
            Self::Boolean(column) => column.push(value::boolean(cursor, depth)?),
            Self::TinyInt(column) => column.push(value::integer(cursor, depth, "tinyint")?),
            Self::SmallInt(column) => column.push(value::integer(cursor, depth, "smallint")?),
            Self::Float(column) => column.push(value::float(cursor, depth)?),
            Self::Decimal { values, precision, scale } => {
                values.push(value::decimal(cursor, depth, *precision, *scale)?);
            }
            Self::Binary(column) => column.push_base64(cursor, depth)?,
            Self::Date(column) => column.push(value::date(cursor, depth)?),
            Self::Timestamp(column) => column.push(value::timestamp(cursor, depth)?),
            Self::TimestampNtz(column) => column.push(value::timestamp_ntz(cursor, depth)?),
            Self::List(column) => column.push(cursor, depth)?,
            Self::Map(column) => column.push(cursor, depth)?,
            Self::Struct(column) => column.push(cursor, depth)?,
        }
        Ok(())
    }

    /// Appends a null.
    pub(super) fn push_null(&mut self) {
        each!(self, column => column.push_null());
    }

    /// Cuts back to a length that the column had before.
    pub(super) fn truncate(&mut self, len: usize) {
        each!(self, column => column.truncate(len));
    }

    /// Gives the values as an array of this type, and is empty again.
    pub(super) fn finish(&mut self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        each!(self, column => column.finish(data_type))
    }
}

/// The builder was asked for an array of a type that it does not build: a fault of the program.
pub(super) fn mismatch(data_type: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("a column builder cannot build {data_type}"))
}
