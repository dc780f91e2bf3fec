//! Reading what a job wrote, as any reader of a folder of files does.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use arrow::array::AsArray as _;
use arrow::datatypes::{Int32Type, Int64Type};
use bytes::Bytes;
use object_store::path::Path as Key;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::bucket::Bucket;
use crate::produce::Place;

/// The column with the Kafka partition of a row, in the tables of test jobs.
pub const PARTITION_COLUMN: &str = "p";
/// The column with the Kafka offset of a row, in the tables of test jobs.
pub const OFFSET_COLUMN: &str = "o";

/// The column that names the plan of a row, in the tables of test jobs.
const STAMP_COLUMN: &str = "stamp";

/// Is this a file of the table? Readers skip names that begin with a dot or an underscore, folders included.
pub fn is_visible(key: &Key) -> bool {
    !key.parts().any(|part| part.as_ref().starts_with(['.', '_']))
}

/// The places that the rows of a Parquet file name, in the file's order.
pub fn places(content: Bytes) -> Result<Vec<Place>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content).context("it is not a whole Parquet file")?;
    let schema = builder.parquet_schema();
    let mask = ProjectionMask::columns(schema, [PARTITION_COLUMN, OFFSET_COLUMN]);
    let mut places = Vec::new();
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let column = |name| batch.column_by_name(name).with_context(|| format!("it has no column {name}"));
        let partitions = column(PARTITION_COLUMN)?.as_primitive_opt::<Int32Type>().context("p is not an int")?;
        let offsets = column(OFFSET_COLUMN)?.as_primitive_opt::<Int64Type>().context("o is not a bigint")?;
        places.extend(partitions.values().iter().copied().zip(offsets.values().iter().copied()));
    }
    Ok(places)
}

/// All places in the table below a prefix, each with how often it stands there.
pub async fn all_places(bucket: &Bucket, prefix: &str) -> Result<BTreeMap<Place, usize>> {
    let mut found = BTreeMap::new();
    for object in bucket.list(prefix).await? {
        let key = object.location;
        if is_visible(&key) {
            let rows = places(bucket.get(&key).await?).with_context(|| format!("cannot read {key}"))?;
            for place in rows {
                *found.entry(place).or_default() += 1;
            }
        }
    }
    Ok(found)
}

/// All rows in the table below a prefix: the place of each, and what its column `stamp` says.
pub async fn all_stamps(bucket: &Bucket, prefix: &str) -> Result<BTreeMap<Place, String>> {
    let mut found = BTreeMap::new();
    for object in bucket.list(prefix).await?.into_iter().filter(|object| is_visible(&object.location)) {
        let content = bucket.get(&object.location).await?;
        let rows = places(content.clone())?.into_iter().zip(stamps(content)?);
        found.extend(rows);
    }
    Ok(found)
}

fn stamps(content: Bytes) -> Result<Vec<String>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(content)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [STAMP_COLUMN]);
    let mut stamps = Vec::new();
    for batch in builder.with_projection(mask).build()? {
        let batch = batch?;
        let texts = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        stamps.extend(texts.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()));
    }
    Ok(stamps)
}

/// All dead letters below a prefix, in no order.
pub async fn dead_letters(bucket: &Bucket, prefix: &str) -> Result<Vec<serde_json::Value>> {
    let mut letters = Vec::new();
    for object in bucket.list(prefix).await? {
        let key = object.location;
        if !is_visible(&key) {
            continue;
        }
        for line in bucket.get(&key).await?.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            letters.push(serde_json::from_slice(line).with_context(|| format!("a line of {key} is not JSON"))?);
        }
    }
    Ok(letters)
}

/// Where a dead letter came from.
pub fn place_of(letter: &serde_json::Value) -> Result<Place> {
    let number =
        |field: &str| letter[field].as_i64().with_context(|| format!("a dead letter has no {field}: {letter}"));
    let partition = number("partition")?;
    ensure!(i32::try_from(partition).is_ok(), "a dead letter has the partition {partition}");
    Ok((partition as i32, number("offset")?))
}
