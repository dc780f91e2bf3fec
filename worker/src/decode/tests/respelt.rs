//! A record as `arrow-json` reads it well: the same record by the rules of the module's documentation, spelt another way where `arrow-json`
//! is known to differ from them. Each way has a name, so that tests can say how often it is taken.

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use sluice_crds::plan::ColumnPlan;
use sluice_crds::types::HiveType;

use super::rules::{Members, plain};

/// It joins the halves with `|` where it must add them, so that bits are lost.
pub(super) const SURROGATES: &str = "a surrogate pair from U+20000 on";
/// It goes through a double, so that they are rounded, or beyond the column's range.
pub(super) const WHOLE: &str = "a whole number with a point or an exponent";
/// It keeps both entries; here the last one counts.
pub(super) const TWICE: &str = "a key that stands twice in a map";
/// It takes only strings, numbers and booleans for text; here all else is taken as its source.
pub(super) const SOURCE: &str = "an object or an array in a column of text";
/// It wants them.
pub(super) const SECONDS: &str = "a time without seconds";

/// All names, and of how many accepted records in a thousand each may be the reason.
pub(super) const ALL: [(&str, usize); 5] = [(SURROGATES, 3), (WHOLE, 3), (TWICE, 1), (SOURCE, 3), (SECONDS, 1)];

/// A record that the decoder accepts, in another spelling, and why it is another one.
pub(super) struct Respelt {
    pub(super) text: String,
    pub(super) why: BTreeSet<&'static str>,
}

impl Respelt {
    pub(super) fn new(columns: &[ColumnPlan], record: &str) -> Self {
        let mut respelt = Self { text: String::new(), why: BTreeSet::new() };
        let hive = |name: &str| columns.iter().find(|column| column.name == name).map(|column| &column.type_);
        respelt.object(&Members::of(record), hive);
        respelt
    }

    /// An object with all its members, in their order.
    fn object<'h>(&mut self, members: &Members<'_>, hive: impl Fn(&str) -> Option<&'h HiveType>) {
        self.text.push('{');
        for (index, (name, value)) in members.all().iter().enumerate() {
            self.text.push_str(if index == 0 { "" } else { "," });
            self.key(name);
            match hive(name) {
                // Of a member that stands twice the last value counts, whatever the others are: this one may be of another type.
                Some(hive) if members.is_last(index) => self.value(hive, value),
                _ => self.unread(value),
            }
        }
        self.text.push('}');
    }

    fn key(&mut self, name: &str) {
        if name.chars().any(|c| c >= '\u{20000}') {
            self.why.insert(SURROGATES);
        }
        self.text.push_str(&quoted(name));
        self.text.push(':');
    }

    /// A value that no column reads, and which must be JSON all the same.
    fn unread(&mut self, value: &RawValue) {
        if value.get().contains("\\u") {
            self.why.insert(SURROGATES);
            self.text.push_str("null");
        } else {
            self.text.push_str(value.get());
        }
    }

    fn value(&mut self, hive: &HiveType, raw: &RawValue) {
        let value = raw.get();
        match hive {
            _ if value == "null" => self.text.push_str("null"),
            HiveType::TinyInt | HiveType::SmallInt | HiveType::Int | HiveType::BigInt
                if value.contains(['.', 'e', 'E']) =>
            {
                self.why.insert(WHOLE);
                self.text.push_str(&plain(value).expect(value).to_string());
            }
            HiveType::String if value.starts_with(['{', '[']) => {
                self.why.insert(SOURCE);
                self.text.push_str(&quoted(value));
            }
            HiveType::String if value.starts_with('"') => {
                let text = string(value);
                if value.contains("\\u") && text.chars().any(|c| c >= '\u{20000}') {
                    self.why.insert(SURROGATES);
                    self.text.push_str(&quoted(&text));
                } else {
                    self.text.push_str(value);
                }
            }
            HiveType::Timestamp | HiveType::TimestampNtz if string(value).as_bytes().get(16) != Some(&b':') => {
                self.why.insert(SECONDS);
                let (minutes, zone) =
                    string(value).split_at_checked(16).map(|(a, b)| (a.to_owned(), b.to_owned())).expect(value);
                self.text.push_str(&quoted(&format!("{minutes}:00{zone}")));
            }
            HiveType::Array(element) => self.array(element, value),
            HiveType::Map(_, inner) => self.map(inner, &Members::of(value)),
            HiveType::Struct(inner) => {
                let member = |name: &str| inner.iter().find(|(other, _)| other == name).map(|(_, hive)| hive);
                self.object(&Members::of(value), member);
            }
            _ => self.text.push_str(value),
        }
    }

    fn array(&mut self, element: &HiveType, value: &str) {
        let elements: Vec<&RawValue> = serde_json::from_str(value).expect(value);
        self.text.push('[');
        for (index, value) in elements.into_iter().enumerate() {
            self.text.push_str(if index == 0 { "" } else { "," });
            self.value(element, value);
        }
        self.text.push(']');
    }

    fn map(&mut self, inner: &HiveType, members: &Members<'_>) {
        self.text.push('{');
        let mut comma = "";
        for (index, (key, value)) in members.all().iter().enumerate() {
            if members.is_last(index) {
                self.text.push_str(comma);
                self.key(key);
                self.value(inner, value);
                comma = ",";
            } else {
                self.why.insert(TWICE);
            }
        }
        self.text.push('}');
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

fn string(value: &str) -> String {
    serde_json::from_str(value).expect(value)
}
