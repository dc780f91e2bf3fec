//! The field reference of a kind, as a page of Markdown: one section with one table for each struct of its schema.
//!
//! It says what the schema says and nothing else. A struct that stands at several places has its section at the first of them; the
//! others link there.

use serde_json::Value;

use super::{GENERATED, Kind};
use crate::units::DURATION_PATTERN;

/// The page of a kind.
pub(super) fn page(kind: Kind) -> String {
    let (name, schema) = (kind.as_str(), kind.schema());
    let lower = name.to_lowercase();
    let mut page = Page { kind, text: String::new(), sections: Vec::new() };
    page.line(&format!("<!-- {GENERATED} -->\n# {name}: all fields\n\n{}\n", prose(text(schema, "description"))));
    page.line(&format!(
        "[{lower}.md](../{lower}.md) says how to use it, and `kubectl explain {lower}.spec` shows these descriptions too. *Needed* is what must \
         be given wherever the object around it is given. Durations are texts such as `1h30m`, quantities those of Kubernetes, such as `128Mi`. \
         The list above a table has the rules about its fields together, in the words in which a broken one is told.\n"
    ));
    page.rules(schema);
    for part in ["spec", "status"] {
        let schema = &schema["properties"][part];
        page.sections.push((shape(schema), part.to_owned()));
        page.section(part, schema);
    }
    page.text.truncate(page.text.trim_end().len());
    page.text.push('\n');
    page.text
}

struct Page {
    kind: Kind,
    text: String,
    /// The structs that have a section, with its path.
    sections: Vec<(Value, String)>,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// The section of a struct, and those of the structs in it.
    fn section(&mut self, path: &str, schema: &Value) {
        let level = if path.contains('.') { "###" } else { "##" };
        self.line(&format!("{level} {path}\n\n{}\n", prose(split(schema).0)));
        self.rules(schema);
        self.line("| field | type | needed | what it is |\n|---|---|---|---|");
        let mut below = Vec::new();
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let (path, inner) = inner(format!("{path}.{name}"), member);
            let (target, is_new) = self.target(&path, inner);
            let needed = schema["required"].as_array().is_some_and(|needed| needed.contains(&name.as_str().into()));
            let needed = if needed { "yes" } else { "" };
            self.line(&format!(
                "| `{name}` | {} | {needed} | {} |",
                cell(&kind_of(member, &target)),
                cell(&about(member))
            ));
            if is_new {
                below.push((path, inner));
            }
        }
        self.line("");
        for (path, schema) in below {
            self.section(&path, schema);
        }
    }

    /// The link to the section of a struct, and whether this section is still to be written. What is no struct has none.
    fn target(&mut self, path: &str, schema: &Value) -> (String, bool) {
        if !schema["properties"].is_object() {
            return (String::new(), false);
        }
        let shape = shape(schema);
        let mut others = Kind::ALL.into_iter().filter(|other| *other != self.kind);
        if let Some(other) = others.find(|other| self::shape(&other.schema()["properties"]["spec"]) == shape) {
            let name = other.as_str();
            return (format!("[spec of a {name}]({}#spec)", other.page_name()), false);
        }
        if let Some((_, known)) = self.sections.iter().find(|(known, _)| *known == shape) {
            return (format!("as {}", link(known)), false);
        }
        self.sections.push((shape, path.to_owned()));
        (link(path), true)
    }

    /// The rules about a struct as a whole.
    fn rules(&mut self, schema: &Value) {
        let messages: Vec<String> = rules(schema).map(|message| format!("- {}.\n", prose(message))).collect();
        if !messages.is_empty() {
            self.line(&messages.concat());
        }
    }
}

/// A struct without what belongs to the place where it stands.
fn shape(schema: &Value) -> Value {
    let mut shape = schema.clone();
    if let Some(members) = shape.as_object_mut() {
        members.retain(|name, _| !["description", "nullable", "default"].contains(&name.as_str()));
    }
    shape
}

/// What a list has as its elements, or a map as its values, with its path.
fn inner(path: String, schema: &Value) -> (String, &Value) {
    match ["items", "additionalProperties"].map(|name| &schema[name]) {
        [items @ Value::Object(_), _] => inner(format!("{path}[]"), items),
        [_, values @ Value::Object(_)] => inner(format!("{path}[name]"), values),
        _ => (path, schema),
    }
}

/// A heading of this page. Its anchor has the letters and digits of the heading only.
fn link(path: &str) -> String {
    let anchor = path.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    format!("[{path}](#{anchor})")
}

/// The type of a value with its bounds; `target` is the link to its struct.
fn kind_of(schema: &Value, target: &str) -> String {
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    match text(schema, "type") {
        "string" if schema["format"] == "date-time" => "time".to_owned(),
        "string" if schema["pattern"] == DURATION_PATTERN => "duration".to_owned(),
        "string" => bounded("text", schema, ["minLength", "maxLength"], " characters"),
        "array" => {
            let list = bounded("list", schema, ["minItems", "maxItems"], "");
            let key = &schema["x-kubernetes-list-map-keys"][0];
            let key = key.as_str().map(|key| format!(", each `{key}` once")).unwrap_or_default();
            format!("{list}{key}, of {}", kind_of(&schema["items"], target))
        }
        "object" if schema["additionalProperties"].is_object() => {
            let map = bounded("map", schema, ["minProperties", "maxProperties"], "");
            format!("{map}, of {}", kind_of(&schema["additionalProperties"], target))
        }
        "object" if !target.is_empty() => target.to_owned(),
        "object" if schema["x-kubernetes-preserve-unknown-fields"] == true => "object, not checked here".to_owned(),
        "object" => "object without members".to_owned(),
        number => bounded(number, schema, ["minimum", "maximum"], ""),
    }
}

/// A type with its bounds, in members of these names.
fn bounded(what: &str, schema: &Value, [least, most]: [&str; 2], unit: &str) -> String {
    let (least, most) = (&schema[least], &schema[most]);
    match (least.as_f64(), most.as_f64()) {
        (Some(only), _) if least == most => format!("{what}, {only}{}", unit.trim_end_matches('s')),
        (Some(least), Some(most)) => format!("{what}, {least} to {most}{unit}"),
        (Some(least), None) => format!("{what}, at least {least}{unit}"),
        (None, Some(most)) => format!("{what}, at most {most}{unit}"),
        (None, None) => what.to_owned(),
    }
}

/// What is said of a field: the description, its own rules, the default that the API server puts in, the example.
fn about(schema: &Value) -> String {
    let (description, example) = split(schema);
    let mut about = vec![prose(description)];
    if !schema["properties"].is_object() {
        about.extend(rules(schema).map(|message| format!(" Refused otherwise: {}.", prose(message))));
        about.extend(schema.get("default").map(|default| format!(" Put in when it is not given: `{default}`.")));
    }
    about.extend(example.map(|example| format!("<br>Example: `{example}`")));
    about.concat()
}

fn text<'s>(schema: &'s Value, name: &str) -> &'s str {
    schema[name].as_str().unwrap_or_default()
}

/// The messages of the rules of a schema.
fn rules(schema: &Value) -> impl Iterator<Item = &str> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten().map(|rule| text(rule, "message"))
}

/// A description and the example at its end.
pub(crate) fn split(schema: &Value) -> (&str, Option<&str>) {
    let description = text(schema, "description");
    match description.split_once("Example: `") {
        Some((description, example)) => (description.trim_end(), example.strip_suffix('`')),
        None => (description, None),
    }
}

/// Text on one line, in which nothing but code has a meaning.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(index, part)| if index % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`").replace('\n', " ")
}

/// The text of a cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
