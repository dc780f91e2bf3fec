//! Well-typed records, as arrow-json reads them.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::RecordBatch;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use sluice_crds::plan::ColumnPlan;
use sluice_crds::types::HiveType;

use super::super::{Decoder, source_schema};
use super::{decode, raw};

/// Random types and records. Only what both decoders promise: arrow-json reads binary as hexadecimal, and gets surrogate
/// pairs from U+20000 on wrong.
pub(super) struct Generator {
    pub(super) random: StdRng,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed) }
    }

    pub(super) fn columns(&mut self) -> Vec<ColumnPlan> {
        let count = self.random.random_range(1..8);
        (0..count).map(|n| ColumnPlan { name: format!("column_{n}"), type_: self.hive(3), nullable: true }).collect()
    }

    fn hive(&mut self, depth: u32) -> HiveType {
        match self.random.random_range(0..if depth == 0 { 12 } else { 16 }) {
            0 => HiveType::Boolean,
            1 => HiveType::TinyInt,
            2 => HiveType::SmallInt,
            3 => HiveType::Int,
            4 => HiveType::BigInt,
            5 => HiveType::Float,
            6 => HiveType::Double,
            7 => {
                let precision = self.random.random_range(1..=38);
                HiveType::Decimal { precision, scale: self.random.random_range(0..=precision) }
            }
            8 => HiveType::Date,
            9 => HiveType::Timestamp,
            10 => HiveType::TimestampNtz,
            11 => HiveType::String,
            12 | 13 => HiveType::Array(Box::new(self.hive(depth - 1))),
            14 => HiveType::Map(Box::new(HiveType::String), Box::new(self.hive(depth - 1))),
            _ => HiveType::Struct(
                (0..self.random.random_range(1..4)).map(|n| (format!("m{n}"), self.hive(depth - 1))).collect(),
            ),
        }
    }

    /// An object with some of these members, sometimes in another order and with unknown ones in between.
    pub(super) fn object<'t>(&mut self, members: impl Iterator<Item = (&'t str, &'t HiveType)>) -> String {
        let mut texts = Vec::new();
        for (name, hive) in members {
            if self.random.random_bool(0.9) {
                let value = self.value(hive);
                texts.push(format!("{}{}:{}{value}", self.string(name), self.space(), self.space()));
            }
        }
        if self.random.random_bool(0.2) {
            let unknown = self.value(&HiveType::Array(Box::new(HiveType::String)));
            texts.push(format!("\"unknown_{}\":{unknown}", self.random.random_range(0..3)));
        }
        if self.random.random_bool(0.2) {
            texts.shuffle(&mut self.random);
        }
        format!("{{{}{}{}}}", self.space(), texts.join(","), self.space())
    }

    fn space(&mut self) -> &'static str {
        if self.random.random_bool(0.8) {
            ""
        } else {
            [" ", "\n", "\t ", "\r\n  "].choose(&mut self.random).expect("not empty")
        }
    }

    fn value(&mut self, hive: &HiveType) -> String {
        if self.random.random_bool(0.1) {
            return "null".to_owned();
        }
        let mut integer =
            |bits: u32| (self.random.random::<i64>() >> self.random.random_range(64 - bits..64)).to_string();
        match hive {
            HiveType::Boolean => self.random.random::<bool>().to_string(),
            HiveType::TinyInt => integer(8),
            HiveType::SmallInt => integer(16),
            HiveType::Int => integer(32),
            HiveType::BigInt => integer(64),
            HiveType::Float => format!("{}.{}", integer(12), self.random.random_range(0..100)),
            HiveType::Double => self.double(),
            HiveType::Decimal { precision, scale } => self.decimal(*precision, *scale),
            HiveType::String => {
                let text: String = (0..self.random.random_range(0..30)).map(|_| self.character()).collect();
                self.string(&text)
            }
            HiveType::Binary => "\"AP8=\"".to_owned(),
            HiveType::Date => format!("\"{}\"", self.day()),
            HiveType::Timestamp => format!(
                "\"{}T{}{}\"",
                self.day(),
                self.clock(),
                ["Z", "+02:00", "-11:30"].choose(&mut self.random).expect("not empty")
            ),
            HiveType::TimestampNtz => format!("\"{} {}\"", self.day(), self.clock()),
            HiveType::Array(element) => {
                let count = self.random.random_range(0..4);
                let elements: Vec<String> = (0..count).map(|_| self.value(element)).collect();
                format!("[{}{}]", self.space(), elements.join(", "))
            }
            HiveType::Map(_, value) => {
                let count = self.random.random_range(0..4);
                let entries: Vec<String> = (0..count).map(|n| format!("\"k{n}\":{}", self.value(value))).collect();
                format!("{{{}}}", entries.join(","))
            }
            HiveType::Struct(members) => self.object(members.iter().map(|(name, member)| (name.as_str(), member))),
        }
    }

    fn double(&mut self) -> String {
        match self.random.random_range(0..4) {
            0 => f64::from_bits(self.random.random::<u64>() & !(1 << 62)).to_string(),
            1 => format!("{}e{}", self.random.random_range(-999..999), self.random.random_range(-300..300)),
            2 => self.random.random_range(-5000..5000).to_string(),
            _ => format!("{:.2}", self.random.random_range(-500.0..500.0)),
        }
    }

    fn decimal(&mut self, precision: u8, scale: u8) -> String {
        let mut digits =
            |count: u8| (0..count).map(|_| self.random.random_range(b'0'..=b'9') as char).collect::<String>();
        let (whole, fraction) = (digits(precision - scale), digits(scale));
        let whole = whole.trim_start_matches('0');
        let mut text =
            format!("{}{}", if self.random.random() { "-" } else { "" }, if whole.is_empty() { "0" } else { whole });
        if !fraction.is_empty() {
            write!(text, ".{fraction}").expect("a string takes everything");
        }
        if self.random.random() { format!("\"{text}\"") } else { text }
    }

    fn day(&mut self) -> String {
        format!(
            "{:04}-{:02}-{:02}",
            self.random.random_range(1970..2100),
            self.random.random_range(1..=12),
            self.random.random_range(1..=28)
        )
    }

    fn clock(&mut self) -> String {
        let mut pair = |limit| self.random.random_range(0..limit);
        let (hour, minute, second) = (pair(24), pair(60), pair(60));
        let fraction = ["", ".5", ".123", ".000001"].choose(&mut self.random).expect("not empty");
        format!("{hour:02}:{minute:02}:{second:02}{fraction}")
    }

    fn character(&mut self) -> char {
        match self.random.random_range(0..12) {
            0 => *['"', '\\', '/', '\n', '\t', '\u{1}', '\u{7f}'].choose(&mut self.random).expect("not empty"),
            1 => *['é', 'ß', '中', '𝄞', '\u{ffff}', '\u{80}'].choose(&mut self.random).expect("not empty"),
            _ => self.random.random_range('a'..='z'),
        }
    }

    /// A string with quotes; characters that need no escape have one now and then.
    fn string(&mut self, text: &str) -> String {
        let mut quoted = String::from("\"");
        for c in text.chars() {
            if c < ' ' || matches!(c, '"' | '\\') || self.random.random_bool(0.02) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(quoted, "\\u{unit:04x}").expect("a string takes everything");
                }
            } else {
                quoted.push(c);
            }
        }
        quoted + "\""
    }
}

