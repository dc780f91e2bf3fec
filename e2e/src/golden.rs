//! Odd records, always the same: every type that a column can have, in every spelling that JSON allows, and some records for each code
//! of a refusal.
//!
//! The numbers come from a generator of our own, so that no release of a library makes other records. What must become of a
//! record is not said here but for its code: `e2e/readers/golden.py` reads the same bytes and judges for itself.

use std::fmt::Write as _;

use anyhow::Result;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use crate::produce::{Fate, Sender};

/// How many records there are.
pub const RECORDS: u64 = 20_000;
/// Over how many partitions.
pub const PARTITIONS: i32 = 4;

/// Members, and texts of their values: a name, a space, and the text.
const VALUES: &str = include_str!("../golden/values.txt");
/// Codes of refusals, and what spoils a record so that it earns one. A text that begins with a comma ends the object of a good record.
const SPOILT: &str = include_str!("../golden/spoilt.txt");

/// A sequence of numbers: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below the limit.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    fn percent(&mut self, of_a_hundred: usize) -> bool {
        self.below(100) < of_a_hundred
    }
}

/// One of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd {
    /// Its value; none: a tombstone.
    pub value: Option<Vec<u8>>,
    /// The code of its refusal, if it is to be refused.
    pub code: Option<&'static str>,
}

/// All records, each by its index.
#[derive(Debug)]
pub struct Corpus {
    values: Vec<(&'static str, Vec<&'static str>)>,
    spoilt: Vec<(&'static str, &'static str)>,
}

impl Default for Corpus {
    fn default() -> Self {
        let lines = |text: &'static str| {
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
        };
        let mut values: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, value) in lines(VALUES) {
            match values.last_mut() {
                Some((last, values)) if *last == name => values.push(value),
                _ => values.push((name, vec![value])),
            }
        }
        Self { values, spoilt: lines(SPOILT).collect() }
    }
}

