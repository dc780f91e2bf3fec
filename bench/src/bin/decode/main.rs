//! `decode [NAME…]`: our decoder beside arrow-json, on records in memory, one thread; only shapes whose names contain one of the
//! words. Prints JSON.
//!
//! Both give a batch for every 8192 records, with the columns that the job of the shape uses, and the batches must be equal. They take
//! turns batch by batch, on memory that was used before, as in a worker; what a batch came from is freed outside of the time. The median
//! of some rounds over all records counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use arrow::json::ReaderBuilder;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use serde_json::value::RawValue;
use sluice_bench::results::{Decoded, median};
use sluice_bench::shapes::{self, Shape};
use sluice_crds::plan::ColumnPlan;
use sluice_worker::batch::RawBatch;
use sluice_worker::decode::{Decoder, source_schema};

const RECORDS: u64 = 200_000;
const BATCH: usize = 8192;
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    const SHAPES: [&str; 7] =
        ["sample", "100 columns", "nested", "2 KB records", "tiny records", "non-ASCII text", "3 of 50 fields"];
    let words: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut rows = Vec::new();
    for shape in shapes::all() {
        // The others have the records of the sample.
        if SHAPES.contains(&shape.name) && wanted(shape.name) {
            let values = values(&shape);
            rows.push(compare(shape.name, &shape, &values)?);
            if ["sample", "nested"].contains(&shape.name) {
                let name = format!("{}, keys in random order", shape.name);
                rows.push(compare(&name, &shape, &shuffled(&values)?)?);
            }
        }
    }
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&rows)?)?)
}

fn values(shape: &Shape) -> Vec<Vec<u8>> {
    let mut values = Vec::new();
    let few = shape.clone().with_records(RECORDS);
    let Ok(()) = few.generate(7, |_, value, _| {
        values.push(value.to_vec());
        Ok::<(), Infallible>(())
    });
    values
}

/// The same records with the members of each object, the inner ones too, in an order of their own.
fn shuffled(values: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let mut random = StdRng::seed_from_u64(7);
    values.iter().map(|value| Ok(shuffle(std::str::from_utf8(value)?, &mut random)?.into_bytes())).collect()
}

fn shuffle(text: &str, random: &mut StdRng) -> Result<String> {
    let inner = |raw: &RawValue, random: &mut StdRng| shuffle(raw.get(), random);
    if text.starts_with('{') {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
        let mut members: Vec<_> = members.iter().collect();
        members.shuffle(random);
        let members = members.into_iter().map(|(name, value)| Ok(format!("{name:?}:{}", inner(value, random)?)));
        return Ok(format!("{{{}}}", members.collect::<Result<Vec<_>>>()?.join(",")));
    }
    if text.starts_with('[') {
        let elements: Vec<Box<RawValue>> = serde_json::from_str(text)?;
        let elements = elements.iter().map(|value| inner(value, random)).collect::<Result<Vec<_>>>()?;
        return Ok(format!("[{}]", elements.join(",")));
    }
    Ok(text.to_owned())
}

/// The columns that the job of a shape uses.
fn used(shape: &Shape) -> Result<Vec<ColumnPlan>> {
    let column = |(name, hive): &(String, String)| {
        let type_ = hive.parse().with_context(|| format!("the type {hive}"))?;
        Ok(ColumnPlan { name: name.clone(), type_, nullable: true })
    };
    let is_used = |name: &str| match shape.name {
        "3 of 50 fields" => ["t", "field_10", "field_31"].contains(&name),
        _ => name != "metadata",
    };
    shape.source.iter().filter(|(name, _)| is_used(name)).map(column).collect()
}

fn compare(name: &str, shape: &Shape, values: &[Vec<u8>]) -> Result<Decoded> {
    let columns = used(shape)?;
    let needed: Vec<usize> = (0..columns.len()).collect();
    let mut ours = Decoder::new("bench", &columns, &needed, false)?;
    let mut theirs = ReaderBuilder::new(source_schema(&columns, false)).with_batch_size(BATCH).build_decoder()?;
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut our_time, mut their_time) = (Duration::ZERO, Duration::ZERO);
        for chunk in values.chunks(BATCH) {
            let raw = raw(chunk);
            let start = Instant::now();
            let decoded = ours.decode(raw);
            our_time += start.elapsed();
            let start = Instant::now();
            for value in chunk {
                theirs.decode(value)?;
            }
            let expected = theirs.flush()?.context("a batch without rows")?;
            their_time += start.elapsed();
            ensure!(decoded.rows == expected, "the batches of {name} differ");
        }
        our_times.push(our_time.as_secs_f64());
        their_times.push(their_time.as_secs_f64());
    }
    let each = |times: Vec<f64>| median(times) * 1e9 / values.len() as f64;
    let bytes: usize = values.iter().map(Vec::len).sum();
    Ok(Decoded {
        records: name.to_owned(),
        ours: each(our_times),
        arrow_json: each(their_times),
        bytes: bytes as f64 / values.len() as f64,
    })
}

fn raw(values: &[Vec<u8>]) -> RawBatch {
    let bytes = values.iter().map(Vec::len).sum();
    let mut raw = RawBatch::with_capacity(0, values.len(), bytes);
    for (offset, value) in (0..).zip(values) {
        raw.push(offset, 0, None, Some(value), []);
    }
    raw
}
