//! The promises of the transforms. Further tables are in the files of this folder.

mod aggregates;
mod confinement;
mod failures;
mod messages;
mod planned;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use sluice_crds::plan::{
    ColumnPlan, Location, ParquetCompatibility, ParquetCompression, SinkFormat, SinkPlan, TransformStep,
};

use super::{Transform, TransformError};
use crate::batch::{DecodedBatch, OutputBatch, RawBatch};

const MEMORY: usize = 64 * 1024 * 1024;

/// Columns in the form `name type`, `name type not null`.
fn columns(text: &[&str]) -> Vec<ColumnPlan> {
    let column = |text: &&str| {
        let (name, rest) = text.split_once(' ').expect("name type");
        let type_ = rest.trim_end_matches(" not null");
        ColumnPlan { name: name.to_owned(), type_: type_.parse().expect("type"), nullable: type_ == rest }
    };
    text.iter().map(column).collect()
}

fn source(text: &[&str]) -> SchemaRef {
    crate::schema::arrow_schema(&columns(text))
}

fn sink(text: Option<&[&str]>, keys: &[&str]) -> SinkPlan {
    SinkPlan {
        location: Location { url: "file:///lake/".to_owned(), s3: None },
        format: SinkFormat::Parquet {
            compression: ParquetCompression::Snappy,
            row_group_bytes: 1 << 27,
            compatibility: ParquetCompatibility::Current,
        },
        columns: text.map(columns),
        partition_keys: columns(keys),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn filter(text: &str) -> TransformStep {
    TransformStep::Filter(text.to_owned())
}

fn derive(pairs: &[(&str, &str)]) -> TransformStep {
    TransformStep::Derive(map(pairs))
}

fn sql(text: &str) -> TransformStep {
    TransformStep::Sql { query: text.to_owned(), batch_scope: false }
}

fn batch_sql(text: &str) -> TransformStep {
    TransformStep::Sql { query: text.to_owned(), batch_scope: true }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn plan_with(
    source: &SchemaRef,
    steps: &[TransformStep],
    parameters: &[(&str, &str)],
    sink: &SinkPlan,
) -> Result<Transform, TransformError> {
    Transform::plan(Arc::clone(source), steps, &map(parameters), sink, MEMORY).await
}

/// Plans for a sink that takes what comes.
async fn plan(source: &SchemaRef, steps: &[TransformStep]) -> Result<Transform, TransformError> {
    plan_with(source, steps, &[], &sink(None, &[])).await
}

/// Rows of the source as if they had been decoded, with the columns that the plan needs.
fn decoded(transform: &Transform, rows: &RecordBatch) -> DecodedBatch {
    let mut raw = RawBatch::new(0);
    (0..rows.num_rows()).for_each(|row| raw.push(row as i64, 0, None, Some(b"{}"), []));
    let rows = rows.project(transform.needed_columns()).expect("needed columns");
    let origin = (0..rows.num_rows() as u32).collect();
    DecodedBatch { raw, rows, origin, refused: Vec::new() }
}

fn window() -> jiff::Timestamp {
    "2026-03-04T05:06:07.000008Z".parse().expect("time")
}

fn run(transform: &Transform, rows: &RecordBatch) -> OutputBatch {
    let output = transform.rows(window()).expect("row program").apply(decoded(transform, rows));
    if transform.batch_part().is_none() {
        assert_eq!(output.rows.schema(), transform.output_schema());
        let accounted = output.rows.num_rows() + output.refused.len() + output.filtered as usize;
        assert_eq!(accounted, output.raw.len(), "every record is a row, filtered or refused");
    }
    assert_eq!(output.origin.len(), output.rows.num_rows(), "every row has its record");
    output
}

/// `id`, `a`, `b` bigint; `s` string; `d` double.
fn numbers() -> SchemaRef {
    source(&["id bigint", "a bigint", "b bigint", "s string", "d double"])
}

fn number_rows(a: &[Option<i64>], b: &[Option<i64>]) -> RecordBatch {
    let id: Int64Array = (0..a.len() as i64).collect();
    let s: StringArray = (0..a.len()).map(|row| Some(format!("s{row}"))).collect();
    let d: Float64Array = (0..a.len()).map(|row| Some(row as f64 / 2.0)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(id),
        Arc::new(a.iter().copied().collect::<Int64Array>()),
        Arc::new(b.iter().copied().collect::<Int64Array>()),
        Arc::new(s),
        Arc::new(d),
    ];
    RecordBatch::try_new(numbers(), columns).expect("rows")
}

fn some_rows() -> RecordBatch {
    number_rows(&[Some(1), Some(2), None, Some(4)], &[Some(10), Some(20), Some(30), None])
}

/// The rows as text, `a=1 b=x` each.
fn text(rows: &RecordBatch) -> Vec<String> {
    let schema = rows.schema();
    let cell = |row: usize, (field, column): (&Arc<Field>, &ArrayRef)| {
        let value = if column.is_null(row) { "null".to_owned() } else { super::cast::show(column, row) };
        format!("{}={value}", field.name())
    };
    (0..rows.num_rows())
        .map(|row| {
            schema.fields().iter().zip(rows.columns()).map(|cells| cell(row, cells)).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

async fn refused(source: &SchemaRef, steps: &[TransformStep]) -> String {
    match plan(source, steps).await {
        Ok(_) => panic!("{steps:?} was planned"),
        Err(error) => crate::error::chain(&error),
    }
}
