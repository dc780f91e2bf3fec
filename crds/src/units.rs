//! Durations (`100s`, `5m`, `1h30m`) and sizes (`128Mi`), as spec fields spell them.
//!
//! Durations are those of the Gateway API: hours, minutes, seconds and milliseconds, in this order. Sizes and cpus are
//! Kubernetes quantities. A value prints in the largest unit that says it exactly, and what is printed parses to itself.
//!
//! What the schema of a unit lets in can be read: one number in one object must not make a list of all of them unreadable. So large
//! quantities are cut to the largest that there is, as Kubernetes does it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration as StdDuration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Why a text is not a duration, a size or a cpu quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error("`{text}` is not a duration: {problem}; examples: 100s, 5m, 1h30m, 500ms")]
    Duration {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a size.
    #[error("`{text}` is not a size: {problem}; examples: 128Mi, 1Gi, 500k, 1048576")]
    Size {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Not a number of cpus.
    #[error("`{text}` is not a number of cpus: {problem}; examples: 1, 500m, 1.5")]
    Cpu {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A span of time, in whole milliseconds, of at most five digits for each unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(StdDuration);

/// The units of a duration, largest first, with their milliseconds.
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// The Gateway API bounds each number to five digits.
const MAX_NUMBER: u64 = 99_999;
/// What the schema says of a duration, and by which a duration is known.
pub(crate) const DURATION_PATTERN: &str = "^([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?([0-9]{1,5}ms)?$";

impl Duration {
    /// So many seconds, at most 99999 hours.
    pub const fn from_secs(seconds: u32) -> Self {
        Self(StdDuration::from_secs(seconds as u64))
    }

    /// So many milliseconds.
    pub const fn from_millis(milliseconds: u32) -> Self {
        Self(StdDuration::from_millis(milliseconds as u64))
    }

    /// The same as the standard library's type.
    pub const fn get(self) -> StdDuration {
        self.0
    }
}

impl From<Duration> for StdDuration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        if millis == 0 {
            return f.write_str("0s");
        }
        let exact = DURATION_UNITS.iter().find(|(_, unit)| millis.is_multiple_of(*unit) && millis / unit <= MAX_NUMBER);
        if let Some((name, unit)) = exact {
            return write!(f, "{}{name}", millis / unit);
        }
        let mut rest = millis;
        for (name, unit) in DURATION_UNITS {
            let number = (rest / unit).min(MAX_NUMBER);
            if number > 0 {
                write!(f, "{number}{name}")?;
                rest -= number * unit;
            }
        }
        Ok(())
    }
}

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = |problem| UnitError::Duration { text: text.to_owned(), problem };
        let mut rest = text;
        let mut units = DURATION_UNITS.iter();
        let mut millis = 0;
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Err(error("a number with a unit (h, m, s or ms) is expected"));
            }
            let (number, tail) = rest.split_at(digits);
            let name = &tail[..tail.bytes().take_while(u8::is_ascii_alphabetic).count()];
            if name.is_empty() {
                return Err(error("the unit (h, m, s or ms) is missing"));
            }
            let Some((_, unit)) = units.find(|(known, _)| *known == name) else {
                return Err(error("units are h, m, s and ms, each at most once, in this order"));
            };
            let number = number.parse().ok().filter(|number: &u64| *number <= MAX_NUMBER);
            millis += number.ok_or_else(|| error("a number has more than five digits"))? * unit;
            rest = &tail[name.len()..];
        }
        Ok(Self(StdDuration::from_millis(millis)))
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 2, "maxLength": 26, "pattern": DURATION_PATTERN})
    }
}

/// A number of bytes, written as a Kubernetes quantity. A fraction of a byte is rounded up, as Kubernetes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// The suffixes of a size. Binary ones come first, so that `128Mi` does not print as a number of `k`.
const SIZE_UNITS: [(&str, u64); 10] = [
    ("Pi", 1 << 50),
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("P", 1_000_000_000_000_000),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];
/// Kubernetes keeps quantities of whole units in an `int64`.
const MAX_SIZE: u64 = i64::MAX as u64;
/// Digits behind the point that are counted: of the largest unit, the next one is a thousandth of a byte.
const MAX_FRACTION: usize = 18;

impl Size {
    /// So many bytes, at most 8 EiB: more is cut to that.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(if bytes > MAX_SIZE { MAX_SIZE } else { bytes })
    }

    /// So many mebibytes.
    pub const fn from_mebibytes(mebibytes: u32) -> Self {
        Self((mebibytes as u64) << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = |problem| UnitError::Size { text: text.to_owned(), problem };
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = &text[number.len()..];
        let unit = match SIZE_UNITS.iter().find(|(name, _)| *name == suffix) {
            Some((_, unit)) => *unit,
            None if suffix.is_empty() => 1,
            None => return Err(error("suffixes are k, M, G, T, P and Ki, Mi, Gi, Ti, Pi")),
        };
        decimal(number, unit).map(Self::from_bytes).ok_or_else(|| {
            error(if number.is_empty() { "the number is missing" } else { "a positive number is expected" })
        })
    }
}

/// `number × unit`, rounded up, and cut to what a `u64` holds; `None` when it is not a plain decimal number.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Digits that do not matter any more count as one: the smallest unit is rounded up in any case.
    let (near, far) = fraction.split_at(fraction.len().min(MAX_FRACTION));
    let more = u128::from(far.bytes().any(|digit| digit != b'0'));
    let fraction = (near.parse::<u128>().ok()? + more) * u128::from(unit);
    let whole = whole.parse().unwrap_or(u128::MAX).saturating_mul(u128::from(unit));
    let sum = whole.saturating_add(fraction.div_ceil(10u128.pow(near.len() as u32)));
    Some(u64::try_from(sum).unwrap_or(u64::MAX))
}

