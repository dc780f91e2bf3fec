//! What the schemas let in can be read.
//!
//! A list of objects is read as a whole: one object that the API server takes and a program cannot read would hide all others of its
//! kind from the operator and from the agents. So objects are made from the schemas alone, without the validation rules, which
//! only refuse more; whatever comes out must be read.

#![allow(clippy::expect_used, clippy::panic, reason = "a test")]

use proptest::prelude::*;
use proptest::string::string_regex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluice_crds::connection::Connection;
use sluice_crds::crd::Kind;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::streaming_job::StreamingJob;

/// Any value that a schema lets in.
fn admitted(schema: &Value) -> BoxedStrategy<Value> {
    let value = match schema["type"].as_str() {
        None => quantity(schema),
        Some("object") => object(schema),
        Some("array") => {
            let (least, most) = bounds(schema, "minItems", "maxItems");
            prop::collection::vec(admitted(&schema["items"]), least..=most.min(least + 2)).prop_map(Value::from).boxed()
        }
        Some("string") => text(schema),
        Some("integer") => integer(schema),
        Some("number") => {
            let bound = |name: &str, other| schema[name].as_f64().unwrap_or(other);
            let numbers = bound("minimum", -1e300)..=bound("maximum", 1e300);
            // A whole number comes without a point.
            prop_oneof![numbers.prop_map(Value::from), Just(json!(7))].boxed()
        }
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some(other) => panic!("no values of type {other}"),
    };
    if schema["nullable"] == true { prop_oneof![7 => value, 1 => Just(Value::Null)].boxed() } else { value }
}

fn bounds(schema: &Value, least: &str, most: &str) -> (usize, usize) {
    let bound = |name: &str, other| schema[name].as_u64().map_or(other, |bound| bound as usize);
    (bound(least, 0), bound(most, usize::MAX))
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return Just(json!({"a": [1, {"b": null}], "c": 1.5})).boxed();
    }
    if schema["additionalProperties"].is_object() {
        let values = admitted(&schema["additionalProperties"]);
        return prop::collection::btree_map("\\PC{0,5}", values, 0..3)
            .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into())
            .boxed();
    }
    let needed = schema["required"].as_array().cloned().unwrap_or_default();
    let members = schema["properties"].as_object().into_iter().flatten().map(|(name, member)| {
        let value = admitted(member);
        let name = name.clone();
        let value = if needed.contains(&name.as_str().into()) {
            value.prop_map(Some).boxed()
        } else {
            prop::option::of(value).boxed()
        };
        value.prop_map(move |value| value.map(|value| (name.clone(), value))).boxed()
    });
    let members: Vec<_> = members.collect();
    members.prop_map(|members| members.into_iter().flatten().collect::<serde_json::Map<_, _>>().into()).boxed()
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<Value> = words.iter().filter(|word| word.is_string()).cloned().collect();
        return prop::sample::select(words).boxed();
    }
    let (least, most) = bounds(schema, "minLength", "maxLength");
    let is_time = schema["format"] == "date-time";
    let texts = match schema["pattern"].as_str() {
        Some(pattern) => of_pattern(pattern),
        // Only the operator writes these.
        None if is_time => return Just("2026-01-31T00:00:00Z".into()).boxed(),
        None => string_regex(&format!("(?s).{{{least},{}}}", most.min(least + 12))).expect("a pattern").boxed(),
    };
    // The API server knows that there is no 30th of February.
    let is_day = move |text: &String| text.get(..10).is_some_and(|day| day.parse::<jiff::civil::Date>().is_ok());
    let fits = move |text: &String| (least..=most).contains(&text.chars().count()) && (!is_time || is_day(text));
    texts.prop_filter("admitted", fits).prop_map(Value::from).boxed()
}

fn of_pattern(pattern: &str) -> BoxedStrategy<String> {
    let inner =
        pattern.strip_prefix('^').and_then(|pattern| pattern.strip_suffix('$')).expect("a pattern of the whole text");
    string_regex(inner).expect("a pattern").boxed()
}

fn quantity(schema: &Value) -> BoxedStrategy<Value> {
    assert_eq!(schema["x-kubernetes-int-or-string"], true);
    let most = schema["maxLength"].as_u64().expect("a bound") as usize;
    let texts = of_pattern(schema["pattern"].as_str().expect("a pattern"));
    let least = schema["minimum"].as_f64().map_or(i64::MIN, |least| least as i64);
    prop_oneof![
        texts.prop_filter("admitted", move |text| text.len() <= most).prop_map(Value::from),
        (least..=i64::MAX).prop_map(Value::from),
    ]
    .boxed()
}

