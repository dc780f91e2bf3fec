//! Decimals from text and floats, and back.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::types::Decimal128Type;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;

use super::{Checked, arrow_cast, lost};

/// Doubles hold every integer below 2^53.
const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;
/// Doubles hold every power of ten up to 10^22.
const EXACT_POWERS: i8 = 22;

/// The unscaled value of a decimal text; `None` when it is not a number, or has more digits than the type.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Digits are taken up to the last one that is not zero: `1.500` has one digit behind the point.
    let significant =
        if fraction.is_empty() { whole.len() } else { whole.len() + fraction.trim_end_matches('0').len() };
    let mut value: i128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()).take(significant) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    if value == 0 {
        return Some(0);
    }
    // Now the number is value * 10^shift / 10^scale.
    let mut shift =
        exponent.checked_add(whole.len() as i32)?.checked_sub(significant as i32)?.checked_add(i32::from(scale))?;
    while shift < 0 && value % 10 == 0 {
        value /= 10;
        shift += 1;
    }
    let value = value.checked_mul(10_i128.checked_pow(u32::try_from(shift).ok()?)?)?;
    (value < 10_i128.pow(u32::from(precision))).then_some(if negative { -value } else { value })
}

/// Gives parsed values their precision and scale.
pub(super) fn with_type(parsed: Checked, precision: u8, scale: i8) -> Result<Checked, ArrowError> {
    let typed = parsed.array.as_primitive::<Decimal128Type>().clone().with_precision_and_scale(precision, scale)?;
    Ok(Checked { array: Arc::new(typed), bad: parsed.bad })
}

/// By way of the shortest text.
fn by_text(value: impl Display, precision: u8, scale: i8) -> Option<i128> {
    decimal(&value.to_string(), precision, scale)
}

fn of_double(value: f64, precision: u8, scale: i8) -> Option<i128> {
    if scale <= EXACT_POWERS {
        let power = 10_f64.powi(i32::from(scale));
        let unscaled = (value * power).round();
        if unscaled.abs() < EXACT_INTEGERS {
            // Both numbers are exact, so the quotient is the double nearest to the decimal.
            #[expect(clippy::float_cmp, reason = "the question is whether the very same value comes back")]
            let same = unscaled / power == value;
            let unscaled = unscaled as i128;
            return (same && unscaled.abs() < 10_i128.pow(u32::from(precision))).then_some(unscaled);
        }
    }
    by_text(value, precision, scale)
}

fn to_decimal<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    precision: u8,
    scale: i8,
    convert: impl Fn(T::Native) -> Option<i128>,
) -> Result<Checked, ArrowError> {
    let converted: PrimitiveArray<Decimal128Type> = array.iter().map(|value| convert(value?)).collect();
    let bad = lost(array, &converted);
    with_type(Checked::new(Arc::new(converted), bad), precision, scale)
}

pub(super) fn double_to_decimal(
    array: &PrimitiveArray<Float64Type>,
    precision: u8,
    scale: i8,
) -> Result<Checked, ArrowError> {
    to_decimal(array, precision, scale, |value| of_double(value, precision, scale))
}

pub(super) fn float_to_decimal(
    array: &PrimitiveArray<Float32Type>,
    precision: u8,
    scale: i8,
) -> Result<Checked, ArrowError> {
    to_decimal(array, precision, scale, |value| by_text(value, precision, scale))
}

/// A decimal becomes the float nearest to it; it must be the decimal that this float stands for.
pub(super) fn decimal_to_float(array: &ArrayRef, to: &DataType) -> Result<Checked, ArrowError> {
    let DataType::Decimal128(precision, scale) = array.data_type() else {
        return Err(ArrowError::CastError("not a decimal".to_owned()));
    };
    let decimals = array.as_primitive::<Decimal128Type>();
    // By way of the text: Arrow divides, and the quotient of an unscaled value above 2^53 is not the nearest double.
    let texts = arrow_cast(array, &DataType::Utf8)?;
    let out = arrow_cast(&texts, to)?;
    let back = |row: usize| match to {
        DataType::Float32 => by_text(out.as_primitive::<Float32Type>().value(row), *precision, *scale),
        _ => of_double(out.as_primitive::<Float64Type>().value(row), *precision, *scale),
    };
    let bad =
        BooleanBuffer::collect_bool(array.len(), |row| array.is_valid(row) && back(row) != Some(decimals.value(row)));
    Ok(Checked::new(out, bad))
}

/// A double becomes a float when both print the same: `0.1` does, `0.1234567891` does not.
pub(super) fn double_to_float(array: &PrimitiveArray<Float64Type>) -> Checked {
    let floats: PrimitiveArray<Float32Type> = array.unary(|value| value as f32);
    #[expect(clippy::float_cmp, reason = "the question is whether the very same value comes back")]
    let same = |value: f64, float: f32| {
        f64::from(float) == value || value.is_nan() || float.to_string().parse::<f64>().is_ok_and(|back| back == value)
    };
    let bad = BooleanBuffer::collect_bool(array.len(), |row| {
        array.is_valid(row) && !same(array.value(row), floats.value(row))
    });
    Checked::new(Arc::new(floats), bad)
}