/// A number of cpus in thousandths, written as a Kubernetes quantity (`1`, `500m`, `1.5`), at most a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(u64);

/// More than any node has.
const MAX_CPU: u64 = 1_000_000_000;

impl Cpu {
    /// The number of thousandths of a cpu.
    pub const fn millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl FromStr for Cpu {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = text.strip_suffix('m').map_or((text, 1000), |number| (number, 1));
        decimal(number, unit)
            .map(|millis| Self(millis.min(MAX_CPU)))
            .ok_or_else(|| UnitError::Cpu { text: text.to_owned(), problem: "a positive number is expected" })
    }
}

/// Reads a quantity that YAML may have made a number of.
struct QuantityVisitor<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = UnitError>> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! quantity {
    ($type:ident, $expecting:literal, $pattern:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor(std::marker::PhantomData, $expecting))
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"x-kubernetes-int-or-string": true, "minimum": 0, "maxLength": 38, "pattern": $pattern})
            }
        }
    };
}

quantity!(Size, "a size such as 128Mi", "^[0-9]+([.][0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$");
quantity!(Cpu, "a number of cpus such as 500m", "^[0-9]+([.][0-9]+)?m?$");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_prints_and_parses_to_itself(millis in 0..=MAX_NUMBER * 3_661_001) {
            let duration = Duration(StdDuration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn a_size_prints_and_parses_to_itself(bytes in 0..=MAX_SIZE, shift in 0u32..63) {
            let size = Size(bytes >> shift << (shift / 2));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn a_cpu_quantity_prints_and_parses_to_itself(millis in 0u64..1_000_000) {
            let cpu = Cpu(millis);
            prop_assert_eq!(cpu.to_string().parse(), Ok(cpu));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC{0,30}") {
            let _ = (text.parse::<Duration>(), text.parse::<Size>(), text.parse::<Cpu>());
        }

        #[test]
        fn every_shape_of_duration_is_summed(h in 0..40_000u64, m in 0..=MAX_NUMBER, s in 0..=MAX_NUMBER) {
            let parsed = format!("{h}h{m}m{s}s").parse::<Duration>().expect("a duration");
            prop_assert_eq!(parsed.get().as_secs(), h * 3600 + m * 60 + s);
        }
    }

    #[test]
    fn durations_are_read_and_printed_as_people_write_them() {
        for (text, millis, printed) in [
            ("100s", 100_000, "100s"),
            ("5m", 300_000, "5m"),
            ("1h30m", 5_400_000, "90m"),
            ("500ms", 500, "500ms"),
            ("0s", 0, "0s"),
            ("60m", 3_600_000, "1h"),
            ("1h0m1s1ms", 3_601_001, "1h1s1ms"),
            ("99999h", 359_996_400_000, "99999h"),
            ("99999h99999m99999s99999ms", 366_096_438_999, "99999h99999m99999s99999ms"),
        ] {
            let duration: Duration = text.parse().expect(text);
            assert_eq!((duration.get().as_millis(), duration.to_string()), (millis, printed.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_wrong_duration_is_told_with_an_example() {
        for (text, part) in [
            ("", "it is empty"),
            ("5", "the unit (h, m, s or ms) is missing"),
            ("s", "a number with a unit"),
            ("5 m", "the unit"),
            ("5d", "units are h, m, s and ms"),
            ("5s5m", "in this order"),
            ("5m5m", "at most once"),
            ("1.5h", "the unit"),
            ("-5s", "a number with a unit"),
            ("100000s", "more than five digits"),
        ] {
            let error = text.parse::<Duration>().expect_err(text).to_string();
            assert!(error.contains(part) && error.ends_with("examples: 100s, 5m, 1h30m, 500ms"), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_kubernetes_quantities() {
        for (text, bytes, printed) in [
            ("128Mi", 134_217_728, "128Mi"),
            ("1G", 1_000_000_000, "1G"),
            ("500k", 500_000, "500k"),
            ("1048576", 1_048_576, "1Mi"),
            ("1.5Gi", 1_610_612_736, "1536Mi"),
            ("0.1Ki", 103, "103"),
            ("0", 0, "0"),
            ("0.0000000000000000000001Pi", 1, "1"),
            ("9223372036854775808", MAX_SIZE, "9223372036854775807"),
            ("99999Pi", MAX_SIZE, "9223372036854775807"),
            ("99999999999999999999999999999999999999", MAX_SIZE, "9223372036854775807"),
        ] {
            let size: Size = text.parse().expect(text);
            assert_eq!((size.bytes(), size.to_string()), (bytes, printed.to_owned()), "{text}");
        }
        for text in ["", "Mi", "-1", "128MB", "1e3", "12 Mi", "1.", ".5", "1.2.3"] {
            assert!(text.parse::<Size>().expect_err(text).to_string().contains("examples: 128Mi"), "{text}");
        }
    }

    #[test]
    fn a_quantity_may_be_a_number_in_yaml() {
        assert_eq!(serde_json::from_str::<Size>("1048576").expect("bytes"), Size::from_mebibytes(1));
        assert_eq!(serde_json::from_str::<Cpu>("2").expect("cpus").millis(), 2000);
        assert_eq!(serde_json::from_str::<Cpu>("1.5").expect("cpus").millis(), 1500);
        assert_eq!(serde_json::from_str::<Cpu>("\"250m\"").expect("cpus").to_string(), "250m");
        assert_eq!(serde_json::from_str::<Cpu>("9223372036854775807").expect("cpus").millis(), MAX_CPU);
        assert!(serde_json::from_str::<Size>("-1").is_err());
    }
}