fn integer(schema: &Value) -> BoxedStrategy<Value> {
    // Without bounds, an `int32` is in a status, which the operator writes.
    let narrow = schema["format"] == "int32";
    let (least, most) = if narrow { (i32::MIN.into(), i32::MAX.into()) } else { (i64::MIN, i64::MAX) };
    let bound = |name: &str, other| schema[name].as_f64().map_or(other, |bound| bound as i64);
    (bound("minimum", least)..=bound("maximum", most)).prop_map(Value::from).boxed()
}

fn read<K: DeserializeOwned>(kind: Kind, mut object: Value) -> Result<(), TestCaseError> {
    object["apiVersion"] = "sluice.dev/v1alpha1".into();
    object["kind"] = kind.as_str().into();
    object["metadata"] = json!({"name": "a", "namespace": "etl"});
    let error = serde_json::from_value::<K>(object.clone()).err();
    prop_assert!(error.is_none(), "{:?}: {}", error, object);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_connection_that_is_let_in_can_be_read(object in admitted(Kind::Connection.schema())) {
        read::<Connection>(Kind::Connection, object)?;
    }

    #[test]
    fn every_table_that_is_let_in_can_be_read(object in admitted(Kind::DataCatalogTable.schema())) {
        read::<DataCatalogTable>(Kind::DataCatalogTable, object)?;
    }

    #[test]
    fn every_job_that_is_let_in_can_be_read(object in admitted(Kind::StreamingJob.schema())) {
        read::<StreamingJob>(Kind::StreamingJob, object)?;
    }
}

/// Numbers in the spec that have a width in memory have a bound in the schema.
#[test]
fn no_number_of_a_spec_is_wider_than_what_reads_it() {
    fn look(schema: &Value, path: &str) {
        if schema["format"] == "int32" {
            assert!(schema["minimum"].is_number() && schema["maximum"].is_number(), "{path}");
        }
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            look(member, &format!("{path}.{name}"));
        }
        for name in ["items", "additionalProperties"].into_iter().filter(|name| schema[*name].is_object()) {
            look(&schema[name], path);
        }
    }
    for kind in Kind::ALL {
        look(&kind.schema()["properties"]["spec"], kind.as_str());
    }
}

/// The outermost values of each field that is more than a text, where a parser is most likely to refuse what a pattern lets in.
#[test]
fn the_extremes_are_let_in_and_read() {
    let job = |field: &str, value: &str| {
        let spec = format!(
            "{{\"source\": {{\"startPosition\": {{\"type\": \"Timestamp\"}}}}, \"sink\": {{}}, \"{field}\": {value}}}"
        );
        serde_json::from_str::<Value>(&spec).expect("json")
    };
    for (field, value) in [
        ("window", r#"{"period": "99999h99999m99999s99999ms"}"#),
        ("window", r#"{"maxBytes": "99999999999999999999999999999999999999"}"#),
        ("window", r#"{"maxBytes": "9999999999999999999999999999999999Pi"}"#),
        ("window", r#"{"maxBytes": "0.00000000000000000000000000000000001Pi"}"#),
        ("window", r#"{"maxBytes": 9223372036854775807}"#),
        ("workers", r#"{"resources": {"limits": {"cpu": "99999999999999999999999999999999999999"}}}"#),
        ("workers", r#"{"resources": {"limits": {"cpu": "9.9999999999999999999999999999999999m"}}}"#),
        ("workers", r#"{"resources": {"limits": {"cpu": 9223372036854775807}}}"#),
        (
            "replay",
            r#"{"nonce": 9223372036854775807, "from": {"type": "Timestamp", "time": "2999-12-31T23:59:59.999999999-23:59"}}"#,
        ),
        ("replay", r#"{"nonce": 1, "from": {"type": "Timestamp", "time": "1000-01-01T00:00:00+23:59"}}"#),
        ("transforms", r#"[{"cast": {"a": "array<", "b": "struct<a:strng>"}}]"#),
    ] {
        let object = json!({"metadata": {"name": "a"}, "spec": job(field, value)});
        let read = serde_json::from_value::<StreamingJob>(object);
        assert!(read.is_ok(), "{value}: {:?}", read.err());
    }
}
