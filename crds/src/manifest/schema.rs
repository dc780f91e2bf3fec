//! Checks a document against the generated schema, as the API server would, and stricter: unknown fields are errors.
//!
//! Kubernetes drops unknown fields silently, so a typo would quietly become a default. Patterns are not checked here: the
//! types that have one say better what is wrong when they are parsed. Types of columns are, because reading one never fails.

use serde_json::Value;

use crate::types::{HiveType, RULE_MESSAGE};

use super::error::Problem;
use super::node::{Mark, Node, NodeKind};

/// One thing that is wrong, and where.
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) mark: Mark,
    pub(super) problem: Problem,
}

/// Everything that is wrong with an object of one of our kinds.
pub(super) fn check(object: &Node, schema: &Value) -> Vec<Finding> {
    let mut checker = Checker { findings: Vec::new() };
    for (name, mark, node) in object.members() {
        match name.as_str() {
            // These are Kubernetes' own.
            "apiVersion" | "kind" | "metadata" => {}
            name => match schema["properties"].get(name) {
                Some(property) => checker.value(node, property, name),
                None => checker.unknown(name, *mark, schema, ""),
            },
        }
    }
    checker.required(object, schema, "");
    checker.findings
}

struct Checker {
    findings: Vec<Finding>,
}

impl Checker {
    fn push(&mut self, path: &str, mark: Mark, problem: Problem) {
        self.findings.push(Finding { path: path.to_owned(), mark, problem });
    }

    fn value(&mut self, node: &Node, schema: &Value, path: &str) {
        if matches!(node.kind, NodeKind::Null) && schema["nullable"] == true {
            return;
        }
        if schema["x-kubernetes-int-or-string"] == true {
            if !matches!(node.kind, NodeKind::Text(_) | NodeKind::Number(_)) {
                self.wrong_type(node, "a text or a number", path);
            }
            return;
        }
        match (schema["type"].as_str().unwrap_or_default(), &node.kind) {
            ("object", NodeKind::Map(_)) => self.object(node, schema, path),
            ("array", NodeKind::List(elements)) => self.array(node, elements, schema, path),
            ("string", NodeKind::Text(text)) => self.text(node, text, schema, path),
            ("integer", NodeKind::Number(number)) if number.is_i64() => {
                self.number(node, number.as_f64().unwrap_or_default(), schema, path);
            }
            ("number", NodeKind::Number(number)) => {
                self.number(node, number.as_f64().unwrap_or_default(), schema, path);
            }
            ("boolean", NodeKind::Bool(_)) => {}
            ("object", _) => self.wrong_type(node, "an object", path),
            ("array", _) => self.wrong_type(node, "a list", path),
            ("string", NodeKind::Number(_) | NodeKind::Bool(_)) => {
                self.wrong_type(node, "a text (write it in quotes)", path);
            }
            ("string", _) => self.wrong_type(node, "a text", path),
            ("integer", _) => self.wrong_type(node, "a whole number", path),
            ("number", _) => self.wrong_type(node, "a number", path),
            ("boolean", _) => self.wrong_type(node, "true or false", path),
            _ => {}
        }
    }

    fn wrong_type(&mut self, node: &Node, expected: &'static str, path: &str) {
        self.push(path, node.mark, Problem::WrongType { expected, found: node.what() });
    }

