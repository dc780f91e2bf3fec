//! Values: what each type takes, exactly, and what it refuses.

use super::{code, row};

/// Each text in a column of this type: the value as it is shown, or the code of the refusal.
#[track_caller]
fn table(hive: &str, cases: &[(&str, &str)]) {
    // The same inside of an array, so that nesting changes nothing.
    let list = format!("array<{hive}>");
    let declared = [("v", hive), ("list", list.as_str())];
    for (value, expected) in cases {
        let text = format!(r#"{{"v":{value}, "list" : [ {value} ,{value}] }}"#);
        if expected.starts_with(|c: char| c.is_ascii_uppercase()) {
            assert_eq!(code(&declared, &text), format!("{expected} v"), "{hive} {value}");
            assert_eq!(
                code(&declared, format!(r#"{{"list":[null,{value}]}}"#)),
                format!("{expected} list[1]"),
                "{hive} {value}"
            );
        } else {
            let shown = format!(r#"{{"v":{expected},"list":[{expected},{expected}]}}"#);
            assert_eq!(row(&declared, &text), shown, "{hive} {value}");
        }
    }
}

#[test]
fn integers_take_whole_numbers_that_fit_and_nothing_else() {
    table(
        "int",
        &[
            ("1", "1"),
            ("-0", "0"),
            ("1.0", "1"),
            ("1e3", "1000"),
            ("2147483647", "2147483647"),
            ("-2147483648", "-2147483648"),
            ("null", "null"),
            ("1.5", "NotAnInteger"),
            ("1e-1", "NotAnInteger"),
            ("2147483648", "OutOfRange"),
            ("1180591620717411303424", "OutOfRange"),
            ("1e999999999999", "OutOfRange"),
            ("\"12\"", "WrongType"),
            ("true", "WrongType"),
            ("[1]", "WrongType"),
            ("{}", "WrongType"),
        ],
    );
    table("tinyint", &[("-128", "-128"), ("127", "127"), ("128", "OutOfRange")]);
    table("smallint", &[("-32768", "-32768"), ("32768", "OutOfRange")]);
    table(
        "bigint",
        &[
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "OutOfRange"),
            ("12345678901234567.0", "12345678901234567"),
        ],
    );
}

#[test]
fn doubles_take_every_number_and_the_three_names() {
    table(
        "double",
        &[
            ("1", "1.0"),
            ("-0.0", "-0.0"),
            ("12.5", "12.5"),
            ("0.1", "0.1"),
            ("1e-400", "0.0"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("1e400", "OutOfRange"),
            ("\"12.5\"", "WrongType"),
            ("\"nan\"", "WrongType"),
            ("true", "WrongType"),
        ],
    );
    table("float", &[("0.1", "0.1"), ("16777217", "16777216.0"), ("1e39", "OutOfRange"), ("1e400", "OutOfRange")]);
    // As a double it lies exactly between 1 and the next float.
    table("float", &[("1.00000005960464477539062500000001", "1.0000001")]);
    for hive in ["double", "float"] {
        let batch = super::decode(
            &mut super::decoder(&[("v", hive)]),
            super::raw([r#"{"v":"NaN"}"#, r#"{"v":"Infinity"}"#, r#"{"v":"-Infinity"}"#]),
        );
        let text = format!("{:?}", batch.rows.column(0));
        assert!(text.contains("NaN") && text.contains(" inf") && text.contains("-inf"), "{text}");
    }
}

#[test]
fn decimals_are_exact_or_refused() {
    table(
        "decimal(5,2)",
        &[
            ("1", "1.00"),
            ("-12.3", "-12.30"),
            ("999.99", "999.99"),
            ("\"12.34\"", "12.34"),
            ("\"-0.5\"", "-0.50"),
            ("\"0E-10\"", "0.00"),
            ("1.230000000000000000000000000000000000000000000", "1.23"),
            ("1.2e1", "12.00"),
            ("1.234", "DecimalScale"),
            ("\"1.234\"", "DecimalScale"),
            ("1000", "OutOfRange"),
            ("-1000", "OutOfRange"),
            ("1e50", "OutOfRange"),
            ("\"\"", "InvalidDecimal"),
            ("\"abc\"", "InvalidDecimal"),
            ("\" 1\"", "InvalidDecimal"),
            ("\"1,5\"", "InvalidDecimal"),
            ("\"1 \"", "InvalidDecimal"),
            ("false", "WrongType"),
        ],
    );
    let nines = "9".repeat(38);
    table("decimal(38,0)", &[(&nines, &nines), (&format!("{nines}9"), "OutOfRange")]);
    table(
        "decimal(38,38)",
        &[(&format!("0.{nines}"), &format!("0.{nines}")), ("0", &format!("0.{}", "0".repeat(38))), ("1", "OutOfRange")],
    );
}

#[test]
fn strings_keep_what_is_no_string_as_its_source_text() {
    table(
        "string",
        &[
            (r#""""#, r#""""#),
            (r#""a\u0062\n""#, r#""ab\n""#),
            ("null", "null"),
            ("1.50", r#""1.50""#),
            ("-0", r#""-0""#),
            ("1E400", r#""1E400""#),
            ("true", r#""true""#),
            ("[ 1,\t2 ]", r#""[ 1,\t2 ]""#),
            (r#"{"a" : "\u0041", "a":{}}"#, r#""{\"a\" : \"\\u0041\", \"a\":{}}""#),
            ("{}", r#""{}""#),
        ],
    );
}

#[test]
fn booleans_are_true_and_false() {
    table(
        "boolean",
        &[
            ("true", "true"),
            ("false", "false"),
            ("0", "WrongType"),
            ("\"true\"", "WrongType"),
            ("{\"a\":[]}", "WrongType"),
        ],
    );
}

#[test]
fn dates_and_timestamps_are_strings_of_one_meaning() {
    table("date", &[("\"2024-02-29\"", "\"2024-02-29\""), ("\"2023-02-29\"", "InvalidDate"), ("19782", "WrongType")]);
    table(
        "timestamp",
        &[
            ("\"2026-01-02T03:04:05Z\"", "\"2026-01-02T03:04:05Z\""),
            ("\"2026-01-02\\u002003:04:05.123456\"", "\"2026-01-02T03:04:05.123456Z\""),
            ("\"2026-01-02T03:04:05+02:00\"", "\"2026-01-02T01:04:05Z\""),
            ("\"2026-01-02T03:04:05.1234567Z\"", "TimestampPrecision"),
            ("\"yesterday\"", "InvalidTimestamp"),
            ("\"2026-01-02\"", "InvalidTimestamp"),
            ("1767323045", "WrongType"),
        ],
    );
    table(
        "timestamp_ntz",
        &[
            ("\"2026-01-02T03:04:05.5\"", "\"2026-01-02T03:04:05.500\""),
            ("\"2026-01-02T03:04:05Z\"", "InvalidTimestamp"),
            ("{}", "WrongType"),
        ],
    );
}

#[test]
fn binary_is_base64() {
    table(
        "binary",
        &[
            ("\"\"", "\"\""),
            ("\"AP8=\"", "\"00ff\""),
            ("\"AP8\"", "\"00ff\""),
            ("\"\\u0041P8\"", "\"00ff\""),
            ("\"AP8-\"", "InvalidBase64"),
            ("\"AP 8\"", "InvalidBase64"),
            ("\"AP9=\"", "InvalidBase64"),
            ("[0,255]", "WrongType"),
        ],
    );
}

#[test]
fn nested_types_are_taken_as_they_stand() {
    table("array<int>", &[("[]", "[]"), ("[1,null , 2]", "[1,null,2]"), ("{}", "WrongType"), ("\"[]\"", "WrongType")]);
    table(
        "map<string,int>",
        &[("{}", "{}"), (r#"{"b":1,"a":null,"b":3}"#, r#"{"a":null,"b":3}"#), ("[]", "WrongType")],
    );
    table(
        "struct<a:int,b:struct<c:string>>",
        &[(r#"{"b":{"c":5}}"#, r#"{"a":null,"b":{"c":"5"}}"#), ("[]", "WrongType"), ("1", "WrongType")],
    );
}

#[test]
fn a_big_map_with_equal_keys_keeps_the_last_of_each() {
    let entries: Vec<String> = (0..50_000).map(|n| format!(r#""k{}":{n}"#, n % 20_000)).collect();
    let shown = row(&[("m", "map<string,int>")], &format!(r#"{{"m":{{{}}}}}"#, entries.join(",")));
    let kept: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let map = kept["m"].as_object().expect("a map");
    assert_eq!(
        (map.len(), &map["k0"], &map["k9999"], &map["k10000"]),
        (20_000, &40_000.into(), &49_999.into(), &30_000.into())
    );
}
