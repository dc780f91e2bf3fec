//! Whole records: what is one, what is none, and what becomes of its members.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};

use super::super::{DecodeError, Decoder, source_schema};
use super::{code, columns, decode, decoder, raw, refusal, row, shown};
use crate::batch::{RawBatch, Stage};

const ID: &[(&str, &str)] = &[("id", "bigint")];

#[test]
fn a_message_that_is_not_one_json_object_is_refused() {
    for (text, expected) in [
        ("", "EmptyValue"),
        (" \r\n\t", "EmptyValue"),
        ("null", "NotAnObject"),
        ("17", "NotAnObject"),
        ("\"{}\"", "NotAnObject"),
        ("[{\"id\":1}]", "NotAnObject"),
        ("[1,", "InvalidJson"),
        ("xyz", "InvalidJson"),
        ("{\"id\":1}{\"id\":2}", "TrailingData"),
        ("{\"id\":1} xyz", "TrailingData"),
        ("{\"id\":1},", "TrailingData"),
        ("{\"id\":1}\0", "TrailingData"),
        ("\u{feff}{\"id\":1}", "InvalidJson"),
        ("{\"id\":1", "InvalidJson"),
        ("{\"id\":", "InvalidJson"),
        ("{\"id\"", "InvalidJson"),
        ("{\"id", "InvalidJson"),
        ("{", "InvalidJson"),
        ("}", "InvalidJson"),
    ] {
        assert_eq!(code(ID, text), expected, "{text:?}");
    }
    assert_eq!(row(ID, " \r\n\t{ \"id\" : 1 } \n"), r#"{"id":1}"#);
    assert_eq!(row(ID, "{}"), r#"{"id":null}"#);
}

#[test]
fn what_other_parsers_let_pass_is_refused_in_kept_and_in_unknown_members() {
    let broken = [
        "01",
        "-",
        "+1",
        ".5",
        "1.",
        "1e",
        "1-2",
        "0x10",
        "NaN",
        "Infinity",
        "tru",
        "TRUE",
        "nul",
        "nulll",
        "'a'",
        "a",
        "[1,]",
        "[,1]",
        "[1,,2]",
        "[1 2]",
        "[1",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1]",
        "[1}",
        "// c\n1",
        "/* c */ 1",
        "\"a\nb\"",
        "\"a\u{1}b\"",
        "\"\t\"",
        "\"a",
        "1,",
        "",
    ];
    for value in broken {
        for member in ["id", "text", "unknown", "inner"] {
            let text = format!(r#"{{"{member}":{value}}}"#);
            let declared = [("id", "bigint"), ("text", "string"), ("inner", "struct<a:array<int>>")];
            assert_eq!(code(&declared, &text), "InvalidJson", "{text}");
        }
    }
    for text in [r#"{"id":1,}"#, r#"{,"id":1}"#, r#"{"id":1,,"x":2}"#, r#"{"id":1 "x":2}"#, r#"{"id" 1}"#, r"{id:1}"] {
        assert_eq!(code(ID, text), "InvalidJson", "{text}");
    }
}

#[test]
fn bad_escapes_are_refused_wherever_they_stand() {
    for escape in [
        r"\x",
        r"\u12",
        r"\u12G4",
        r"\u+123",
        r"\ud800",
        r"\ud800\u0041",
        r"\ud800\ud800",
        r"\udc00",
        r"\ud800x",
        r"\'",
    ] {
        for text in [
            format!(r#"{{"text":"{escape}"}}"#),
            format!(r#"{{"unknown":["{escape}"]}}"#),
            format!(r#"{{"{escape}":1}}"#),
            format!(r#"{{"unknown":{{"{escape}":1}}}}"#),
        ] {
            assert_eq!(code(&[("text", "string")], &text), "InvalidEscape", "{text}");
        }
    }
    assert_eq!(code(ID, r#"{"a":"\"#), "InvalidEscape");
    assert_eq!(
        row(
            &[("text", "string")],
            r#"{"text":"\"\\\/\b\f\n\r\t\u00e9\uD834\uDD1E\ud840\udc0b\u0000 long enough for every loop"}"#
        ),
        r#"{"text":"\"\\/\b\f\n\r\té𝄞𠀋\u0000 long enough for every loop"}"#
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_refused_wherever_they_stand() {
    for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"] {
        for (before, after) in [("{\"id\":1,\"a\":\"", "\"}"), ("{\"", "\":1}"), ("{\"id\":1}", "")] {
            let text = [before.as_bytes(), bytes, after.as_bytes()].concat();
            assert_eq!(code(ID, &text), "InvalidUtf8", "{text:?}");
        }
    }
}

#[test]
fn nesting_is_bounded_the_same_way_in_kept_and_in_unknown_members() {
    let nested =
        |levels: usize, member: &str| format!(r#"{{"id":1,"{member}":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    let declared = [("id", "bigint"), ("text", "string"), ("list", "array<array<string>>")];
    for member in ["text", "unknown", "list"] {
        assert!(row(&declared, &nested(127, member)).starts_with(r#"{"id":1"#));
        assert_eq!(code(&declared, nested(128, member)), "TooDeep");
        assert_eq!(code(&declared, nested(100_000, member)), "TooDeep");
    }
}

#[test]
fn a_tombstone_is_refused_with_its_own_code() {
    let mut batch = RawBatch::new(0);
    batch.push(1, 0, Some(b"key"), None, []);
    let batch = decode(&mut decoder(ID), batch);
    assert_eq!(batch.refused[0].error.code, "NullValue");
    assert_eq!(batch.refused[0].error.stage, Stage::Decode);
}

#[test]
fn members_are_found_by_name_and_others_are_passed() {
    let declared = [("id", "bigint"), ("user", "struct<name:string,age:int>")];
    for text in [
        r#"{"id":1,"user":{"name":"a","age":2}}"#,
        r#"{"user":{"age":2,"name":"a"},"id":1}"#,
        r#"{"x":[{"id":9}],"id":1,"y":{},"user":{"n":null,"name":"a","z":"}","age":2},"ID":5,"Id":6,"id ":7}"#,
        r#"{"\u0069d":1,"\u0075s\u0065r":{"nam\u0065":"a","age":2}}"#,
    ] {
        assert_eq!(row(&declared, text), r#"{"id":1,"user":{"name":"a","age":2}}"#, "{text}");
    }
    assert_eq!(row(&declared, r#"{"user":{}}"#), r#"{"id":null,"user":{"name":null,"age":null}}"#);
    assert_eq!(row(&declared, r#"{"user":null,"id":null}"#), r#"{"id":null,"user":null}"#);
}

#[test]
fn names_that_need_escapes_or_are_long_are_columns_like_others() {
    let long = "a_name_that_is_longer_than_the_sixteen_bytes_that_are_compared_at_once";
    let declared = [("a\"b", "int"), ("tab\t", "int"), ("back\\", "int"), ("", "int"), ("größe", "int"), (long, "int")];
    let text = format!(r#"{{"a\"b":1,"tab\t":2,"back\\":3,"":4,"größe":5,"{long}":6}}"#);
    let mut decoder = decoder(&declared);
    let batch = decode(&mut decoder, raw([&text, &text, &text.replace(long, &long.replace("sixteen", "sixty"))]));
    let rows = shown(&batch.rows);
    assert_eq!(rows[0], text);
    assert_eq!(rows[1], text);
    assert_eq!(rows[2], text.replace(":6", ":null"));
    // In a text the closing quote comes earlier, so this is another key and broken besides.
    assert_eq!(code(&declared, r#"{"a"b":1}"#), "InvalidJson");
}

#[test]
fn the_order_of_keys_may_change_with_every_record() {
    let declared = [("a", "int"), ("b", "int"), ("c", "int")];
    let mut texts = Vec::new();
    for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "x", "a"], ["y", "c", "a"], ["a", "b", "c"]] {
        for skip in 0..4 {
            let members: Vec<String> = order
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != skip)
                .map(|(_, key)| format!(r#""{key}":{}"#, key.as_bytes()[0]))
                .collect();
            texts.push(format!("{{{}}}", members.join(",")));
        }
    }
    let batch = decode(&mut decoder(&declared), raw(&texts));
    for (text, shown) in texts.iter().zip(shown(&batch.rows)) {
        let value: serde_json::Value = serde_json::from_str(text).expect("test data");
        let row: serde_json::Value = serde_json::from_str(&shown).expect("test data");
        assert!(["a", "b", "c"].iter().all(|key| row[key] == value[key]), "{text} {shown}");
    }
}

#[test]
fn ever_new_keys_do_not_fill_the_memory() {
    let texts: Vec<String> = (0..5_000).map(|n| format!(r#"{{"key_{n}":{n},"id":{n}}}"#)).collect();
    let mut decoder = decoder(ID);
    let batch = decode(&mut decoder, raw(&texts));
    let ids = batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    assert!(ids.into_iter().eq(0..5_000));
    assert!(format!("{decoder:?}").len() < 1_000_000);
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let declared =
        [("id", "bigint"), ("user", "struct<name:string,tags:array<int>>"), ("map", "map<string,struct<n:int>>")];
    for (text, expected) in [
        (r#"{"id":1,"id":2}"#, r#"{"id":2,"user":null,"map":null}"#),
        (r#"{"id":1,"id":null}"#, r#"{"id":null,"user":null,"map":null}"#),
        (r#"{"id":"zz","id":2}"#, r#"{"id":2,"user":null,"map":null}"#),
        (
            r#"{"user":{"name":"a","tags":[1,2]},"id":1,"user":{"tags":[3]}}"#,
            r#"{"id":1,"user":{"name":null,"tags":[3]},"map":null}"#,
        ),
        (
            r#"{"user":{"name":"a","tags":[1,"x"],"tags":[4],"n\u0061me":"b"},"id":1}"#,
            r#"{"id":1,"user":{"name":"b","tags":[4]},"map":null}"#,
        ),
        (
            r#"{"map":{"a":{"n":1},"b":{"n":"bad"},"a":{"n":2},"b":null}}"#,
            r#"{"id":null,"user":null,"map":{"a":{"n":2},"b":null}}"#,
        ),
        (r#"{"map":{"a":{"n":"bad"}},"map":{}}"#, r#"{"id":null,"user":null,"map":{}}"#),
    ] {
        assert_eq!(row(&declared, text), expected, "{text}");
    }
    for (text, expected) in [
        (r#"{"id":2,"id":"zz"}"#, "WrongType id"),
        (r#"{"id":"a","id":2,"id":1.5}"#, "NotAnInteger id"),
        (r#"{"user":{"tags":[1]},"user":7}"#, "WrongType user"),
        (r#"{"map":{"a":{"n":1},"a":{"n":"bad"}}}"#, "WrongType map[\"a\"].n"),
    ] {
        assert_eq!(code(&declared, text), expected, "{text}");
    }
}

#[test]
fn a_required_column_is_checked_even_when_nobody_needs_it() {
    let declared = columns(&[("id", "bigint"), ("key!", "int"), ("note", "int")]);
    let mut decoder = Decoder::new("orders", &declared, &[0], false).expect("the columns are good");
    assert_eq!(decoder.schema().fields().len(), 1);
    let texts = [
        r#"{"id":1,"key":1}"#,
        r#"{"id":2}"#,
        r#"{"id":3,"key":null}"#,
        r#"{"id":4,"key":"x"}"#,
        r#"{"id":5,"key":null,"key":2,"note":"not an int, and not needed"}"#,
        r#"{"id":6,"key":2,"key":null}"#,
    ];
    let batch = decode(&mut decoder, raw(texts));
    assert_eq!(shown(&batch.rows), [r#"{"id":1}"#, r#"{"id":5}"#]);
    let refused: Vec<_> =
        batch.refused.iter().map(|refused| (refused.error.code, refused.error.field.as_deref())).collect();
    let null = ("NullInRequiredColumn", Some("key"));
    assert_eq!(refused, [null, null, ("WrongType", Some("key")), null]);
}

#[test]
fn rows_are_counted_when_no_column_is_needed() {
    let mut decoder = Decoder::new("orders", &columns(&[("id", "bigint")]), &[], false).expect("the columns are good");
    let batch = decode(&mut decoder, raw([r#"{"id":1}"#, "{", r#"{"id":"unread"}"#]));
    assert_eq!((batch.rows.num_rows(), batch.rows.num_columns(), batch.origin), (2, 0, vec![0, 2]));
}

#[test]
fn a_field_path_leads_to_the_value() {
    let declared =
        [("id", "bigint"), ("items", "array<struct<sku:string,qty:int>>"), ("m", "map<string,array<map<string,int>>>")];
    for (text, expected) in [
        (r#"{"items":[{"qty":1},{"qty":2},{"qty":"x"}]}"#, "WrongType items[2].qty"),
        (r#"{"items":[{"qty":1},5]}"#, "WrongType items[1]"),
        (r#"{"items":{"qty":1}}"#, "WrongType items"),
        (r#"{"m":{"k":[{},{"x":1,"y z":true}]}}"#, r#"WrongType m["k"][1]["y z"]"#),
        // The first declared column that is bad, wherever it stands.
        (r#"{"items":1,"id":"x"}"#, "WrongType id"),
        // Syntax before types.
        (r#"{"id":"x","items":[01]}"#, "InvalidJson"),
        (r#"{"id":"x","items":[]"#, "InvalidJson"),
        (r#"{"id":"x"} x"#, "TrailingData"),
        (r#"{"items":["x",tru]}"#, "InvalidJson"),
    ] {
        assert_eq!(code(&declared, text), expected, "{text}");
    }
}

#[test]
fn a_message_tells_where_and_quotes_little() {
    let declared = [("id", "bigint"), ("at", "timestamp")];
    assert_eq!(refusal(&declared, r#"{"id":1,"x":[1,}"#).message, "`}` at byte 15 where a value is expected");
    assert_eq!(refusal(&declared, r#"{"id":1"#).message, "the text ends at byte 7 where `,` or `}` is expected");
    assert_eq!(refusal(&declared, r#"{"id":"zz"}"#).message, "the string `\"zz\"` where the column's type is bigint");
    assert!(refusal(&declared, r#"{"at":1767323045000}"#).message.contains("to_timestamp_millis"));
    let long = format!(r#"{{"id":"{}"}}"#, "é".repeat(10_000));
    assert!(refusal(&declared, long).message.chars().count() < 120);
}

#[test]
fn columns_that_cannot_be_decoded_are_refused_at_once() {
    let new = |declared: &[(&str, &str)], needed: &[usize], metadata| {
        Decoder::new("orders", &columns(declared), needed, metadata).err()
    };
    assert_eq!(new(&[("a", "int"), ("a", "int")], &[0], false), Some(DecodeError::DuplicateColumn("a".into())));
    assert_eq!(new(&[("_kafka", "int")], &[0], true), Some(DecodeError::ReservedColumn("_kafka".into())));
    assert_eq!(new(&[("_kafka", "int")], &[0], false), None);
    let error = new(&[("m", "array<map<int,string>>")], &[0], false).expect("a map of ints");
    assert!(error.to_string().contains("`m` has a map with keys of type int"), "{error}");
    assert!(matches!(new(&[("a", "int")], &[1], false), Some(DecodeError::NeededColumn { .. })));
    assert!(matches!(new(&[("a", "int"), ("b", "int")], &[1, 0], false), Some(DecodeError::NeededColumn { .. })));
}

#[test]
fn kafka_metadata_is_that_of_the_row_s_own_record() {
    let declared = columns(&[("id", "bigint")]);
    let mut decoder = Decoder::new("orders", &declared, &[0], true).expect("the columns are good");
    let mut batch = RawBatch::new(7);
    batch.push(10, 1_767_323_045_123, Some(b"k\xff"), Some(br#"{"id":1}"#), [("h", Some(&b"v"[..])), ("h", None)]);
    batch.push(11, 5, Some(b"lost"), Some(b"{"), [("lost", None)]);
    batch.push(15, -1, None, Some(br#"{"id":2}"#), []);
    let batch = decode(&mut decoder, batch);
    assert_eq!(
        shown(&batch.rows),
        [
            r#"{"id":1,"_kafka":{"topic":"orders","partition":7,"offset":10,"timestamp":"2026-01-02T03:04:05.123Z","key":"6bff","headers":[{"key":"h","value":"76"},{"key":"h","value":null}]}}"#,
            r#"{"id":2,"_kafka":{"topic":"orders","partition":7,"offset":15,"timestamp":null,"key":null,"headers":[]}}"#,
        ]
    );
    assert_eq!(source_schema(&declared, true), decoder.schema());
    assert_eq!(source_schema(&declared, false).fields().len(), 1);
    let field = source_schema(&declared, true).field_with_name("_kafka").expect("the column").clone();
    assert!(!field.is_nullable() && matches!(field.data_type(), DataType::Struct(_)));
}

#[test]
fn a_decoder_is_empty_after_each_batch() {
    let declared = [("id", "bigint"), ("list", "array<struct<a:string>>"), ("m", "map<string,boolean>")];
    let texts = [
        r#"{"id":1,"list":[{"a":"x"},null],"m":{"k":true}}"#,
        r#"{"id":"x","list":[{"a":"y"}],"m":{"k":false}}"#,
        "{}",
    ];
    let mut decoder = decoder(&declared);
    let first: RecordBatch = decode(&mut decoder, raw(texts)).rows;
    for _ in 0..3 {
        assert_eq!(decode(&mut decoder, raw(texts)).rows, first);
        assert_eq!(decode(&mut decoder, RawBatch::new(0)).rows.num_rows(), 0);
        assert_eq!(decode(&mut decoder, raw(["", "[]"])).rows.num_rows(), 0);
    }
    assert!(Arc::ptr_eq(&first.schema(), &decoder.schema()));
}
