//! What was written is read back: types, order, row groups, footers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::record_batch::RecordBatch;
use parquet::basic::Encoding;
use parquet::file::metadata::ParquetMetaData;
use proptest::prelude::*;
use sluice_crds::condition::Reason;
use sluice_crds::plan::ParquetCompression;

use super::world::{BATCH, Settings, World, output, rows, settings};
use crate::error::{Classified, chain};
use crate::ledger::record::{Counts, SourceRange};
use crate::schema::data_type;
use crate::write::{WriteError, hive};

const TYPES: [&str; 20] = [
    "boolean",
    "tinyint",
    "smallint",
    "int",
    "bigint",
    "float",
    "double",
    "decimal(7,2)",
    "decimal(18,4)",
    "decimal(38,10)",
    "string",
    "binary",
    "date",
    "timestamp",
    "timestamp_ntz",
    "array<int>",
    "map<string,double>",
    "struct<a:int,B:string>",
    "array<struct<sku:string,qty:int,tags:array<string>>>",
    "map<string,struct<when:timestamp,more:map<string,array<bigint>>>>",
];

pub(super) fn every_type() -> SchemaRef {
    let fields = TYPES.iter().enumerate().map(|(index, text)| {
        let hive: sluice_crds::types::HiveType = text.parse().unwrap();
        Field::new(format!("c{index}"), data_type(&hive), true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A row in which each column is now and then null, absent values inside of nested ones included.
fn json(row: i64) -> String {
    let (small, text) = (row % 100 - 50, format!("\"text {row}\""));
    let values = [
        (row % 3 == 0).to_string(),
        small.to_string(),
        (row % 30_000).to_string(),
        (row * 7919).to_string(),
        (row * 1_000_003).to_string(),
        format!("{row}.5"),
        format!("{row}.25e-3"),
        format!("\"{}.{:02}\"", row % 1000, row % 100),
        format!("\"-{row}.0001\""),
        format!("\"{row}12345678901234567.0123456789\""),
        text.clone(),
        format!("\"{row:016x}\""),
        format!("\"2026-01-{:02}\"", row % 31 + 1),
        format!("\"2026-01-01T00:00:00.{row:06}Z\""),
        format!("\"2026-01-01T00:00:00.{row:06}\""),
        format!("[{}]", if row % 4 == 0 { String::new() } else { format!("{row},null,{small}") }),
        format!("{{\"a\":{row}.0,\"b\":null}}"),
        format!("{{\"a\":{small},\"B\":{text}}}"),
        format!("[{{\"sku\":{text},\"qty\":{small},\"tags\":[{text},null]}},{{\"qty\":null}},null]"),
        format!("{{\"k\":{{\"when\":\"2026-01-01T00:00:00Z\",\"more\":{{\"x\":[{row}],\"y\":[]}}}},\"n\":null}}"),
    ];
    let mut line = String::from("{");
    for (index, value) in values.iter().enumerate() {
        let value = if (row + index as i64) % 11 == 0 { "null" } else { value };
        write!(line, "{}\"c{index}\":{value}", if index == 0 { "" } else { "," }).unwrap();
    }
    line + "}"
}

pub(super) fn all_rows(count: i64) -> Vec<RecordBatch> {
    let mut decoder = ReaderBuilder::new(every_type()).with_batch_size(1000).build_decoder().unwrap();
    let mut batches = Vec::new();
    for row in 0..count {
        decoder.decode(json(row).as_bytes()).unwrap();
        if row % 1000 == 999 {
            batches.push(decoder.flush().unwrap().unwrap());
        }
    }
    batches
}

#[test]
fn every_type_is_read_back_as_it_was_written() {
    for compression in [ParquetCompression::Snappy, ParquetCompression::Zstd, ParquetCompression::None] {
        let world = World::new(Settings { schema: every_type(), partition_keys: 0, compression, ..settings() });
        let batches = all_rows(12_000);
        let mut lane = world.lane(0);
        for (index, batch) in batches.iter().enumerate() {
            lane.write(output(0, index as i64 * 1000, batch.clone())).unwrap();
        }
        let files = world.finish(lane).files;
        assert_eq!(files.len(), 1);
        let (_, read) = world.read(&files[0]);
        let schema = read[0].schema();
        assert_eq!(schema.fields(), every_type().fields());
        let (written, read) = (concat_batches(&schema, &batches), concat_batches(&schema, &read));
        assert_eq!(written.unwrap(), read.unwrap());
    }
}

fn encodings(metadata: &ParquetMetaData, column: usize) -> Vec<Encoding> {
    metadata.row_groups().iter().flat_map(|group| group.column(column).encodings().collect::<Vec<_>>()).collect()
}

#[test]
fn a_footer_tells_where_its_file_comes_from() {
    let world = World::new(settings());
    let mut lane = world.lane(3);
    for first in (0..200_000).step_by(8000) {
        lane.write(output(5, first, rows(first, vec![Some("07"); 8000]))).unwrap();
    }
    let files = world.finish(lane).files;
    assert_eq!(files[0].sources, [SourceRange { partition: 5, from: 0, to: 200_000 }]);
    assert_eq!(files[0].partition, [("hour".to_owned(), Some("07".to_owned()))]);
    let name = format!("hour=07/part-{BATCH}-3-0.snappy.parquet");
    assert_eq!(files[0].url, world.context.table.url(&name));
    let (metadata, batches) = world.read(&files[0]);
    assert_eq!(batches[0].num_columns(), 2, "the partition key is in the path, not in the file");
    let file = metadata.file_metadata();
    assert_eq!(file.created_by(), Some(concat!("sluice version ", env!("CARGO_PKG_VERSION"))));
    let entries = file.key_value_metadata().unwrap().iter();
    let entries: BTreeMap<_, _> = entries.map(|entry| (entry.key.as_str(), entry.value.as_deref())).collect();
    assert_eq!(entries["sluice.job"], Some("default/orders"));
    assert_eq!(entries["sluice.batch"], Some(BATCH));
    assert_eq!(entries["sluice.topic"], Some("orders"));
    assert_eq!(entries["sluice.sources"], Some(r#"[{"partition":5,"from":0,"to":200000}]"#));
    assert!(encodings(&metadata, 0).contains(&Encoding::DELTA_BINARY_PACKED));
    assert!(encodings(&metadata, 1).contains(&Encoding::DELTA_LENGTH_BYTE_ARRAY));
    let statistics = metadata.row_group(0).column(0).statistics().unwrap();
    assert!(statistics.min_bytes_opt().is_some() && statistics.null_count_opt() == Some(0));
}

#[test]
fn a_row_group_ends_at_its_size() {
    let world = World::new(Settings { row_group_bytes: 256 << 10, ..settings() });
    let mut lane = world.lane(0);
    for first in (0..80_000).step_by(8000) {
        lane.write(output(0, first, rows(first, vec![Some("07"); 8000]))).unwrap();
    }
    let files = world.finish(lane).files;
    let (metadata, _) = world.read(&files[0]);
    assert!(metadata.num_row_groups() > 4, "{}", metadata.num_row_groups());
    for group in &metadata.row_groups()[..metadata.num_row_groups() - 1] {
        // The last page of each column was estimated before it was compressed.
        assert!((128 << 10..=256 << 10).contains(&group.compressed_size()), "{}", group.compressed_size());
    }
}

#[test]
fn a_window_without_rows_has_no_files() {
    let world = World::new(settings());
    let mut lane = world.lane(0);
    let mut batch = output(0, 0, rows(0, vec![Some("07"); 10]));
    batch.rows = batch.rows.slice(0, 0);
    batch.filtered = 10;
    lane.write(batch).unwrap();
    let staged = world.finish(lane);
    assert!(staged.files.is_empty());
    assert_eq!(staged.counts, Counts { read: 10, written: 0, filtered: 10, dead: 0, bytes: 20 });
    assert!(world.finish(world.lane(0)).files.is_empty());
}

#[test]
fn null_has_the_folder_that_readers_take_for_null() {
    let world = World::new(settings());
    let mut lane = world.lane(0);
    lane.write(output(0, 0, rows(0, [None, Some("a/b"), Some("")]))).unwrap();
    let files = world.finish(lane).files;
    let urls: Vec<_> = files.iter().map(|file| file.url.as_str()).collect();
    assert!(urls.iter().any(|url| url.contains("hour=a%2Fb/")), "{urls:?}");
    assert!(urls.iter().any(|url| url.contains(&format!("hour={}/", hive::DEFAULT_PARTITION))), "{urls:?}");
    let table = world.table(&files);
    assert_eq!((&table[&None], &table[&Some("a/b".to_owned())]), (&vec![0, 2], &vec![1]));
}

#[test]
fn a_value_that_is_too_long_for_a_folder_is_an_error_without_a_place_for_its_record() {
    let world = World::new(Settings { dead_letters: false, ..settings() });
    let long = "x".repeat(2000);
    let error = world.lane(0).write(output(0, 7, rows(0, [Some(long.as_str())]))).unwrap_err();
    assert!(matches!(&error, WriteError::Rejected { code: "PartitionValueTooLong", offset: 7, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("refused by write at `hour`") && text.contains("spec.deadLetter"), "{text}");
}

#[test]
fn an_aggregate_whose_value_names_no_folder_is_an_error_that_shows_it() {
    let world = World::new(settings());
    let long = "x".repeat(2000);
    let sources = [SourceRange { partition: 0, from: 0, to: 9 }];
    let error = world.lane(0).write_rows(rows(0, [Some("07"), Some(long.as_str())]), &sources).unwrap_err();
    assert_eq!(error.reason(), Reason::RecordRejected);
    let text = chain(&error);
    assert!(text.contains("aggregate") && text.contains("`hour`") && text.contains("xxxx"), "{text}");
}

#[test]
fn the_output_of_an_aggregate_names_the_ranges_it_was_made_from() {
    let world = World::new(settings());
    let mut lane = world.lane(0);
    let mut read = output(0, 100, rows(0, vec![Some("07"); 50]));
    read.rows = read.rows.slice(0, 0);
    lane.write(read).unwrap();
    let sources = [SourceRange { partition: 0, from: 100, to: 150 }, SourceRange { partition: 1, from: 7, to: 9 }];
    lane.write_rows(rows(0, [Some("07"), Some("08")]), &sources).unwrap();
    lane.write_rows(rows(2, [Some("07")]), &sources).unwrap();
    let staged = world.finish(lane);
    assert_eq!((staged.counts.read, staged.counts.written), (50, 3));
    assert_eq!(staged.files.iter().map(|file| file.rows).sum::<u64>(), 3);
    assert!(staged.files.len() == 2 && staged.files.iter().all(|file| file.sources == sources));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn what_goes_in_comes_out_once_and_in_order(
        batches in proptest::collection::vec((1usize..3000, 1usize..400, any::<bool>()), 1..12),
        budget in prop_oneof![Just(1u64 << 30), 200_000u64..3_000_000],
    ) {
        let world = World::new(Settings { budget, ..settings() });
        let hours: Vec<String> = (0..400).map(|hour| hour.to_string()).collect();
        let mut expected: BTreeMap<Option<String>, Vec<i64>> = BTreeMap::new();
        let mut lane = world.lane(0);
        let mut next = 0;
        for (count, spread, sorted) in batches {
            let hour = |row: usize| if sorted { row * spread / count } else { row * 7919 % spread };
            let batch = rows(next, (0..count).map(|row| Some(hours[hour(row)].as_str())));
            for row in 0..count {
                expected.entry(Some(hours[hour(row)].clone())).or_default().push(next + row as i64);
            }
            lane.write(output(0, next, batch)).unwrap();
            next += count as i64;
        }
        let staged = world.finish(lane);
        prop_assert_eq!(staged.counts.written, next as u64);
        prop_assert_eq!(world.table(&staged.files), expected);
        prop_assert_eq!(world.held_at_rest(), 0);
    }
}