fn arrow_json(columns: &[ColumnPlan], texts: &[String]) -> RecordBatch {
    let mut decoder = arrow::json::ReaderBuilder::new(source_schema(columns, false))
        .with_batch_size(texts.len())
        .build_decoder()
        .expect("the schema is good");
    for text in texts {
        assert_eq!(decoder.decode(text.as_bytes()).expect(text), text.len());
    }
    decoder.flush().expect("the records are good").expect("there are records")
}

#[test]
fn well_typed_records_have_the_values_that_arrow_json_reads() {
    for seed in 0..400 {
        let mut generator = Generator::new(seed);
        let columns = generator.columns();
        let texts: Vec<String> = (0..50)
            .map(|_| generator.object(columns.iter().map(|column| (column.name.as_str(), &column.type_))))
            .collect();
        let needed: Vec<usize> = (0..columns.len()).collect();
        let mut decoder = Decoder::new("orders", &columns, &needed, false).expect("the columns are good");
        let ours = decode(&mut decoder, raw(&texts));
        assert_eq!(ours.refused, [], "seed {seed}");
        let theirs = arrow_json(&columns, &texts);
        for (index, column) in columns.iter().enumerate() {
            let (ours, theirs) = (ours.rows.column(index), theirs.column(index));
            assert_eq!(ours, theirs, "seed {seed}, {}: {}", column.name, column.type_);
            ours.to_data().validate_full().expect("the array is sound");
        }
        assert!(Arc::ptr_eq(&ours.rows.schema(), &decoder.schema()));
    }
}

#[test]
fn only_the_needed_columns_are_given_and_they_are_the_same() {
    for seed in 1_000..1_050 {
        let mut generator = Generator::new(seed);
        let columns = generator.columns();
        let texts: Vec<String> = (0..20)
            .map(|_| generator.object(columns.iter().map(|column| (column.name.as_str(), &column.type_))))
            .collect();
        let all: Vec<usize> = (0..columns.len()).collect();
        let some: Vec<usize> = all.iter().copied().filter(|_| generator.random.random()).collect();
        let full = decode(&mut Decoder::new("orders", &columns, &all, false).expect("good columns"), raw(&texts));
        let part = decode(&mut Decoder::new("orders", &columns, &some, false).expect("good columns"), raw(&texts));
        assert_eq!(part.rows, full.rows.project(&some).expect("the columns are there"), "seed {seed}");
    }
}
