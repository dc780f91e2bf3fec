//! One JSON value as one value of a column's type: exactly, or not at all.
//!
//! Each function begins at the value's first byte, which is not that of `null`. After a fault that does not spoil the
//! record the cursor stands somewhere inside or behind the value; the caller goes back and skips it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::cursor::Cursor;
use super::fault::{Code, Fault, Outcome, quote};
use super::number::{Inexact, Number};
use super::time;

/// The standard alphabet; padding may be left out, as it often is.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn is_number(first: u8) -> bool {
    first == b'-' || first.is_ascii_digit()
}

/// What a string says; any other value has the wrong type.
fn text<'c>(cursor: &'c mut Cursor<'_>, depth: u32, wanted: &str) -> Outcome<&'c [u8]> {
    if cursor.peek() != b'"' {
        return Err(cursor.wrong_type(depth, wanted));
    }
    cursor.advance(1);
    cursor.string()
}

/// `true` or `false`.
pub(super) fn boolean(cursor: &mut Cursor<'_>, depth: u32) -> Outcome<bool> {
    match cursor.peek() {
        b't' => cursor.literal("true").map(|()| true),
        b'f' => cursor.literal("false").map(|()| false),
        _ => Err(cursor.wrong_type(depth, "boolean")),
    }
}

/// A number whose value is a whole number that fits: `7`, `7.0`, `7e3`.
#[inline]
pub(super) fn integer<T: TryFrom<i64>>(cursor: &mut Cursor<'_>, depth: u32, wanted: &str) -> Outcome<T> {
    if !is_number(cursor.peek()) {
        return Err(cursor.wrong_type(depth, wanted));
    }
    if let Some(value) = cursor.short_integer() {
        return T::try_from(value).map_err(|_| out_of_range(value.to_string().as_bytes(), wanted));
    }
    let number = cursor.number()?;
    match number.integer() {
        Ok(value) => T::try_from(value).map_err(|_| out_of_range(number.text, wanted)),
        Err(Inexact::TooLarge) => Err(out_of_range(number.text, wanted)),
        Err(Inexact::Fraction) => Err(Fault::new(
            Code::NotAnInteger,
            format!("`{}` has a fraction, the column's type is {wanted}", quote(number.text)),
        )),
    }
}

#[cold]
fn out_of_range(text: &[u8], wanted: &str) -> Box<Fault> {
    Fault::new(Code::OutOfRange, format!("`{}` does not fit into {wanted}", quote(text)))
}

/// A number, or one of the strings `NaN`, `Infinity` and `-Infinity`.
#[inline]
pub(super) fn double(cursor: &mut Cursor<'_>, depth: u32, wanted: &str) -> Outcome<f64> {
    if !is_number(cursor.peek()) {
        return named_double(cursor, depth, wanted);
    }
    if let Some(value) = cursor.short_double() {
        return Ok(value);
    }
    let number = cursor.number()?;
    let value = number.double();
    if value.is_finite() { Ok(value) } else { Err(out_of_range(number.text, wanted)) }
}

fn named_double(cursor: &mut Cursor<'_>, depth: u32, wanted: &str) -> Outcome<f64> {
    let start = cursor.position();
    match text(cursor, depth, wanted)? {
        b"NaN" => Ok(f64::NAN),
        b"Infinity" => Ok(f64::INFINITY),
        b"-Infinity" => Ok(f64::NEG_INFINITY),
        _ => {
            cursor.rewind(start);
            Err(cursor.wrong_type(depth, wanted))
        }
    }
}

/// The same with 32 bits.
pub(super) fn float(cursor: &mut Cursor<'_>, depth: u32) -> Outcome<f32> {
    if !is_number(cursor.peek()) {
        return named_double(cursor, depth, "float").map(|named| named as f32);
    }
    let number = cursor.number()?;
    let value = number.float();
    if value.is_finite() { Ok(value) } else { Err(out_of_range(number.text, "float")) }
}

/// A number, or a string that holds one, times ten to the power of `scale`.
pub(super) fn decimal(cursor: &mut Cursor<'_>, depth: u32, precision: u8, scale: u8) -> Outcome<i128> {
    let wanted = || format!("decimal({precision},{scale})");
    let start = cursor.position();
    let scaled = match cursor.peek() {
        first if is_number(first) => cursor.number()?.scaled(scale),
        b'"' => {
            cursor.advance(1);
            let text = cursor.string()?;
            match Number::read(text, 0) {
                Ok(number) if number.text.len() == text.len() => number.scaled(scale),
                _ => {
                    let message = format!("the string `{}` is not a decimal number", quote(text));
                    return Err(Fault::new(Code::InvalidDecimal, message));
                }
            }
        }
        _ => return Err(cursor.wrong_type(depth, &wanted())),
    };
    match scaled {
        Ok(value) if value.unsigned_abs() < 10u128.pow(u32::from(precision)) => Ok(value),
        Err(Inexact::Fraction) => {
            let message = format!("`{}` has more than {scale} digits after the point", quote(cursor.since(start)));
            Err(Fault::new(Code::DecimalScale, message))
        }
        Ok(_) | Err(Inexact::TooLarge) => Err(out_of_range(cursor.since(start), &wanted())),
    }
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(super) fn date(cursor: &mut Cursor<'_>, depth: u32) -> Outcome<i32> {
    let text = text(cursor, depth, "date, which is a string YYYY-MM-DD")?;
    time::date(text)
        .ok_or_else(|| Fault::new(Code::InvalidDate, format!("the string `{}` is not a date YYYY-MM-DD", quote(text))))
}

/// An instant in text as microseconds since 1970-01-01T00:00:00Z.
pub(super) fn timestamp(cursor: &mut Cursor<'_>, depth: u32) -> Outcome<i64> {
    let wanted = "timestamp, which is a string in ISO 8601; \
        for milliseconds since 1970 declare bigint and derive with to_timestamp_millis";
    let text = text(cursor, depth, wanted)?;
    time::timestamp(text)
        .map_err(|code| invalid_timestamp(code, text, "YYYY-MM-DDTHH:MM:SS[.ffffff] with Z or an offset"))
}

/// A wall-clock time in text as microseconds since 1970-01-01T00:00:00.
pub(super) fn timestamp_ntz(cursor: &mut Cursor<'_>, depth: u32) -> Outcome<i64> {
    let text = text(cursor, depth, "timestamp_ntz, which is a string in ISO 8601 without a zone")?;
    time::timestamp_ntz(text)
        .map_err(|code| invalid_timestamp(code, text, "YYYY-MM-DDTHH:MM:SS[.ffffff] without a zone"))
}

fn invalid_timestamp(code: Code, text: &[u8], form: &str) -> Box<Fault> {
    let message = match code {
        Code::TimestampPrecision => format!(
            "the string `{}` is finer than microseconds; declare string, or let the producer round",
            quote(text)
        ),
        _ => format!("the string `{}` is not a timestamp {form}", quote(text)),
    };
    Fault::new(code, message)
}

/// The bytes of a string in base64.
pub(super) fn base64(cursor: &mut Cursor<'_>, depth: u32) -> Outcome<Vec<u8>> {
    let text = text(cursor, depth, "binary, which is a string in base64")?;
    BASE64.decode(text).map_err(|_| {
        Fault::new(Code::InvalidBase64, format!("the string `{}` is not base64 (standard alphabet)", quote(text)))
    })
}
