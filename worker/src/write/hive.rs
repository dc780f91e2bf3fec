//! The Hive layout: which folder a row belongs to, in the spelling that Hive, Spark, Trino, Athena and DuckDB read.
//!
//! Promises: equal values make equal folders, different folders mean different values, and a reader that undoes the
//! escapes gets the value back. The exceptions are Hive's own: null, the empty string and the text
//! [`DEFAULT_PARTITION`] share one folder, which readers take for null.

use arrow::array::{Array, AsArray, OffsetSizeTrait};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use jiff::SignedDuration;
use jiff::civil::DateTime;

use super::WriteError;
use super::file::file_name;

/// The folder of null.
pub const DEFAULT_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest folder name that file systems take, in bytes.
const FILE_NAME_LIMIT: usize = 255;

/// The longest path that Linux takes, in bytes, without the zero at its end.
const FILE_PATH_LIMIT: usize = 4095;

/// What a local file's name is longer by while it is staged: `.<name>.<16 hex digits>.inprogress`.
const STAGED_NAME_BYTES: usize = 29;

/// The longest key that S3 takes, in bytes.
const S3_KEY_LIMIT: usize = 1024;

/// The longest part of a value that a message shows, in characters.
const SHOWN: usize = 60;

/// The characters that Hive escapes, besides ASCII control characters. `}`, the space and everything beyond ASCII stay.
const ESCAPED: &[u8] = b"\"#%'*/:=?\\\x7f{[]^";

/// Does Hive escape this byte of a name? Bytes of characters beyond ASCII never are.
fn is_escaped(byte: u8) -> bool {
    byte < b' ' || ESCAPED.contains(&byte)
}

/// A key or a value as it stands in a path: escaped characters become `%XX`, in capitals.
pub fn escape(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if is_escaped(byte) => {
                escaped.push('%');
                escaped.push(char::from(HEX[usize::from(byte >> 4)]));
                escaped.push(char::from(HEX[usize::from(byte & 15)]));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Undoes [`escape`]. A `%` that two hex digits do not follow stays what it is.
pub fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3).filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if let Some(code) = digits.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            plain.push(char::from(code));
            rest = &rest[at + 3..];
        } else {
            plain.push('%');
            rest = &rest[at + 1..];
        }
    }
    plain.push_str(rest);
    plain
}

/// A folder name, `key=value`.
pub fn folder(key: &str, value: Option<&str>) -> String {
    format!("{}={}", escape(key), value.map_or_else(|| DEFAULT_PARTITION.to_owned(), escape))
}

/// The key and the value of a folder name; `None` when it is not `key=value`.
pub fn parse_folder(folder: &str) -> Option<(String, Option<String>)> {
    let (key, value) = folder.split_once('=')?;
    Some((unescape(key), (value != DEFAULT_PARTITION).then(|| unescape(value))))
}

/// Can columns of this type be partition keys?
pub fn check_key(field: &Field) -> Result<(), WriteError> {
    match field.data_type() {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Date32
        | DataType::Decimal128(..)
        | DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(()),
        other => Err(WriteError::PartitionKeyType { key: field.name().clone(), data_type: other.to_string() }),
    }
}

/// The text of a partition value; `None` for null, the empty string and [`DEFAULT_PARTITION`].
///
/// Booleans are `true` and `false`, dates `YYYY-MM-DD`, timestamps `YYYY-MM-DD hh:mm:ss` with as many decimals as are
/// not zero (in UTC), decimals have all digits of their scale.
pub fn value_text(field: &Field, array: &dyn Array, row: usize) -> Result<Option<String>, WriteError> {
    if array.is_null(row) {
        return Ok(None);
    }
    let text = match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Utf8 => string::<i32>(array, row),
        DataType::LargeUtf8 => string::<i64>(array, row),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Date32 => date(field, array.as_primitive::<Date32Type>().value(row))?,
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            timestamp(field, array.as_primitive::<TimestampMicrosecondType>().value(row))?
        }
        other => {
            return Err(WriteError::PartitionKeyType { key: field.name().clone(), data_type: other.to_string() });
        }
    };
    Ok((!text.is_empty() && text != DEFAULT_PARTITION).then_some(text))
}

fn string<O: OffsetSizeTrait>(array: &dyn Array, row: usize) -> String {
    array.as_string::<O>().value(row).to_owned()
}

