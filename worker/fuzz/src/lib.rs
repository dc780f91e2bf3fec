//! The decoder's room and what it uses of others, by their own sources (links to `worker/src`), and what must hold for any bytes.
#![allow(dead_code, reason = "a part of a crate")]

pub mod batch;
pub mod decode;
pub mod error;
pub mod schema;

use sluice_crds::plan::ColumnPlan;

use batch::{DecodedBatch, RawBatch};
use decode::Decoder;

/// A column for each kind of builder.
const COLUMNS: [(&str, &str, bool); 17] = [
    ("id", "bigint", false),
    ("text", "string", true),
    ("flag", "boolean", true),
    ("tiny", "tinyint", true),
    ("small", "smallint", true),
    ("int", "int", true),
    ("float", "float", true),
    ("double", "double", true),
    ("money", "decimal(12,2)", true),
    ("big", "decimal(38,10)", true),
    ("day", "date", true),
    ("at", "timestamp", true),
    ("local", "timestamp_ntz", true),
    ("bytes", "binary", true),
    ("list", "array<struct<a:int,b:array<string>>>", true),
    ("map", "map<string,double>", true),
    ("inner", "struct<x:string,y:struct<z:bigint>>", true),
];

/// The neighbours of the bytes.
const GOOD: &[u8] = br#"{"id":1,"text":"a \"good\" one","list":[{"a":1,"b":["x",null]}],"map":{"k":0.5},"inner":{"y":{"z":2}}}"#;

/// A decoder of all columns, with the metadata of records.
pub fn decoder() -> Decoder {
    let columns: Vec<ColumnPlan> = COLUMNS
        .iter()
        .map(|(name, hive, nullable)| ColumnPlan {
            name: (*name).to_owned(),
            type_: hive.parse().expect("a type"),
            nullable: *nullable,
        })
        .collect();
    let needed: Vec<usize> = (0..columns.len()).collect();
    Decoder::new("fuzz", &columns, &needed, true).expect("the columns are good")
}

fn decode(decoder: &mut Decoder, values: &[&[u8]]) -> DecodedBatch {
    let mut raw = RawBatch::new(0);
    for (offset, value) in (0..).zip(values) {
        raw.push(offset, offset, None, Some(value), [("header", Some(*value))]);
    }
    decoder.decode(raw)
}

/// Decodes the bytes between two good records.
///
/// # Panics
/// When the bytes are neither one row nor one refusal, when a neighbour changes, when what is accepted is no object in JSON, and when
/// texts are not UTF-8 (which Arrow checks here once more).
pub fn check(decoder: &mut Decoder, bytes: &[u8]) {
    let batch = decode(decoder, &[GOOD, bytes, GOOD]);
    let accepted = batch.refused.is_empty();
    assert_eq!(batch.origin, if accepted { vec![0, 1, 2] } else { vec![0, 2] });
    assert!(accepted || batch.refused.len() == 1 && batch.refused[0].row == 1, "{:?}", batch.refused);
    let neighbours = decode(decoder, &[GOOD, GOOD]).rows;
    let last = batch.rows.num_rows() - 1;
    // All columns but the last one, which tells offsets.
    for (column, expected) in batch.rows.columns().iter().zip(neighbours.columns()).take(COLUMNS.len()) {
        column.to_data().validate_full().expect("sound arrays");
        assert_eq!((&column.slice(0, 1), &column.slice(last, 1)), (&expected.slice(0, 1), &expected.slice(1, 1)));
    }
    if accepted {
        let text = std::str::from_utf8(bytes).expect("accepted text is UTF-8");
        assert!(text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{'), "{text}");
        // The judge gives up on texts that nest more deeply than it likes; so do we, in the same place or before.
        let judged = serde_json::from_str::<&serde_json::value::RawValue>(text);
        assert!(judged.is_ok(), "{text}: {judged:?}");
    }
}
