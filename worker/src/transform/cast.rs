//! Casts that lose nothing: a value arrives as it was, or its row is marked.
//!
//! [`cast`] converts a whole array and answers with a mask of the values that do not fit. Where Arrow's own cast would
//! round, truncate or wrap, the result is cast back and compared. What each pair of types means:
//!
//! | from | to | fits |
//! |---|---|---|
//! | number | integer | the same number: `2.0` fits, `1.5` and an overflow do not |
//! | integer, decimal | float, double | the same number comes back |
//! | float, double | decimal | the shortest decimal text of the value has no more digits than the type: `12.34` fits `decimal(12,2)` |
//! | double | float | the shortest decimal text of both is the same |
//! | string | number, boolean, date, timestamp | it parses, and nothing of it is cut off; spaces around a number do not count |
//! | anything flat | string | always; binary only as UTF-8 |
//! | timestamp | timestamp | the same instant: a part below the microsecond does not fit; without a zone it is UTC |
//! | timestamp | date | midnight only; `CAST(… AS DATE)` in an expression takes the day of any time |
//! | date | timestamp | always: midnight UTC |
//! | array, map, struct | the same | member by member; structs have the same members by name |

mod nested;
mod number;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::types::{Date32Type, Decimal128Type, TimestampMicrosecondType};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray, make_array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options, unary};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

pub(super) use nested::element;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// An array of the wanted type, and which of its values are not what they were.
#[derive(Debug)]
pub(super) struct Checked {
    /// As long as the input; what stands at a bad place has no meaning.
    pub array: ArrayRef,
    /// Set where the value did not fit; `None` when all did.
    pub bad: Option<BooleanBuffer>,
}

impl Checked {
    fn fine(array: ArrayRef) -> Self {
        Self { array, bad: None }
    }

    fn new(array: ArrayRef, bad: BooleanBuffer) -> Self {
        let any = bad.count_set_bits() > 0;
        Self { array, bad: any.then_some(bad) }
    }

    /// The first value that did not fit.
    pub fn first_bad(&self) -> Option<usize> {
        self.bad.as_ref()?.set_indices().next()
    }
}

/// Can values of one type become the other, if the value allows it?
pub(super) fn can_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Boolean, Date32, Date64, Decimal128, Dictionary, List, Map, Struct, Timestamp, Utf8};
    match (from, to) {
        _ if from == to => true,
        (DataType::Null, _) => true,
        (Dictionary(_, value), _) => can_cast(value, to),
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && to
                    .iter()
                    .all(|to| from.find(to.name()).is_some_and(|(_, from)| can_cast(from.data_type(), to.data_type())))
        }
        (from, List(to)) => nested::element(from).is_some_and(|from| can_cast(from, to.data_type())),
        (Map(from, _), Map(to, _)) => match (from.data_type(), to.data_type()) {
            (Struct(from), Struct(to)) if from.len() == 2 && to.len() == 2 => {
                from.iter().zip(to).all(|(from, to)| can_cast(from.data_type(), to.data_type()))
            }
            _ => false,
        },
        (from, Utf8) => {
            is_number(from)
                || is_string(from)
                || is_binary(from)
                || matches!(from, Boolean | Date32 | Date64 | Timestamp(..) | DataType::Time32(_) | DataType::Time64(_))
        }
        (from, Binary) => is_string(from) || is_binary(from),
        (from, Boolean) => is_string(from),
        (from, Decimal128(_, scale)) => *scale >= 0 && (is_number(from) || is_string(from)),
        (from, to) if is_number(to) => is_number(from) || is_string(from),
        (from, Date32 | Timestamp(TimeUnit::Microsecond, _)) => {
            is_string(from) || matches!(from, Date32 | Date64 | Timestamp(..))
        }
        _ => false,
    }
}

/// Casts an array to a type for which [`can_cast`] is true.
pub(super) fn cast(array: &ArrayRef, to: &DataType) -> Result<Checked, ArrowError> {
    use DataType::{
        Date32, Decimal32, Decimal64, Decimal128, Dictionary, Float16, Float32, Float64, Map, Struct, Timestamp, Utf8,
    };
    let from = array.data_type();
    match (from, to) {
        _ if from == to => Ok(Checked::fine(Arc::clone(array))),
        (DataType::Null, _) => Ok(Checked::fine(new_null_array(to, array.len()))),
        (Dictionary(_, value), _) => cast(&arrow_cast(array, value)?, to),
        (DataType::Utf8View | DataType::LargeUtf8, _) => cast(&arrow_cast(array, &Utf8)?, to),
        (Utf8, to) if is_number(to) && has_spaces(array.as_string()) => cast(&trimmed(array.as_string()), to),
        (Decimal32(p, s) | Decimal64(p, s), _) => cast(&arrow_cast(array, &Decimal128(*p, *s))?, to),
        (Float16, _) => cast(&arrow_cast(array, &Float32)?, to),
        (Struct(_), Struct(to)) => nested::structs(array.as_struct(), to),
        (from, DataType::List(to)) if nested::element(from).is_some() => nested::lists(array, to),
        (Map(..), Map(to, sorted)) => nested::maps(array.as_map(), to, *sorted),
        (Utf8, Decimal128(p, s)) => {
            let parsed = parse::<Decimal128Type>(array.as_string(), |text| number::decimal(text, *p, *s));
            number::with_type(parsed, *p, *s)
        }
        (Utf8, Date32) => Ok(parse::<Date32Type>(array.as_string(), date)),
        (Utf8, Timestamp(TimeUnit::Microsecond, zone)) => {
            let parsed = parse::<TimestampMicrosecondType>(array.as_string(), timestamp);
            let typed = parsed.array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(zone.clone());
            Ok(Checked { array: Arc::new(typed), bad: parsed.bad })
        }
        // Arrow asks the calendar of the zone for each value; in UTC an instant is its ticks.
        (Timestamp(_, None), Timestamp(unit, Some(zone))) if matches!(zone.as_ref(), "UTC" | "+00:00") => {
            let Checked { array, bad } = cast(array, &Timestamp(*unit, None))?;
            let ticks = array.to_data().into_builder().data_type(to.clone()).build()?;
            Ok(Checked { array: make_array(ticks), bad })
        }
        (Float32, Decimal128(p, s)) => number::float_to_decimal(array.as_primitive::<Float32Type>(), *p, *s),
        (Float64, Decimal128(p, s)) => number::double_to_decimal(array.as_primitive::<Float64Type>(), *p, *s),
        (Decimal128(..), Float32 | Float64) => number::decimal_to_float(array, to),
        (Float64, Float32) => Ok(number::double_to_float(array.as_primitive::<Float64Type>())),
        _ => flat(array, to),
    }
}

