//! The rules of the module's documentation once more, in the words of `serde_json`: which of them a record breaks. Slow, and
//! without a line of the decoder.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sluice_crds::plan::ColumnPlan;
use sluice_crds::types::HiveType;

use super::super::Code;

/// The members of an object in their order, those that stand twice included.
pub(super) struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'t> Members<'t> {
    pub(super) fn of(object: &'t str) -> Self {
        serde_json::from_str(object).expect(object)
    }

    pub(super) fn all(&self) -> &[(String, &'t RawValue)] {
        &self.0
    }

    /// The value of a member: the last one.
    fn get(&self, name: &str) -> Option<&'t RawValue> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// Is this one the last one with its name?
    pub(super) fn is_last(&self, index: usize) -> bool {
        !self.0[index + 1..].iter().any(|(other, _)| *other == self.0[index].0)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The rule that a record breaks: of several bad columns the first one counts, and a missing one comes last.
pub(super) fn broken(columns: &[ColumnPlan], record: &str) -> Option<Code> {
    let members = Members::of(record);
    let found = |column: &ColumnPlan| members.get(&column.name);
    let bad = columns.iter().find_map(|column| match found(column)?.get() {
        "null" if !column.nullable => Some(Code::NullInRequiredColumn),
        value => breaks(&column.type_, value),
    });
    let missing = || columns.iter().any(|column| !column.nullable && found(column).is_none());
    bad.or_else(|| missing().then_some(Code::NullInRequiredColumn))
}

fn breaks(hive: &HiveType, value: &str) -> Option<Code> {
    if value == "null" {
        return None;
    }
    let number = is_number(value);
    let wrong = |right: bool| (!right).then_some(Code::WrongType);
    let string = || serde_json::from_str::<String>(value).ok();
    let integer = |least: i64, most: i64| if number { whole(value, least, most) } else { Some(Code::WrongType) };
    match hive {
        HiveType::Boolean => wrong(["true", "false"].contains(&value)),
        HiveType::TinyInt => integer(i8::MIN.into(), i8::MAX.into()),
        HiveType::SmallInt => integer(i16::MIN.into(), i16::MAX.into()),
        HiveType::Int => integer(i32::MIN.into(), i32::MAX.into()),
        HiveType::BigInt => integer(i64::MIN, i64::MAX),
        HiveType::Float if number => value.parse::<f32>().expect(value).is_infinite().then_some(Code::OutOfRange),
        HiveType::Double if number => value.parse::<f64>().expect(value).is_infinite().then_some(Code::OutOfRange),
        HiveType::Float | HiveType::Double => {
            wrong(string().is_some_and(|text| ["NaN", "Infinity", "-Infinity"].contains(&text.as_str())))
        }
        HiveType::Decimal { precision, scale } if number => decimal(value, *precision, *scale),
        HiveType::Decimal { precision, scale } => match string() {
            Some(text) if is_whole_number(&text) => decimal(&text, *precision, *scale),
            Some(_) => Some(Code::InvalidDecimal),
            None => Some(Code::WrongType),
        },
        HiveType::String => None,
        HiveType::Binary => panic!("the generator makes no binary"),
        HiveType::Date => string().map_or(Some(Code::WrongType), |text| (!is_date(&text)).then_some(Code::InvalidDate)),
        HiveType::Timestamp => string().map_or(Some(Code::WrongType), |text| time(&text, true)),
        HiveType::TimestampNtz => string().map_or(Some(Code::WrongType), |text| time(&text, false)),
        HiveType::Array(element) => match serde_json::from_str::<Vec<&RawValue>>(value) {
            Ok(elements) => elements.into_iter().find_map(|it| breaks(element, it.get())),
            Err(_) => Some(Code::WrongType),
        },
        HiveType::Map(_, _) | HiveType::Struct(_) if !value.starts_with('{') => Some(Code::WrongType),
        HiveType::Map(_, inner) => {
            let members = Members::of(value);
            let mut last = members.all().iter().enumerate().filter(|(index, _)| members.is_last(*index));
            last.find_map(|(_, (_, entry))| breaks(inner, entry.get()))
        }
        HiveType::Struct(inner) => {
            let members = Members::of(value);
            inner.iter().find_map(|(name, hive)| breaks(hive, members.get(name)?.get()))
        }
    }
}

/// Is the text a number as JSON has it, from its first to its last byte?
fn is_whole_number(text: &str) -> bool {
    is_number(text) && serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get().len() == text.len())
}

fn is_number(value: &str) -> bool {
    value.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// A number as the digits from its first to its last that is not zero, and the power of ten behind them.
fn digits(number: &str) -> (String, i64) {
    let (significand, exponent) = number.trim_start_matches('-').split_once(['e', 'E']).unwrap_or((number, "0"));
    let far = if exponent.starts_with('-') { -1_000_000 } else { 1_000_000 };
    let exponent = exponent.parse().unwrap_or(far).clamp(-1_000_000, 1_000_000);
    let (whole, fraction) = significand.split_once('.').unwrap_or((significand, ""));
    let all = format!("{}{fraction}", whole.trim_start_matches('-'));
    let kept = all.trim_end_matches('0');
    let power = exponent - fraction.len() as i64 + (all.len() - kept.len()) as i64;
    let digits = kept.trim_start_matches('0');
    if digits.is_empty() { (String::new(), 0) } else { (digits.to_owned(), power) }
}

/// A whole number without point and exponent. `None`: it is not whole, or longer than any column's.
pub(super) fn plain(number: &str) -> Option<i128> {
    let (digits, power) = digits(number);
    if digits.is_empty() {
        return Some(0);
    }
    let zeros = usize::try_from(power).ok().filter(|zeros| digits.len() + zeros <= 38)?;
    let value: i128 = format!("{digits}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if number.starts_with('-') { -value } else { value })
}

fn whole(number: &str, least: i64, most: i64) -> Option<Code> {
    if digits(number).1 < 0 {
        return Some(Code::NotAnInteger);
    }
    let fits = plain(number).is_some_and(|value| (i128::from(least)..=i128::from(most)).contains(&value));
    (!fits).then_some(Code::OutOfRange)
}

fn decimal(number: &str, precision: u8, scale: u8) -> Option<Code> {
    let (digits, power) = digits(number);
    if digits.is_empty() {
        return None;
    }
    if power < -i64::from(scale) {
        return Some(Code::DecimalScale);
    }
    (digits.len() as i64 + power + i64::from(scale) > i64::from(precision)).then_some(Code::OutOfRange)
}

fn is_date(text: &str) -> bool {
    let shape = text.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    let part = |range: std::ops::Range<usize>| text[range].parse::<i16>().expect("digits");
    shape.eq(*b"0000-00-00")
        && part(0..4) > 0
        && jiff::civil::Date::new(part(0..4), part(5..7) as i8, part(8..10) as i8).is_ok()
}

/// `YYYY-MM-DDTHH:MM[:SS[.f…]]`, and a zone where there may be one.
fn time(text: &str, zoned: bool) -> Option<Code> {
    let invalid = Some(Code::InvalidTimestamp);
    let Some((date, clock)) = text.split_at_checked(10) else { return invalid };
    let Some(clock) = clock.strip_prefix(['T', 't', ' ']).filter(|_| is_date(date)) else { return invalid };
    let (clock, rest) = split_behind(clock, |c| c.is_ascii_digit() || c == ':');
    let (fraction, zone) = match rest.strip_prefix('.').map(|rest| split_behind(rest, |c| c.is_ascii_digit())) {
        Some((fraction, zone)) => (Some(fraction), zone),
        None => (None, rest),
    };
    let fields: Option<Vec<u8>> = clock.split(':').map(pair).collect();
    let well = match fields.as_deref() {
        Some([hour, minute]) => *hour < 24 && *minute < 60 && fraction.is_none(),
        Some([hour, minute, second]) => *hour < 24 && *minute < 60 && *second < 60,
        _ => false,
    };
    let fraction = fraction.unwrap_or("0");
    if !well || !(1..=9).contains(&fraction.len()) {
        return invalid;
    }
    if fraction.bytes().skip(6).any(|byte| byte != b'0') {
        return Some(Code::TimestampPrecision);
    }
    (!(zone.is_empty() || zoned && is_zone(zone))).then_some(Code::InvalidTimestamp)
}

fn split_behind(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// `Z`, `+02`, `+0200`, `+02:00`.
fn is_zone(zone: &str) -> bool {
    let Some(offset) = zone.strip_prefix(['+', '-']) else { return ["Z", "z"].contains(&zone) };
    let (hours, minutes) = offset.split_at_checked(2).unwrap_or((offset, ""));
    let minutes = minutes.strip_prefix(':').or((!minutes.is_empty()).then_some(minutes)).unwrap_or("00");
    pair(hours).is_some_and(|hours| hours < 24) && pair(minutes).is_some_and(|minutes| minutes < 60)
}

fn pair(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().expect("digits"))
}
