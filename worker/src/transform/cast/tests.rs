//! What fits and what does not, pair by pair.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray, StringViewArray, StructArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use proptest::prelude::*;
use sluice_crds::types::HiveType;

use super::{can_cast, cast, show};
use crate::schema::data_type;

fn to(text: &str) -> DataType {
    data_type(&text.parse::<HiveType>().expect("type"))
}

/// Each value as text after the cast; `!` where it did not fit.
#[allow(clippy::needless_pass_by_value, reason = "made where it is called")]
fn outcome(array: ArrayRef, target: &str) -> Vec<String> {
    let target = to(target);
    assert!(can_cast(array.data_type(), &target), "{} -> {target}", array.data_type());
    let checked = cast(&array, &target).expect("a cast");
    assert_eq!(checked.array.data_type(), &target);
    assert_eq!(checked.array.len(), array.len());
    (0..array.len())
        .map(|row| match &checked.bad {
            Some(bad) if bad.value(row) => "!".to_owned(),
            _ if checked.array.is_null(row) => "null".to_owned(),
            _ => show(&checked.array, row),
        })
        .collect()
}

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn doubles(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn a_value_fits_as_it_was_or_not_at_all() {
    let decimals = |values: &[i128], p, s| -> ArrayRef {
        Arc::new(Decimal128Array::from(values.to_vec()).with_precision_and_scale(p, s).expect("decimal"))
    };
    let cases: Vec<(ArrayRef, &str, &[&str])> = vec![
        (
            doubles(&[1.0, 1.5, -2.0, f64::NAN, 1e10, -0.0, 2_147_483_647.0, 2_147_483_648.0]),
            "int",
            &["1", "!", "-2", "!", "!", "0", "2147483647", "!"],
        ),
        (doubles(&[9_223_372_036_854_775_808.0, f64::INFINITY]), "bigint", &["!", "!"]),
        (longs(&[127, 128, -128, -129]), "tinyint", &["127", "!", "-128", "!"]),
        (longs(&[9_007_199_254_740_992, 9_007_199_254_740_993]), "double", &["9007199254740992.0", "!"]),
        (longs(&[i64::MAX]), "double", &["!"]),
        (longs(&[999, 1000]), "decimal(5,2)", &["999.00", "!"]),
        (
            doubles(&[12.34, 12.345, 0.1 + 0.2, -0.01, 1e12, f64::NAN, 9_999_999_999.99, 10_000_000_000.0]),
            "decimal(12,2)",
            &["12.34", "!", "!", "-0.01", "!", "!", "9999999999.99", "!"],
        ),
        (
            doubles(&[1e20, 123_456_789_012_345_680_000.0, 0.1]),
            "decimal(38,1)",
            &["100000000000000000000.0", "123456789012345680000.0", "0.1"],
        ),
        (Arc::new(Float32Array::from(vec![12.34, 0.125, 1.0 / 3.0])), "decimal(12,2)", &["12.34", "!", "!"]),
        (doubles(&[0.1, 0.123_456_789_1, f64::INFINITY, 1e300, 16_777_217.0]), "float", &["0.1", "!", "inf", "!", "!"]),
        (decimals(&[1234, 1200], 12, 2), "int", &["!", "12"]),
        (decimals(&[1234, 1230], 12, 2), "decimal(12,1)", &["!", "12.3"]),
        (decimals(&[1234, 99999], 12, 2), "decimal(4,2)", &["12.34", "!"]),
        (decimals(&[1234, 12_345_678_901_234_567_890], 20, 2), "double", &["12.34", "!"]),
        (
            strings(&["12", "-7", "1.0", "1.5", "abc", "", " 1", "99999999999"]),
            "int",
            &["12", "-7", "!", "!", "!", "!", "1", "!"],
        ),
        (
            strings(&[
                "12.34",
                "1.500",
                "1.239",
                "-1e2",
                "1e-3",
                "+.5",
                "5.",
                ".",
                "abc",
                "",
                "10000000000",
                "0.00e99",
            ]),
            "decimal(12,2)",
            &["12.34", "1.50", "!", "-100.00", "!", "0.50", "5.00", "!", "!", "!", "!", "0.00"],
        ),
        (strings(&["0.1", "x", " 2 ", " "]), "double", &["0.1", "!", "2.0", "!"]),
        (strings(&["true", "FALSE", "maybe"]), "boolean", &["true", "false", "!"]),
        (
            strings(&["2026-01-31", "2026-02-30", "2026-01-31T00:00:00Z", "2026-01-31T01:00:00Z", "yesterday", ""]),
            "date",
            &["2026-01-31", "!", "2026-01-31", "!", "!", "!"],
        ),
        (
            strings(&[
                "2026-01-31T10:00:00.123456Z",
                "2026-01-31T10:00:00.1234567Z",
                "2026-01-31 10:00:00",
                "2026-01-31T10:00:00+02:00",
                "2026-01-31",
                "noon",
            ]),
            "timestamp",
            &[
                "2026-01-31T10:00:00.123456Z",
                "!",
                "2026-01-31T10:00:00Z",
                "2026-01-31T08:00:00Z",
                "2026-01-31T00:00:00Z",
                "!",
            ],
        ),
        (Arc::new(StringViewArray::from(vec!["7", "x"])), "bigint", &["7", "!"]),
        (Arc::new(TimestampMillisecondArray::from(vec![1, i64::MAX])), "timestamp", &["1970-01-01T00:00:00.001Z", "!"]),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1000, 1001])),
            "timestamp",
            &["1970-01-01T00:00:00.000001Z", "!"],
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1000, 1001]).with_timezone("+02:00")),
            "timestamp",
            &["1970-01-01T00:00:00.000001Z", "!"],
        ),
        (Arc::new(TimestampMillisecondArray::from(vec![86_400_000, 86_400_001])), "date", &["1970-01-02", "!"]),
        (Arc::new(Date32Array::from(vec![1, -1])), "timestamp", &["1970-01-02T00:00:00Z", "1969-12-31T00:00:00Z"]),
        (longs(&[5, -5]), "string", &["5", "-5"]),
        (doubles(&[0.1]), "string", &["0.1"]),
        (Arc::new(BooleanArray::from(vec![true])), "string", &["true"]),
        (Arc::new(BinaryArray::from(vec![&b"ok"[..], &[0xff][..]])), "string", &["ok", "!"]),
    ];
    for (array, target, expected) in cases {
        let shown = format!("{} -> {target}", array.data_type());
        assert_eq!(outcome(array, target), expected, "{shown}");
    }
}