/// What a time beyond the calendar (years -9999 to 9999) is answered with.
fn beyond_calendar(field: &Field, value: i64, unit: &'static str) -> ValueError {
    ValueError::OutOfRange { key: field.name().clone(), value, unit }
}

/// By the calendar alone: an instant of `jiff` ends a day before it, so that each has a date in every zone.
const EPOCH: DateTime = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);

fn date(field: &Field, days: i32) -> Result<String, ValueError> {
    let day = EPOCH.checked_add(SignedDuration::from_secs(i64::from(days) * 86_400));
    let day = day.map_err(|_| beyond_calendar(field, i64::from(days), "days"))?;
    Ok(day.date().to_string())
}

fn timestamp(field: &Field, micros: i64) -> Result<String, ValueError> {
    let wall = EPOCH.checked_add(SignedDuration::from_micros(micros));
    let wall = wall.map_err(|_| beyond_calendar(field, micros, "microseconds"))?;
    Ok(format!("{} {}", wall.date(), wall.time()))
}

/// Why no folder can be named by a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// A path that the store does not take.
    #[error(
        "partition key `{key}` has a value that makes a path of {bytes} bytes, where the store takes {limit}: \
         `{value}…`; partition by something shorter, or filter such rows out"
    )]
    TooLong {
        /// The key.
        key: String,
        /// How the value begins.
        value: String,
        /// What it would take.
        bytes: usize,
        /// What there is.
        limit: usize,
    },
    /// A time that the calendar does not have.
    #[error("partition key `{key}` has a value outside of the years -9999 to 9999: {value} {unit} since 1970-01-01")]
    OutOfRange {
        /// The key.
        key: String,
        /// The value.
        value: i64,
        /// Its unit.
        unit: &'static str,
    },
}

impl ValueError {
    /// The stable code in dead letters.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "PartitionValueTooLong",
            Self::OutOfRange { .. } => "PartitionValueOutOfRange",
        }
    }

    /// The partition key.
    pub fn key(&self) -> &str {
        match self {
            Self::TooLong { key, .. } | Self::OutOfRange { key, .. } => key,
        }
    }
}

/// How long paths may be where a table lies.
///
/// It depends on nothing but the table: a record that is refused because of it is refused again when its batch is made
/// again, whatever lane it is in then.
#[derive(Debug, Clone, Copy)]
pub struct PathLimit {
    /// The longest name of one folder, in bytes.
    name: usize,
    /// The longest path.
    path: usize,
    /// Bytes of a path before and behind its Hive folders, at most.
    around: usize,
}

impl PathLimit {
    /// For a table at this url, which ends with a slash.
    pub fn of(url: &str) -> Self {
        let file = file_name(&"f".repeat(32), 9999, usize::MAX, "snappy.parquet").len();
        if let Some((_, prefix)) = url.strip_prefix("s3://").and_then(|rest| rest.split_once('/')) {
            return Self { name: usize::MAX, path: S3_KEY_LIMIT, around: prefix.len() + file };
        }
        let root = url.strip_prefix("file://").unwrap_or(url);
        Self { name: FILE_NAME_LIMIT, path: FILE_PATH_LIMIT, around: root.len() + file + STAGED_NAME_BYTES }
    }

    /// Refuses keys and values whose folders the store could not hold.
    pub fn check(self, values: &[(String, Option<String>)]) -> Result<(), ValueError> {
        let mut path = self.around;
        let mut longest = None;
        for (key, value) in values {
            let bytes = folder(key, value.as_deref()).len();
            if bytes > self.name {
                return Err(too_long(key, value.as_deref(), bytes, self.name));
            }
            // With the slash behind it.
            path += bytes + 1;
            longest = longest.max(Some((bytes, key, value)));
        }
        match longest {
            Some((_, key, value)) if path > self.path => Err(too_long(key, value.as_deref(), path, self.path)),
            _ => Ok(()),
        }
    }
}

