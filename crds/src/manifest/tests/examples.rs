//! What the schema tells a person of each field: what it is, and an example that can be used as it stands.

use kube::core::cel::Validator;
use serde_json::{Value, json};

use super::super::{node::Node, schema};
use crate::crd::tests::walk;
use crate::crd::{Kind, split_example};

/// Each field of spec and status at every depth, by its path: the field, its description and its example.
fn fields(kind: Kind, mut visit: impl FnMut(String, &Value, &str, Option<&str>)) {
    for part in ["spec", "status"] {
        walk(&kind.schema()["properties"][part], part, &mut |schema, path| {
            for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                let (description, example) = split_example(field);
                visit(format!("{}: {path}.{name}", kind.as_str()), field, description, example);
            }
        });
    }
}

#[test]
fn every_field_says_what_it_is_and_shows_an_example() {
    let mut missing = Vec::new();
    for kind in Kind::ALL {
        fields(kind, |path, field, description, example| {
            if description.len() <= 3 {
                missing.push(format!("{path} has no description"));
            }
            // An object whose members all have an example needs none of its own; here each member is looked at.
            if example.is_none() && !field["properties"].is_object() {
                missing.push(format!("{path} has no example: end its description with Example: `...`"));
            }
        });
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_example_is_one_that_the_field_takes() {
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        fields(kind, |path, field, _, example| {
            if let Some(problem) = example.and_then(|example| problem(field, example)) {
                wrong.push(format!("{path}: {problem}"));
            }
        });
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is wrong with an example. A text stands as it is, everything else is YAML.
fn problem(field: &Value, example: &str) -> Option<String> {
    let text = if field["type"] == "string" { Value::from(example).to_string() } else { example.to_owned() };
    let node: Node = match serde_saphyr::from_str(&format!("it: {text}\n")) {
        Ok(node) => node,
        Err(error) => return Some(error.to_string()),
    };
    let schema = json!({"type": "object", "properties": {"it": with_patterns_as_rules(field)}});
    let found = schema::check(&node, &schema);
    if !found.is_empty() {
        return Some(found.iter().map(|finding| finding.problem.to_string()).collect());
    }
    if field["format"] == "date-time" {
        return example.parse::<jiff::Timestamp>().err().map(|error| error.to_string());
    }
    Validator::new().validate(&schema, &node.value(), None).err().map(|errors| errors.to_string())
}

/// The check leaves patterns to the types that are parsed, and here nothing is.
fn with_patterns_as_rules(schema: &Value) -> Value {
    let mut schema = schema.clone();
    match &mut schema {
        Value::Object(members) => {
            members.values_mut().for_each(|member| *member = with_patterns_as_rules(member));
            let pattern = members.get("pattern").and_then(Value::as_str).map(str::to_owned);
            if let Some(pattern) = pattern.filter(|_| !members.contains_key("format")) {
                let rule = json!({"rule": format!("string(self).matches('{pattern}')"), "message": pattern});
                let rules = members.entry("x-kubernetes-validations").or_insert(json!([]));
                rules.as_array_mut().expect("rules").push(rule);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(|element| *element = with_patterns_as_rules(element)),
        _ => {}
    }
    schema
}