impl Corpus {
    /// The record of this index.
    pub fn record(&self, index: u64) -> Odd {
        let mut numbers = Numbers(index.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let bad = numbers.percent(3);
        let object = self.object(&mut numbers, index, bad);
        if !bad {
            return Odd { value: Some(object.into_bytes()), code: None };
        }
        // Three ways of being bad cannot be written down as a line of text.
        let (code, value) = match numbers.below(self.spoilt.len() + 3) {
            0 => ("NullValue", None),
            1 => ("InvalidUtf8", Some([&object.as_bytes()[..object.len() - 1], b",\"text\":\"\xff\"}"].concat())),
            2 => ("TooDeep", Some(spoil(&object, &format!(",\"unknown\":{}{}}}", "[".repeat(128), "]".repeat(128))))),
            way => {
                let (code, text) = self.spoilt[way - 3];
                let long = "\u{fc}".repeat(600);
                let words = [("@LONG@", long.as_str()), ("@BOM@", "\u{feff}"), ("@NOTHING@", ""), ("@SPACE@", " \n")];
                let text = words.iter().fold(text.to_owned(), |text, (word, meant)| text.replace(word, meant));
                (code, Some(spoil(&object, &text)))
            }
        };
        Odd { value, code: Some(code) }
    }

    /// A good object. One that is to be spoilt passes the filter, and ends with the brace of the object.
    fn object(&self, numbers: &mut Numbers, index: u64, bad: bool) -> String {
        let mut members = vec![format!("\"seq\":{index}")];
        let keep = if bad { "true" } else { numbers.of(&["true", "true", "true", "true", "false", "null"]) };
        members.push(format!("\"keep\":{keep}"));
        for (name, values) in &self.values {
            if numbers.percent(45) {
                continue;
            }
            let value = if numbers.percent(8) { "null" } else { numbers.of(values) };
            let value =
                value.replace("@LONG@", &format!("\"{}\"", "long and longer ".repeat(20 + index as usize % 400)));
            let name = if numbers.percent(3) { escaped(name) } else { (*name).to_owned() };
            members.push(format!("\"{name}\"{}:{}{value}", space(numbers), space(numbers)));
        }
        if numbers.percent(30) {
            members.push(format!("\"unknown_{}\":[{{\"seq\":\"\\u00e9\"}},{{}},1E+5,\"}}\"]", numbers.below(5)));
        }
        for last in (1..members.len()).rev() {
            members.swap(last, numbers.below(last + 1));
        }
        // The first of two counts for nothing, whatever it is.
        if numbers.percent(10) {
            let (name, _) = &self.values[numbers.below(self.values.len())];
            if let Some(at) = members.iter().position(|member| member.starts_with(&format!("\"{name}\""))) {
                members.insert(
                    numbers.below(at + 1),
                    format!("\"{name}\":{}", numbers.of(&["null", "[[]]", "\"other\"", "-1"])),
                );
            }
        }
        let mut text = String::from("{");
        for (position, member) in members.iter().enumerate() {
            let _ = write!(text, "{}{}{member}", if position == 0 { "" } else { "," }, space(numbers));
        }
        text + if bad { "" } else { space(numbers) } + "}"
    }

    /// Sends all records, and answers them as lines of JSON, for the script that judges.
    pub fn send(&self, sender: &mut Sender) -> Result<String> {
        let mut lines = String::new();
        for index in 0..RECORDS {
            let Odd { value, code } = self.record(index);
            let fate = if code.is_some() { Fate::Dead } else { Fate::Written };
            sender.queue_or_tombstone(value.as_deref(), fate)?;
            let place = (index % PARTITIONS as u64, index / PARTITIONS as u64);
            let value = value.map(|value| BASE64_STANDARD.encode(value));
            let line = json!({"partition": place.0, "offset": place.1, "value": value, "code": code});
            // Writing into a String cannot fail.
            let _ = writeln!(lines, "{line}");
        }
        sender.receipts()?;
        Ok(lines)
    }
}

fn spoil(object: &str, text: &str) -> Vec<u8> {
    let good = if text.starts_with(',') { &object[..object.len() - 1] } else { "" };
    format!("{good}{text}").into_bytes()
}

fn space(numbers: &mut Numbers) -> &'static str {
    if numbers.percent(90) { "" } else { numbers.of(&[" ", "\n", "\t ", "\r\n  "]) }
}

/// The same name, with an escape for its first letter.
fn escaped(name: &str) -> String {
    name.chars().take(1).map(|c| format!("\\u{:04x}", c as u32)).chain([name.chars().skip(1).collect()]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn good_records_are_objects_and_every_way_of_being_bad_occurs() {
        let corpus = Corpus::default();
        let mut codes = BTreeSet::new();
        let mut bad = 0;
        for index in 0..RECORDS {
            let Odd { value, code } = corpus.record(index);
            let object = value.as_deref().map(serde_json::from_slice::<serde_json::Value>);
            match code {
                None => assert!(object.is_some_and(|parsed| parsed.is_ok_and(|value| value.is_object())), "{index}"),
                Some(code) => drop(codes.insert(code)),
            }
            bad += u64::from(code.is_some());
        }
        let ways: BTreeSet<&str> =
            corpus.spoilt.iter().map(|(code, _)| *code).chain(["NullValue", "InvalidUtf8", "TooDeep"]).collect();
        assert_eq!(codes, ways);
        assert!((RECORDS / 50..RECORDS / 20).contains(&bad), "{bad}");
    }

    #[test]
    fn the_records_are_those_that_they_always_were() {
        let corpus = Corpus::default();
        let sum = (0..RECORDS).flat_map(|index| corpus.record(index).value.unwrap_or_default());
        // FNV-1a: when this changes, the golden files belong to other records.
        let sum =
            sum.fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        assert_eq!(sum, 0x9982_86D6_D931_2488);
    }
}