fn too_long(key: &str, value: Option<&str>, bytes: usize, limit: usize) -> ValueError {
    let value: String = value.unwrap_or_default().chars().take(SHOWN).collect();
    ValueError::TooLong { key: key.to_owned(), value, bytes, limit }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    };
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_escaped_as_hive_escapes_them() {
        for (plain, escaped) in [
            ("2024-03-07", "2024-03-07"),
            ("a b", "a b"),
            ("a/b", "a%2Fb"),
            ("50%", "50%25"),
            ("12:30:00", "12%3A30%3A00"),
            ("k=v", "k%3Dv"),
            ("\"#%'*/:=?\\\u{7f}{[]^", "%22%23%25%27%2A%2F%3A%3D%3F%5C%7F%7B%5B%5D%5E"),
            ("}<>|~!&+,;@$()`-_.", "}<>|~!&+,;@$()`-_."),
            ("\u{0}\t\n\u{1f}", "%00%09%0A%1F"),
            ("Zürich 東京", "Zürich 東京"),
            ("..", ".."),
        ] {
            assert_eq!(escape(plain), escaped, "{plain:?}");
            assert_eq!(unescape(escaped), plain, "{escaped:?}");
        }
    }

    #[test]
    fn a_percent_sign_that_is_no_escape_stays() {
        for text in ["%", "100%", "%zz", "%4", "%+1", "a%é"] {
            assert_eq!(unescape(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_folder_gives_its_value_back(key in "\\PC{1,8}", value in ".{0,20}") {
            let value = (!value.is_empty()).then_some(value);
            prop_assume!(value.as_deref() != Some(DEFAULT_PARTITION));
            let name = folder(&key, value.as_deref());
            prop_assert!(!name.contains('/'));
            prop_assert_eq!(parse_folder(&name), Some((key, value)));
        }
    }

    #[test]
    fn values_have_the_text_that_readers_expect() {
        let micros = 1_709_814_605_000_000;
        let cases: Vec<(ArrayRef, &[Option<&str>])> = vec![
            (Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])), &[Some("true"), Some("false"), None]),
            (Arc::new(Int8Array::from(vec![-3])), &[Some("-3")]),
            (Arc::new(Int16Array::from(vec![7])), &[Some("7")]),
            (Arc::new(Int32Array::from(vec![2024])), &[Some("2024")]),
            (Arc::new(Int64Array::from(vec![i64::MIN])), &[Some("-9223372036854775808")]),
            (Arc::new(StringArray::from(vec!["a b", "", DEFAULT_PARTITION])), &[Some("a b"), None, None]),
            (
                Arc::new(Date32Array::from(vec![Some(0), Some(19_789), Some(-1), None, Some(2_932_896)])),
                &[Some("1970-01-01"), Some("2024-03-07"), Some("1969-12-31"), None, Some("9999-12-31")],
            ),
            (
                Arc::new(Decimal128Array::from(vec![1250, -5]).with_precision_and_scale(12, 2).unwrap()),
                &[Some("12.50"), Some("-0.05")],
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![micros, micros + 500_000]).with_timezone("UTC")),
                &[Some("2024-03-07 12:30:05"), Some("2024-03-07 12:30:05.5")],
            ),
            (
                Arc::new(TimestampMicrosecondArray::from(vec![253_402_300_799_999_999]).with_timezone("UTC")),
                &[Some("9999-12-31 23:59:59.999999")],
            ),
        ];
        for (array, expected) in cases {
            let field = Field::new("key", array.data_type().clone(), true);
            check_key(&field).unwrap();
            let texts: Vec<_> = (0..array.len()).map(|row| value_text(&field, &array, row).unwrap()).collect();
            let texts: Vec<_> = texts.iter().map(Option::as_deref).collect();
            assert_eq!(texts, expected, "{}", array.data_type());
        }
    }

    #[test]
    fn what_cannot_be_a_folder_is_refused_by_name() {
        let field = Field::new("price", DataType::Float64, true);
        assert!(check_key(&field).unwrap_err().to_string().contains("`price`"));
        let far = Date32Array::from(vec![i32::MAX]);
        let error = value_text(&Field::new("day", DataType::Date32, true), &far, 0).unwrap_err();
        assert!(error.to_string().contains("`day`"), "{error}");
        let value = |bytes| vec![("city".to_owned(), Some("x".repeat(bytes)))];
        let error = PathLimit::of("file:///t/").check(&value(300)).unwrap_err();
        assert_eq!((error.code(), error.key()), ("PartitionValueTooLong", "city"));
        assert!(error.to_string().contains("`city`") && error.to_string().contains("xxxx"), "{error}");
        let bucket = PathLimit::of("s3://bucket/some/table/");
        assert!(bucket.check(&value(900)).is_ok());
        assert!(bucket.check(&value(1000)).is_err());
        let many = |folders| (0..folders).map(|key| (format!("{key:03}"), Some("x".repeat(240)))).collect::<Vec<_>>();
        assert!(PathLimit::of("file:///t/").check(&many(15)).is_ok());
        assert!(PathLimit::of("file:///t/").check(&many(17)).is_err());
    }
}
