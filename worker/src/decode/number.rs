//! JSON numbers: their grammar, and their exact value as an integer, a decimal or a double.

use super::scan;

/// Powers of ten that a double holds exactly.
const EXACT_TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number as it stands in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    /// All of it, in the grammar of RFC 8259.
    pub(super) text: &'a [u8],
    negative: bool,
    /// Its digits without the point, where `short`.
    mantissa: u64,
    /// How many of the digits are after the point.
    fraction: usize,
    /// At most 19 digits and no exponent, so that `mantissa` is exact.
    short: bool,
}

/// Why a number has no value of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inexact {
    /// Digits other than zero would be lost at the end.
    Fraction,
    /// It has too many digits.
    TooLarge,
}

/// Where a text stops being a number, and what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Malformed {
    /// A digit is expected here.
    DigitMissing(usize),
    /// This zero is followed by further digits.
    LeadingZero(usize),
}

/// A number of at most fifteen digits, without an exponent: exact as a double and as an integer, and what nearly all numbers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Short {
    mantissa: u64,
    fraction: usize,
    negative: bool,
    /// The index behind it.
    pub(super) end: usize,
}

impl Short {
    /// Reads the number that starts at `at`, if it is such a one.
    #[inline]
    pub(super) fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let negative = byte(at) == b'-';
        let first = at + usize::from(negative);
        let (mut mantissa, mut end) = scan::digits(bytes, first, 0);
        let (mut digits, mut fraction) = (end - first, 0);
        let is_leading_zero = digits > 1 && byte(first) == b'0';
        if digits == 0 || is_leading_zero {
            return None;
        }
        if byte(end) == b'.' {
            let point = end;
            (mantissa, end) = scan::digits(bytes, point + 1, mantissa);
            fraction = end - point - 1;
            digits += fraction;
            if fraction == 0 {
                return None;
            }
        }
        let fits = digits <= 15 && !matches!(byte(end), b'e' | b'E');
        fits.then_some(Self { mantissa, fraction, negative, end })
    }

    /// Its value, if no digits are behind a point.
    #[inline]
    pub(super) fn integer(self) -> Option<i64> {
        let value = self.mantissa as i64;
        (self.fraction == 0).then_some(if self.negative { -value } else { value })
    }

    /// The nearest double: both operands are exact, and one division rounds once.
    #[inline]
    pub(super) fn double(self) -> f64 {
        let value = self.mantissa as f64 / EXACT_TENS[self.fraction];
        if self.negative { -value } else { value }
    }
}

impl<'a> Number<'a> {
    /// Reads the number that starts at `at`, as far as it goes.
    #[inline]
    pub(super) fn read(bytes: &'a [u8], at: usize) -> Result<Self, Malformed> {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
        let negative = byte(at) == b'-';
        let first = at + usize::from(negative);
        let (mut mantissa, mut end) = scan::digits(bytes, first, 0);
        let mut digits = end - first;
        if digits == 0 {
            return Err(Malformed::DigitMissing(end));
        }
        if digits > 1 && byte(first) == b'0' {
            return Err(Malformed::LeadingZero(first));
        }
        let mut fraction = 0;
        if byte(end) == b'.' {
            let point = end;
            (mantissa, end) = scan::digits(bytes, point + 1, mantissa);
            fraction = end - point - 1;
            digits += fraction;
            if fraction == 0 {
                return Err(Malformed::DigitMissing(end));
            }
        }
        let exponent = matches!(byte(end), b'e' | b'E');
        if exponent {
            let first = end + 1 + usize::from(matches!(byte(end + 1), b'+' | b'-'));
            (_, end) = scan::digits(bytes, first, 0);
            if end == first {
                return Err(Malformed::DigitMissing(end));
            }
        }
        Ok(Self { text: &bytes[at..end], negative, mantissa, fraction, short: digits <= 19 && !exponent })
    }

    /// Its value, if it is a whole number of 64 bits: `7`, `-0`, `7.0`, `7e3`.
    #[inline]
    pub(super) fn integer(&self) -> Result<i64, Inexact> {
        if self.short && self.fraction == 0 {
            let value = if self.negative {
                0i64.checked_sub_unsigned(self.mantissa)
            } else {
                i64::try_from(self.mantissa).ok()
            };
            return value.ok_or(Inexact::TooLarge);
        }
        i64::try_from(self.scaled(0)?).map_err(|_| Inexact::TooLarge)
    }