    fn object(&mut self, node: &Node, schema: &Value, path: &str) {
        if schema["x-kubernetes-preserve-unknown-fields"] == true {
            return;
        }
        let members = node.members();
        if let Some(most) = schema["maxProperties"].as_u64().filter(|most| members.len() as u64 > *most) {
            self.push(path, node.mark, Problem::OutOfBounds { bound: format!("at most {most} members") });
        }
        for (name, mark, member) in members {
            let member_path = below(path, name);
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(property), _) => self.value(member, property, &member_path),
                (None, additional @ Value::Object(_)) => self.value(member, additional, &member_path),
                (None, _) => self.unknown(name, *mark, schema, path),
            }
        }
        self.required(node, schema, path);
    }

    fn unknown(&mut self, name: &str, mark: Mark, schema: &Value, path: &str) {
        let known: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let problem = Problem::UnknownField {
            field: name.to_owned(),
            suggestion: nearest(name, &known).map(str::to_owned),
            expected: known.join(", "),
        };
        self.push(&below(path, name), mark, problem);
    }

    fn required(&mut self, node: &Node, schema: &Value, path: &str) {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if node.get(name).is_none() {
                self.push(&below(path, name), node.mark, Problem::FieldMissing);
            }
        }
    }

    fn array(&mut self, node: &Node, elements: &[Node], schema: &Value, path: &str) {
        self.length(node, elements.len(), schema, path, ["minItems", "maxItems"], "elements");
        for (index, element) in elements.iter().enumerate() {
            self.value(element, &schema["items"], &format!("{path}[{index}]"));
        }
        let keys = schema["x-kubernetes-list-map-keys"].as_array().filter(|keys| keys.len() == 1);
        let Some(key) = keys.and_then(|keys| keys[0].as_str()) else { return };
        for (index, element) in elements.iter().enumerate() {
            let Some(name) = element.get(key).and_then(Node::text) else { continue };
            if elements[..index].iter().any(|other| other.get(key).and_then(Node::text) == Some(name)) {
                let problem = Problem::ElementTwice { key: key.to_owned(), value: name.to_owned() };
                self.push(&format!("{path}[{index}].{key}"), element.mark, problem);
            }
        }
    }

    fn length(&mut self, node: &Node, length: usize, schema: &Value, path: &str, names: [&str; 2], unit: &str) {
        let [least, most] = names.map(|name| schema[name].as_u64());
        let bound = match (least, most) {
            (Some(least), _) if (length as u64) < least => format!("at least {least} {unit}"),
            (_, Some(most)) if length as u64 > most => format!("at most {most} {unit}"),
            _ => return,
        };
        self.push(path, node.mark, Problem::OutOfBounds { bound });
    }

    fn text(&mut self, node: &Node, text: &str, schema: &Value, path: &str) {
        if schema["x-kubernetes-validations"][0]["message"] == RULE_MESSAGE
            && let Err(error) = text.parse::<HiveType>()
        {
            return self.push(path, node.mark, Problem::Value { message: error.to_string() });
        }
        // A text with a pattern is parsed by its type, which says more than a length.
        if schema.get("pattern").is_none() {
            self.length(node, text.chars().count(), schema, path, ["minLength", "maxLength"], "characters");
        }
        let Some(words) = schema["enum"].as_array() else { return };
        let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
        if !words.contains(&text) {
            let suggestion = nearest(text, &words).map(str::to_owned);
            let problem = Problem::WordUnknown { word: text.to_owned(), suggestion, expected: words.join(", ") };
            self.push(path, node.mark, problem);
        }
    }

    fn number(&mut self, node: &Node, number: f64, schema: &Value, path: &str) {
        let bound = match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
            (Some(least), _) if number < least => format!("at least {least}"),
            (_, Some(most)) if number > most => format!("at most {most}"),
            _ => return,
        };
        self.push(path, node.mark, Problem::OutOfBounds { bound });
    }
}

/// The path of a member. A name with dots is quoted, so that a path stays one.
pub(super) fn below(path: &str, name: &str) -> String {
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match (path.is_empty(), plain) {
        (true, _) => name.to_owned(),
        (false, true) => format!("{path}.{name}"),
        (false, false) => format!("{path}[{name:?}]"),
    }
}

/// The word that was probably meant: the same but for case, or at most two letters away (one for words of three).
fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let allowed = if word.len() <= 3 { 1 } else { 2 };
    let distances = known.iter().map(|other| (distance(&word.to_lowercase(), &other.to_lowercase()), *other));
    distances.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= allowed).map(|(_, other)| other)
}

/// Levenshtein's distance, with a swap of neighbours counted as two.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
