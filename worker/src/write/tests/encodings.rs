//! Which encodings files have, for readers of each kind.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::column::page::Page;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;
use sluice_crds::plan::ParquetCompatibility;

use super::round_trip::{all_rows, every_type};
use super::world::{Settings, World, output, settings};

/// Rows that fill the dictionaries of all columns whose values are distinct.
const ROWS: i64 = 40_000;

/// The file that such a sink writes of rows of every type.
fn file(compatibility: ParquetCompatibility, batches: &[RecordBatch]) -> Bytes {
    let world = World::new(Settings { schema: every_type(), partition_keys: 0, compatibility, ..settings() });
    let mut lane = world.lane(0);
    for (index, batch) in batches.iter().enumerate() {
        lane.write(output(0, index as i64 * 1000, batch.clone())).unwrap();
    }
    let files = world.finish(lane).files;
    assert_eq!(files.len(), 1);
    let (_, read) = world.read(&files[0]);
    let schema = read[0].schema();
    assert_eq!(concat_batches(&schema, &read).unwrap(), concat_batches(&schema, batches).unwrap());
    world.bytes(&world.context.table, &files[0])
}

/// The encodings of the values of each leaf, from its pages themselves. All of them must be pages that every reader knows.
fn pages(file: Bytes) -> (Arc<SchemaDescriptor>, Vec<BTreeSet<String>>) {
    let reader = SerializedFileReader::new(file).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut leaves = vec![BTreeSet::new(); schema.num_columns()];
    for group in (0..reader.num_row_groups()).map(|group| reader.get_row_group(group).unwrap()) {
        for (leaf, encodings) in leaves.iter_mut().enumerate() {
            for page in group.get_column_page_reader(leaf).unwrap() {
                match page.unwrap() {
                    Page::DataPage { encoding, .. } => drop(encodings.insert(encoding.to_string())),
                    Page::DictionaryPage { encoding, .. } => assert_eq!(encoding, Encoding::PLAIN),
                    Page::DataPageV2 { .. } => panic!("a page of version 2 in leaf {leaf}"),
                }
            }
        }
    }
    (schema, leaves)
}

#[test]
fn values_behind_a_full_dictionary_are_delta_encoded_or_plain_for_legacy_readers() {
    let batches = all_rows(ROWS);
    let (schema, current) = pages(file(ParquetCompatibility::Current, &batches));
    let (_, legacy) = pages(file(ParquetCompatibility::Legacy, &batches));
    let mut full = BTreeSet::new();
    for (leaf, (current, legacy)) in current.iter().zip(&legacy).enumerate() {
        let column = schema.column(leaf);
        let after = match column.physical_type() {
            PhysicalType::BYTE_ARRAY => "DELTA_LENGTH_BYTE_ARRAY",
            PhysicalType::INT32 | PhysicalType::INT64 => "DELTA_BINARY_PACKED",
            _ => "PLAIN",
        };
        let name = column.path();
        assert!(legacy.iter().all(|it| ["RLE_DICTIONARY", "PLAIN"].contains(&it.as_str())), "{name}: {legacy:?}");
        assert!(current.iter().all(|it| ["RLE_DICTIONARY", after].contains(&it.as_str())), "{name}: {current:?}");
        assert_eq!(
            current.contains(after),
            legacy.contains("PLAIN"),
            "{name}: a dictionary is full in both or in none"
        );
        if current.contains(after) {
            full.insert(after);
        }
    }
    assert_eq!(full.len(), 3, "the rows fill dictionaries of strings, of integers and of others: {full:?}");
}
