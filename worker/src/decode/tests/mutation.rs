//! Records that were damaged at random: nothing panics, no neighbour changes, and what is accepted is JSON.

use rand::Rng;
use rand::seq::IndexedRandom;
use sluice_crds::plan::ColumnPlan;

use super::super::Decoder;
use super::oracle::Generator;
use super::{columns, decode, raw};

/// Pieces that turn one kind of value, or of error, into another.
const PIECES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e400",
    "1.5",
    "01",
    "1.",
    "\"\"",
    "\"a\"",
    "\"\\u0041\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "{}",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "\u{0}",
    "é",
    "\"column_0\":",
    "\"column_1\":1,",
    "\"m0\":",
    "\"k0\":",
    "12345678901234567890",
    "\"NaN\"",
    "\"2026-01-01\"",
];

fn damage(generator: &mut Generator, text: &str, other: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let random = &mut generator.random;
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..12)).min(bytes.len());
        match random.random_range(0..8) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            4 => {
                let from = random.random_range(0..=other.len());
                let to = random.random_range(from..=other.len());
                bytes.splice(at..end, other.as_bytes()[from..to].iter().copied());
            }
            _ => {
                let piece = PIECES.choose(random).expect("not empty").bytes();
                // Whole values are exchanged more often than parts of them.
                let end = if random.random() { value_end(&bytes, at) } else { end };
                bytes.splice(at..end.max(at), piece);
            }
        }
    }
    bytes
}

/// The end of what looks like a scalar at `at`.
fn value_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| b",:]}".contains(byte)).map_or(bytes.len(), |length| at + length)
}

/// Is it an object in JSON? `None` where `serde_json` has limits that RFC 8259 does not have.
fn referee(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        Ok(value) => Some(value.is_object()),
        Err(error) if error.to_string().starts_with("number out of range") => None,
        Err(error) if error.to_string().starts_with("recursion limit") => None,
        Err(_) => Some(false),
    }
}

fn all_of(columns: &[ColumnPlan]) -> Decoder {
    let needed: Vec<usize> = (0..columns.len()).collect();
    Decoder::new("orders", columns, &needed, true).expect("the columns are good")
}

/// One schema, one batch of damaged records.
fn check(seed: u64, records: usize) -> usize {
    let mut generator = Generator::new(seed);
    let mut declared = generator.columns();
    for column in &mut declared {
        column.nullable = generator.random.random_bool(0.8);
    }
    let good = |generator: &mut Generator| {
        generator.object(declared.iter().map(|column| (column.name.as_str(), &column.type_)))
    };
    let texts: Vec<Vec<u8>> = (0..records)
        .map(|_| {
            let (text, other) = (good(&mut generator), good(&mut generator));
            if generator.random.random_bool(0.2) { text.into_bytes() } else { damage(&mut generator, &text, &other) }
        })
        .collect();

    let mut typed = all_of(&declared);
    let batch = decode(&mut typed, raw(&texts));
    for column in batch.rows.columns() {
        column.to_data().validate_full().expect("the array is sound");
    }
    let accepted: Vec<&Vec<u8>> = batch.origin.iter().map(|row| &texts[*row as usize]).collect();
    for text in &accepted {
        assert_ne!(referee(text), Some(false), "seed {seed}: accepted {:?}", String::from_utf8_lossy(text));
    }
    // The good ones alone give the same rows, but for their offsets, which the last column tells.
    let alone = decode(&mut typed, raw(&accepted));
    assert_eq!(alone.refused, [], "seed {seed}");
    assert_eq!(alone.rows.columns()[..declared.len()], batch.rows.columns()[..declared.len()], "seed {seed}");
    // Each bad one alone is refused for the same reason: nothing depends on what was read before.
    let mut fresh = all_of(&declared);
    for refused in &batch.refused {
        let text = &texts[refused.row as usize];
        let again = decode(&mut fresh, raw([text]));
        assert_eq!(again.refused.first().map(|refused| &refused.error), Some(&refused.error), "seed {seed}");
    }
    // Where types cannot be wrong, exactly the JSON objects are accepted.
    let names: Vec<(&str, &str)> = declared.iter().step_by(2).map(|column| (column.name.as_str(), "string")).collect();
    let batch = decode(&mut all_of(&columns(&names)), raw(&texts));
    for (row, text) in (0u32..).zip(&texts) {
        if let Some(expected) = referee(text) {
            let found = batch.origin.binary_search(&row).is_ok();
            assert_eq!(found, expected, "seed {seed}: {:?}", String::from_utf8_lossy(text));
        }
    }
    accepted.len()
}

#[test]
fn damaged_records_are_refused_alone_and_what_is_accepted_is_json() {
    let wanted: usize = std::env::var("SLUICE_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let records = 200;
    let mut accepted = 0;
    for seed in 0..wanted.div_ceil(records) as u64 {
        accepted += check(seed, records);
    }
    // Both ways must be walked often, or the test proves little.
    println!("{accepted} of {wanted} damaged records are still good");
    assert!(accepted > wanted / 10 && accepted < wanted * 9 / 10);
}
