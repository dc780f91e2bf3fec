//! The last projection: the sink's columns, then its partition keys, by exact name and without loss.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use sluice_crds::plan::SinkPlan;

use super::cast::{can_cast, type_name};
use super::error::{TransformError, did_you_mean};
use super::lossless::lossless;
use super::steps::uncastable;
use crate::schema::data_type;

/// A plan whose rows are the sink's, and their schema.
pub(super) fn fit(plan: LogicalPlan, sink: &SinkPlan) -> Result<(LogicalPlan, SchemaRef), TransformError> {
    let yielded = plan.schema().fields().clone();
    let wanted = wanted(&yielded, sink)?;
    let (mut expressions, mut problems) = (Vec::new(), Vec::new());
    for field in &wanted {
        let Some((index, from)) = yielded.find(field.name()) else { continue };
        let column = Expr::Column(Column::from(plan.schema().qualified_field(index)));
        let required = from.is_nullable() && !field.is_nullable();
        let expression = if from.data_type() == field.data_type() && !required {
            column
        } else if can_cast(from.data_type(), field.data_type()) {
            lossless(column, field.name(), field.data_type(), required)
        } else {
            problems.push(uncastable(field.name(), &type_name(from.data_type()), &type_name(field.data_type())));
            continue;
        };
        expressions.push(expression.alias(field.name()));
    }
    if !problems.is_empty() {
        return Err(TransformError::SinkTypes(problems.join("; ")));
    }
    let plan = LogicalPlanBuilder::from(plan)
        .project(expressions)
        .and_then(LogicalPlanBuilder::build)
        .map_err(|error| TransformError::Plan(Box::new(error)))?;
    Ok((plan, Arc::new(Schema::new(wanted))))
}

/// The sink's fields; the names are known to be among what the plan yields.
fn wanted(yielded: &Fields, sink: &SinkPlan) -> Result<Vec<Field>, TransformError> {
    let names: Vec<&str> = yielded.iter().map(|field| field.name().as_str()).collect();
    let declared = |columns: &[sluice_crds::plan::ColumnPlan]| -> Vec<Field> {
        columns.iter().map(|column| Field::new(&column.name, data_type(&column.type_), column.nullable)).collect()
    };
    let keys = declared(&sink.partition_keys);
    let mut wanted = match &sink.columns {
        Some(columns) => declared(columns),
        None => yielded
            .iter()
            .filter(|field| keys.iter().all(|key| key.name() != field.name()))
            .map(stored)
            .collect::<Result<_, _>>()?,
    };
    wanted.extend(keys);
    let missing: Vec<String> = wanted
        .iter()
        .filter(|field| !names.contains(&field.name().as_str()))
        .map(|field| match did_you_mean(field.name(), &names) {
            Some(near) => format!("`{}` (there is `{near}`)", field.name()),
            None => format!("`{}`", field.name()),
        })
        .collect();
    let extra: Vec<String> = names
        .iter()
        .filter(|name| wanted.iter().all(|field| field.name() != *name))
        .map(|name| format!("`{name}`"))
        .collect();
    let mut problems = Vec::new();
    if !missing.is_empty() {
        problems
            .push(format!("they do not yield {}: derive or rename, or take them out of the sink", missing.join(", ")));
    }
    if !extra.is_empty() {
        problems.push(format!("the sink does not declare {}: drop them, or declare them", extra.join(", ")));
    }
    if problems.is_empty() { Ok(wanted) } else { Err(TransformError::SinkColumns(problems.join("; "))) }
}

/// A column of a sink that declares none: what the plan yields, in the type that holds it in a file.
fn stored(field: &FieldRef) -> Result<Field, TransformError> {
    match stored_type(field.data_type()) {
        Some(data_type) => Ok(Field::new(field.name(), data_type, field.is_nullable())),
        None => Err(TransformError::SinkTypes(format!(
            "no column type holds `{}` of type {}; derive it with a CAST",
            field.name(),
            field.data_type()
        ))),
    }
}

fn stored_type(data_type: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Dictionary, FixedSizeBinary,
        Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeUtf8, List, Map, Struct, Timestamp,
        UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    Some(match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8 | Binary | Date32 => data_type.clone(),
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Float16 => Float32,
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) if *scale >= 0 => {
            Decimal128(*precision, *scale)
        }
        Date64 | Timestamp(_, None) => Timestamp(TimeUnit::Microsecond, None),
        Timestamp(_, Some(_)) => Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Dictionary(_, value) => stored_type(value)?,
        Struct(members) => {
            let members: Option<Fields> = members
                .iter()
                .map(|member| Some(Field::new(member.name(), stored_type(member.data_type())?, true)))
                .collect();
            Struct(members?)
        }
        Map(entries, _) => {
            let Struct(pair) = entries.data_type() else { return None };
            let (key, value) = (pair.first()?, pair.get(1)?);
            let pair = Fields::from(vec![
                Field::new("key", stored_type(key.data_type())?, false),
                Field::new("value", stored_type(value.data_type())?, true),
            ]);
            Map(Arc::new(Field::new("key_value", Struct(pair), false)), false)
        }
        other => {
            let element = super::cast::element(other)?;
            List(Arc::new(Field::new("element", stored_type(element)?, true)))
        }
    })
}