    /// Its value times ten to the power of `scale`, exactly.
    #[inline]
    pub(super) fn scaled(&self, scale: u8) -> Result<i128, Inexact> {
        if self.short && self.fraction <= usize::from(scale) {
            let zeros = u32::from(scale) - self.fraction as u32;
            let value = 10i128.checked_pow(zeros).and_then(|ten| ten.checked_mul(i128::from(self.mantissa)));
            let value = value.or((self.mantissa == 0).then_some(0)).ok_or(Inexact::TooLarge)?;
            return Ok(if self.negative { -value } else { value });
        }
        self.scaled_slowly(scale)
    }

    /// For any number of digits, and for exponents.
    fn scaled_slowly(&self, scale: u8) -> Result<i128, Inexact> {
        let text = &self.text[usize::from(self.negative)..];
        let (significand, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], saturating_exponent(&text[at + 1..])),
            None => (text, 0),
        };
        let digits = || significand.iter().filter(|byte| **byte != b'.').map(|byte| i128::from(byte - b'0'));
        let count = digits().count();
        let leading = digits().take_while(|digit| *digit == 0).count();
        if leading == count {
            return Ok(0);
        }
        let point = significand.iter().position(|byte| *byte == b'.');
        let fraction = point.map_or(0, |point| significand.len() - point - 1);
        let kept = significand.len() - significand.iter().rev().take_while(|b| matches!(b, b'0' | b'.')).count();
        let trailing = memchr::memchr_iter(b'0', &significand[kept..]).count();
        // The value is the digits from the first to the last that is not zero, times ten to the power of `shift`.
        let shift = exponent.saturating_add(trailing as i64 - fraction as i64 + i64::from(scale));
        if shift < 0 {
            return Err(Inexact::Fraction);
        }
        let significant = count - leading - trailing;
        // 10^38 is the greatest power of ten below 2^127.
        if shift > 38 || significant > 39 {
            return Err(Inexact::TooLarge);
        }
        let joined = digits()
            .skip(leading)
            .take(significant)
            .try_fold(0i128, |value, digit| value.checked_mul(10)?.checked_add(digit));
        let value = joined.and_then(|value| value.checked_mul(10i128.checked_pow(shift as u32)?));
        value.map(|value| if self.negative { -value } else { value }).ok_or(Inexact::TooLarge)
    }

    /// The nearest double; infinite when it is beyond all of them.
    #[inline]
    pub(super) fn double(&self) -> f64 {
        // Both are exact, and one division rounds once: so the quotient is the nearest double.
        if self.short && self.mantissa < (1 << 53) && self.fraction < EXACT_TENS.len() {
            let value = self.mantissa as f64 / EXACT_TENS[self.fraction];
            return if self.negative { -value } else { value };
        }
        // Every JSON number is one that std reads.
        std::str::from_utf8(self.text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }

    /// The nearest float; infinite when it is beyond all of them.
    pub(super) fn float(&self) -> f32 {
        let double = self.double();
        // Rounded twice, a number goes the wrong way only where the first time ends exactly between two floats. Where floats get
        // coarser at their small end, that is elsewhere.
        let between = double.to_bits() & 0x1FFF_FFFF == 0x1000_0000 || double.abs() < f64::from(f32::MIN_POSITIVE);
        if between && let Some(float) = std::str::from_utf8(self.text).ok().and_then(|text| text.parse().ok()) {
            return float;
        }
        double as f32
    }
}

