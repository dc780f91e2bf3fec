//! Records that were damaged at random: nothing panics, no neighbour changes, what is accepted is JSON, and its values are
//! those that arrow-json reads. Where it reads other ones, or none, or reads what is refused here, one of the rules of the module's
//! documentation says why, and how often is counted: no exception may swallow what it was not made for.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use rand::Rng;
use rand::seq::IndexedRandom;
use sluice_crds::plan::ColumnPlan;

use super::super::{Decoder, source_schema};
use super::oracle::Generator;
use super::respelt::{self, Respelt};
use super::rules::broken;
use super::{columns, decode, raw};
use crate::batch::DecodedBatch;

/// Pieces that turn one kind of value, or of error, into another.
const PIECES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1e400",
    "1.5",
    "-0.0",
    "7.0",
    "1.25e2",
    "9007199254740993.0",
    "1.00000005960464477539062500000001",
    "01",
    "1.",
    "\"\"",
    "\"a\"",
    "\"\\u0041\"",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud840\\udc0b\"",
    "\\ud869\\uded6",
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
    "\"Infinity\"",
    "\"2026-01-01\"",
    "\"2026-01-01T00:00Z\"",
    "\"2026-01-01T00:00:00.123456789\"",
];

fn damage(generator: &mut Generator, text: &str, other: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let random = &mut generator.random;
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let end = (at + random.random_range(0..12)).min(bytes.len());
        match random.random_range(0..12) {
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
            5..=7 => {
                let piece = PIECES.choose(random).expect("not empty").bytes();
                let end = if random.random() { value_end(&bytes, at) } else { end };
                bytes.splice(at..end.max(at), piece);
            }
            // Whole values are exchanged more often than parts of them: what is still JSON tells more.
            _ => {
                let at =
                    bytes[at..].iter().position(|byte| b":[".contains(byte)).map_or(bytes.len(), |gap| at + gap + 1);
                let end = value_end(&bytes, at);
                bytes.splice(at..end, PIECES.choose(random).expect("not empty").bytes());
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
        // It stops at such a number, and what follows may be no JSON.
        Err(error) if error.to_string().starts_with("number out of range") => {
            serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_err().then_some(false)
        }
        Err(error) if error.to_string().starts_with("recursion limit") => None,
        Err(_) => Some(false),
    }
}

fn all_of(columns: &[ColumnPlan]) -> Decoder {
    let needed: Vec<usize> = (0..columns.len()).collect();
    Decoder::new("orders", columns, &needed, true).expect("the columns are good")
}

/// What arrow-json makes of one record alone. After one that it refuses it must be made anew.
struct ArrowJson {
    columns: Vec<ColumnPlan>,
    decoder: arrow::json::reader::Decoder,
}

impl ArrowJson {
    fn new(columns: &[ColumnPlan]) -> Self {
        Self { columns: columns.to_vec(), decoder: Self::decoder(columns) }
    }

    fn decoder(columns: &[ColumnPlan]) -> arrow::json::reader::Decoder {
        let builder = arrow::json::ReaderBuilder::new(source_schema(columns, false)).with_batch_size(1);
        // Numbers and booleans in a column of text are their source, as they are here.
        builder.with_coerce_primitive(true).build_decoder().expect("the schema is good")
    }

    fn read(&mut self, record: &[u8]) -> Option<RecordBatch> {
        let whole = matches!(self.decoder.decode(record), Ok(length) if length == record.len());
        let row = if whole { self.decoder.flush().ok().flatten() } else { None };
        if row.is_none() {
            self.decoder = Self::decoder(&self.columns);
        }
        row
    }
}

/// How often what happened.
#[derive(Debug, Default)]
struct Tally {
    /// Accepted by both, with equal values.
    same: usize,
    /// Refused by both.
    refused: usize,
    /// Accepted here. Arrow-json reads the same values once the record is respelt, for these reasons.
    respelt: BTreeMap<&'static str, usize>,
    /// Refused here by this rule, accepted by arrow-json.
    stricter: BTreeMap<&'static str, usize>,
    /// Accepted by arrow-json, and no JSON.
    not_json: usize,
}

impl Tally {
    fn accepted(&mut self, seed: u64, theirs: &mut ArrowJson, text: &[u8], ours: &RecordBatch) {
        let equal = |theirs: &Option<RecordBatch>| {
            let columns = theirs.as_ref().map(|row| row.columns().iter().zip(ours.columns()));
            columns.is_some_and(|mut pairs| pairs.all(|(theirs, ours)| theirs == ours))
        };
        let first = theirs.read(text);
        if equal(&first) {
            self.same += 1;
            return;
        }
        let text = std::str::from_utf8(text).expect("what is accepted is UTF-8");
        let respelt = Respelt::new(&theirs.columns, text);
        let second = theirs.read(respelt.text.as_bytes());
        assert!(
            equal(&second) && !respelt.why.is_empty(),
            "seed {seed}: {text}\nours: {ours:?}\narrow-json: {first:?}\nrespelt ({:?}): {}\narrow-json: {second:?}",
            respelt.why,
            respelt.text
        );
        for reason in respelt.why {
            *self.respelt.entry(reason).or_default() += 1;
        }
    }

    fn refused(&mut self, seed: u64, theirs: &mut ArrowJson, text: &[u8], code: &'static str) {
        let text_shown = String::from_utf8_lossy(text);
        let json = referee(text);
        // Whatever arrow-json thinks: JSON is refused for exactly the rule that it breaks.
        if json == Some(true) {
            let rule = broken(&theirs.columns, &text_shown).map(super::Code::as_str);
            assert_eq!(rule, Some(code), "seed {seed}: {text_shown}");
        }
        match (theirs.read(text), json) {
            (None, _) => self.refused += 1,
            (Some(_), Some(false)) => self.not_json += 1,
            (Some(row), _) => {
                let promised = super::VALUE_CODES.iter().any(|rule| rule.as_str() == code);
                assert!(promised, "seed {seed}: {code} for {text_shown}, and arrow-json reads {row:?}");
                *self.stricter.entry(code).or_default() += 1;
            }
        }
    }

    /// What arrow-json says of each record of a batch.
    fn batch(&mut self, seed: u64, columns: &[ColumnPlan], texts: &[Vec<u8>], batch: &DecodedBatch) {
        let mut theirs = ArrowJson::new(columns);
        let values: Vec<usize> = (0..columns.len()).collect();
        let values = batch.rows.project(&values).expect("the columns are there");
        for (index, row) in batch.origin.iter().enumerate() {
            self.accepted(seed, &mut theirs, &texts[*row as usize], &values.slice(index, 1));
        }
        for refused in &batch.refused {
            self.refused(seed, &mut theirs, &texts[refused.row as usize], refused.error.code);
        }
    }
}

/// One schema, one batch of damaged records.
fn check(seed: u64, records: usize, tally: &mut Tally) -> usize {
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
        let shown = String::from_utf8_lossy(text);
        assert_ne!(referee(text), Some(false), "seed {seed}: accepted {shown:?}");
        assert_eq!(broken(&declared, &shown), None, "seed {seed}: accepted {shown:?}");
    }
    tally.batch(seed, &declared, &texts, &batch);
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
    let (mut accepted, mut tally) = (0, Tally::default());
    for seed in 0..wanted.div_ceil(records) as u64 {
        accepted += check(seed, records, &mut tally);
    }
    // Both ways must be walked often, or the test proves little.
    println!("{accepted} of {wanted} damaged records are still good; beside arrow-json: {tally:#?}");
    assert!(accepted > wanted / 10 && accepted < wanted * 9 / 10);
    // Each exception is met, and none of them often: so none explains what it was not made for.
    for (exception, most) in respelt::ALL {
        let count = tally.respelt.get(exception).copied().unwrap_or_default();
        assert!(wanted < 100_000 || count > 0, "nobody needs the exception of {exception}");
        assert!(wanted < 100_000 || count <= accepted * most / 1000, "{count} of {accepted}: {exception}");
    }
    assert!(tally.same > accepted * 9 / 10, "{} of {accepted} have the values that arrow-json reads", tally.same);
}