/// Arrow's cast, and back again where it may have lost something.
fn flat(array: &ArrayRef, to: &DataType) -> Result<Checked, ArrowError> {
    let out = arrow_cast(array, to)?;
    let mut bad = lost(array, &out);
    if !is_exact(array.data_type(), to) {
        let back = arrow_cast(&out, array.data_type())?;
        // -0.0 is the integer 0: adding 0.0 gives it the positive sign that comes back.
        let original: ArrayRef = match array.data_type() {
            DataType::Float32 => Arc::new(unary::<_, _, Float32Type>(array.as_primitive::<Float32Type>(), |v| v + 0.0)),
            DataType::Float64 => Arc::new(unary::<_, _, Float64Type>(array.as_primitive::<Float64Type>(), |v| v + 0.0)),
            _ => Arc::clone(array),
        };
        bad = &bad | distinct(&back, &original)?.values();
    }
    Ok(Checked::new(out, bad))
}

/// Where a value became null.
fn lost(before: &dyn Array, after: &dyn Array) -> BooleanBuffer {
    match (before.logical_nulls(), after.logical_nulls()) {
        (_, None) => BooleanBuffer::new_unset(before.len()),
        (None, Some(after)) => !after.inner(),
        (Some(before), Some(after)) => before.inner() & &!after.inner(),
    }
}

/// Casts for which a value that is not null is the value that it was.
fn is_exact(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Date64, Timestamp};
    (from.is_integer() && to.is_integer())
        || (from.is_integer() && matches!(to, DataType::Decimal128(..)))
        || is_string(from)
        || is_binary(from)
        || *to == DataType::Utf8
        || matches!((from, to), (Date32, Timestamp(..)) | (DataType::Float32, DataType::Float64))
        || matches!((from, to), (Timestamp(from, None), Timestamp(to, _)) if from <= to)
        || matches!((from, to), (Timestamp(from, Some(_)), Timestamp(to, Some(_))) if from <= to)
        || matches!((from, to), (Date64, Timestamp(..)))
}

fn arrow_cast(array: &dyn Array, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, format_options: FormatOptions::default() })
}

/// Parses each string; what does not parse is null and bad.
fn parse<T: ArrowPrimitiveType>(strings: &StringArray, parse: impl Fn(&str) -> Option<T::Native>) -> Checked {
    let parsed: PrimitiveArray<T> = strings.iter().map(|text| parse(text?)).collect();
    let bad = lost(strings, &parsed);
    Checked::new(Arc::new(parsed), bad)
}

/// Spaces around a number say nothing; CSV and fixed-width data are full of them.
fn has_spaces(strings: &StringArray) -> bool {
    strings.iter().flatten().any(|text| text.trim().len() < text.len())
}

fn trimmed(strings: &StringArray) -> ArrayRef {
    Arc::new(strings.iter().map(|text| text.map(str::trim)).collect::<StringArray>())
}

/// Days since the epoch; a time of day must be midnight.
fn date(text: &str) -> Option<i32> {
    const DATE_ONLY: usize = "2026-01-31".len();
    let days = Date32Type::parse(text)?;
    if text.len() <= DATE_ONLY || text.starts_with(['+', '-']) {
        return Some(days);
    }
    (timestamp(text)? == i64::from(days) * MICROS_PER_DAY).then_some(days)
}

/// Microseconds since the epoch, UTC where the text has no zone; finer digits must be zero.
fn timestamp(text: &str) -> Option<i64> {
    let utc: Tz = "+00:00".parse().ok()?;
    let time = string_to_datetime(&utc, text).ok()?;
    (time.timestamp_subsec_nanos() % 1000 == 0).then(|| time.timestamp_micros())
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn is_string(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
    matches!(data_type, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
}

/// A value for a message: short, whatever it is.
pub(super) fn show(array: &dyn Array, row: usize) -> String {
    const LONGEST_VALUE: usize = 60;
    let options = FormatOptions::default();
    let text =
        ArrayFormatter::try_new(array, &options).map(|formatter| formatter.value(row).to_string()).unwrap_or_default();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The type in the words of the resources.
pub(super) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".to_owned(),
        DataType::Timestamp(_, None) => "timestamp_ntz".to_owned(),
        DataType::List(element) => format!("array<{}>", type_name(element.data_type())),
        DataType::Struct(fields) => {
            let members: Vec<_> =
                fields.iter().map(|field| format!("{}:{}", field.name(), type_name(field.data_type()))).collect();
            format!("struct<{}>", members.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