/// The number behind `e`, or the nearest one that is far beyond any use.
fn saturating_exponent(text: &[u8]) -> i64 {
    let limit = i64::from(i32::MAX);
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let value = digits.fold(0i64, |value, byte| (value * 10 + i64::from(byte - b'0')).min(limit * 8));
    if text.first() == Some(&b'-') { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Number<'_> {
        let number = Number::read(text.as_bytes(), 0).expect(text);
        assert_eq!(number.text, text.as_bytes());
        number
    }

    proptest! {
        #[test]
        fn a_short_number_is_read_as_any_number_is(text in "-?[0-9]{1,17}(\\.[0-9]{0,6})?([eE][0-9])?[,} ]{0,9}") {
            let full = Number::read(text.as_bytes(), 0);
            if let Some(short) = Short::read(text.as_bytes(), 0) {
                let full = full.unwrap();
                prop_assert_eq!(short.end, full.text.len());
                prop_assert_eq!(short.double().to_bits(), full.double().to_bits());
                prop_assert!(short.integer().is_none_or(|value| full.integer() == Ok(value)));
            } else {
                prop_assert!(full.is_err() || text.len() > 15 || text.contains(['e', 'E']));
            }
        }
    }

    #[test]
    fn whole_numbers_have_their_exact_value_however_they_are_written() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0e-7", 0),
            ("7", 7),
            ("1.0", 1),
            ("1e3", 1000),
            ("1.50e1", 15),
            ("12000E-3", 12),
            ("1.000000000000000000000000000000000000000000000", 1),
            ("0.00000000000000000000000000000000000000000000001e47", 1),
            ("0e99999999999999999999", 0),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775807.0", i64::MAX),
            ("100000000000000000000e-19", 10),
        ] {
            assert_eq!(read(text).integer(), Ok(value), "{text}");
        }
    }

    #[test]
    fn a_number_that_is_no_integer_is_never_rounded() {
        for text in ["1.5", "-0.1", "1e-1", "15e-1", "9007199254740993.5", "1e-99999999999999999999"] {
            assert_eq!(read(text).integer(), Err(Inexact::Fraction), "{text}");
        }
        for text in
            ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e19", "1e99999999999999999999"]
        {
            assert_eq!(read(text).integer(), Err(Inexact::TooLarge), "{text}");
        }
    }

    #[test]
    fn decimals_are_scaled_exactly_or_refused() {
        for (text, scale, value) in [
            ("12.34", 2, Ok(1234)),
            ("-12.3", 2, Ok(-1230)),
            ("12.340", 2, Ok(1234)),
            ("0E-10", 2, Ok(0)),
            ("0", 38, Ok(0)),
            ("12.345", 2, Err(Inexact::Fraction)),
            ("1", 38, Ok(10i128.pow(38))),
            ("2", 38, Err(Inexact::TooLarge)),
            ("99999999999999999999999999999999999999", 0, Ok(10i128.pow(38) - 1)),
            ("999999999999999999999999999999999999999", 0, Err(Inexact::TooLarge)),
            ("1.7E+1", 1, Ok(170)),
        ] {
            assert_eq!(read(text).scaled(scale), value, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused_where_it_stops_being_one() {
        use Malformed::{DigitMissing, LeadingZero};
        for (text, error) in [
            ("", DigitMissing(0)),
            ("-", DigitMissing(1)),
            ("+1", DigitMissing(0)),
            (".5", DigitMissing(0)),
            ("1.", DigitMissing(2)),
            ("1.e5", DigitMissing(2)),
            ("1e", DigitMissing(2)),
            ("1e+", DigitMissing(3)),
            ("01", LeadingZero(0)),
            ("-00", LeadingZero(1)),
        ] {
            assert_eq!(Number::read(text.as_bytes(), 0).expect_err(text), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn doubles_are_those_of_std(text in "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
            let expected: f64 = text.parse().expect("std reads JSON numbers");
            prop_assert_eq!(read(&text).double().to_bits(), expected.to_bits());
        }

        #[test]
        fn floats_are_those_of_std(text in "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?") {
            let expected: f32 = text.parse().expect("std reads JSON numbers");
            prop_assert_eq!(read(&text).float().to_bits(), expected.to_bits());
        }

        #[test]
        fn what_is_a_little_beyond_the_middle_of_two_floats_is_the_farther_one(bits in 0u32..0x7F7F_FFFF) {
            let (near, far) = (f32::from_bits(bits), f32::from_bits(bits + 1));
            let middle = f64::midpoint(near.into(), far.into());
            prop_assert_eq!(read(&format!("{middle:.160}1")).float().to_bits(), far.to_bits());
            prop_assert_eq!(read(&format!("-{middle:.160}1")).float().to_bits(), (-far).to_bits());
        }

        #[test]
        fn both_ways_to_scale_agree(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,12})?", scale in 0u8..=38) {
            let number = read(&text);
            prop_assert_eq!(number.scaled(scale), number.scaled_slowly(scale));
        }

        #[test]
        fn integers_are_those_of_std(value: i64) {
            let text = value.to_string();
            prop_assert_eq!(read(&text).integer(), Ok(value));
            prop_assert_eq!(read(&text).scaled_slowly(0), Ok(i128::from(value)));
        }
    }
}