#[test]
fn null_stays_null() {
    for (array, target) in [
        (Arc::new(Int64Array::from(vec![None, Some(1)])) as ArrayRef, "tinyint"),
        (Arc::new(Float64Array::from(vec![None, Some(1.0)])), "decimal(12,2)"),
        (Arc::new(StringArray::from(vec![None, Some("1")])), "int"),
        (Arc::new(StringArray::from(vec![None, Some("1")])), "decimal(12,2)"),
        (Arc::new(Float64Array::from(vec![None, Some(1.0)])), "float"),
        (arrow::array::new_null_array(&DataType::Null, 2), "string"),
    ] {
        assert_eq!(outcome(array, target)[0], "null");
    }
}

#[test]
fn what_has_no_meaning_is_refused_when_planning() {
    for (from, target) in [
        ("bigint", "timestamp"),
        ("timestamp", "bigint"),
        ("bigint", "boolean"),
        ("boolean", "int"),
        ("bigint", "date"),
        ("struct<a:int,b:int>", "struct<a:int>"),
        ("struct<a:int>", "struct<A:int>"),
        ("struct<a:int>", "string"),
        ("array<int>", "string"),
        ("array<int>", "array<boolean>"),
        ("string", "binary"),
    ] {
        // A string is bytes: the one pair of this list that has a meaning.
        assert_eq!(can_cast(&to(from), &to(target)), from == "string", "{from} -> {target}");
    }
}

#[test]
fn members_are_cast_one_by_one_and_mark_their_row() {
    let values: ArrayRef = Arc::new(Int64Array::from(vec![999, 1, 2, 300, 4]));
    let list = ListArray::new(
        Arc::new(Field::new("item", DataType::Int64, true)),
        OffsetBuffer::new(vec![0, 1, 3, 4, 5].into()),
        values,
        Some(vec![false, true, true, true].into()),
    );
    let list: ArrayRef = Arc::new(list);
    assert_eq!(outcome(Arc::clone(&list), "array<tinyint>"), ["null", "[1, 2]", "!", "[4]"]);
    assert_eq!(outcome(list.slice(1, 2), "array<tinyint>"), ["[1, 2]", "!"], "a slice sees its own values only");

    let inner: ArrayRef = Arc::new(Int32Array::from(vec![1, 1000]));
    let other: ArrayRef = strings(&["x", "y"]);
    let fields = vec![Field::new("n", DataType::Int32, true), Field::new("s", DataType::Utf8, true)];
    let structs: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![inner, other], None));
    assert_eq!(outcome(structs, "struct<s:string,n:tinyint>"), ["{s: x, n: 1}", "!"]);

    let dictionary: ArrayRef =
        Arc::new(["7", "x", "7"].into_iter().collect::<arrow::array::DictionaryArray<Int32Type>>());
    assert_eq!(outcome(dictionary, "int"), ["7", "!", "7"]);

    let mut map =
        arrow::array::MapBuilder::new(None, arrow::array::StringBuilder::new(), arrow::array::Int64Builder::new());
    for value in [1, 1000] {
        map.keys().append_value("k");
        map.values().append_value(value);
        map.append(true).expect("entry");
    }
    assert_eq!(outcome(Arc::new(map.finish()), "map<string,tinyint>"), ["{k: 1}", "!"]);
}

proptest! {
    #[test]
    fn a_decimal_text_survives_the_double(unscaled in -999_999_999_999_i64..=999_999_999_999, scale in 0_u8..=6) {
        let text = format!("{}{}.{:0width$}", if unscaled < 0 { "-" } else { "" }, unscaled.abs() / 10_i64.pow(u32::from(scale)), unscaled.abs() % 10_i64.pow(u32::from(scale)), width = usize::from(scale));
        let text = text.trim_end_matches('.').to_owned();
        let target = format!("decimal(12,{scale})");
        let double: f64 = text.parse().expect("a number");
        let of_double = outcome(doubles(&[double]), &target);
        let of_text = outcome(strings(&[&text]), &target);
        prop_assert_eq!(&of_double, &of_text);
        prop_assert_ne!(&of_text[0], "!");
    }

    #[test]
    fn doubles_become_integers_only_if_they_are(value in proptest::num::f64::ANY) {
        let fits = value.fract() == 0.0 && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
        prop_assert_eq!(outcome(doubles(&[value]), "bigint")[0] != "!", fits);
    }
}
