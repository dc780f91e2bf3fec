//! What holds for all definitions.

use super::*;

/// The most that a definition may hold. etcd takes 1.5 MB, and `kubectl apply` keeps a copy of an object in an annotation of 256 KiB.
const LARGEST: usize = 150_000;

/// Visits a schema and everything in it, with paths such as `spec.columns.items.name`.
pub(crate) fn walk<'s>(schema: &'s Value, path: &str, visit: &mut impl FnMut(&'s Value, &str)) {
    visit(schema, path);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            walk(&schema[inner], &format!("{path}.{inner}"), visit);
        }
    }
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    for kind in Kind::ALL {
        let path = format!("{}/{}", env!("CARGO_MANIFEST_DIR"), kind.file_name());
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == kind.yaml().expect("yaml"), "{path} is out of date: run `make generate`");
    }
}

#[test]
fn the_committed_field_reference_is_that_of_the_types() {
    for kind in Kind::ALL {
        let path = format!("{}/../docs/reference/{}", env!("CARGO_MANIFEST_DIR"), kind.page_name());
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == kind.page(), "{path} is out of date: run `make generate`");
    }
}

#[test]
fn the_field_reference_has_each_field_and_no_link_into_the_void() {
    let pages = Kind::ALL.map(|kind| (kind.page_name(), kind.page()));
    let anchor = |heading: &str| heading.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let anchors = |page: &str| -> Vec<String> {
        page.lines().filter_map(|line| line.strip_prefix("## ").or(line.strip_prefix("### "))).map(anchor).collect()
    };
    for (kind, (name, page)) in Kind::ALL.into_iter().zip(&pages) {
        let mut own = anchors(page);
        for link in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = pages.iter().find(|(page, _)| *page == file || file.is_empty() && page == name);
            let known = target.map(|(_, page)| anchors(page));
            assert!(known.is_none_or(|known| known.iter().any(|it| it == anchor)), "{name}: {link}");
            assert!(target.is_some() || file.starts_with("../"), "{name}: {link}");
        }
        own.sort();
        let all = own.len();
        own.dedup();
        assert_eq!(own.len(), all, "{name}: two headings have the same anchor");
        for part in ["spec", "status"] {
            walk(&kind.schema()["properties"][part], part, &mut |schema, path| {
                for (field, _) in schema["properties"].as_object().into_iter().flatten() {
                    let there = pages.iter().any(|(_, page)| page.contains(&format!("\n| `{field}` | ")));
                    assert!(there, "{name}: {path}.{field}");
                }
            });
        }
        assert!(page.lines().filter(|line| line.starts_with('|')).all(|line| !line.contains("|  |  |")), "{name}");
    }
}

#[test]
fn the_chart_installs_the_definitions_and_adds_nothing_but_metadata() {
    for kind in Kind::ALL {
        let template = kind.chart_template().expect("a template");
        assert_eq!(template.matches("{{- include").count(), 2, "labels and annotations");
        let added = ["  annotations:", "  labels:"];
        let lines = template.lines().filter(|line| !added.contains(line));
        let text: String = lines.filter(|line| !line.contains("{{")).map(|line| [line, "\n"].concat()).collect();
        assert_eq!(format!("# {GENERATED}\n{text}"), kind.yaml().expect("yaml"));
    }
}

#[test]
fn a_definition_is_read_back_from_its_file_unchanged() {
    for kind in Kind::ALL {
        let yaml = kind.yaml().expect("yaml");
        let read: CustomResourceDefinition = serde_saphyr::from_str(&yaml).expect("a definition");
        assert_eq!(read, kind.definition());
    }
}

#[test]
fn a_definition_stays_small_in_its_file_and_where_it_is_kept() {
    for kind in Kind::ALL {
        let stored = serde_json::to_vec(&kind.definition()).expect("json");
        for (what, length) in [("the file", kind.yaml().expect("yaml").len()), ("the object", stored.len())] {
            assert!(length < LARGEST, "{what} {} has {length} bytes", kind.file_name());
        }
    }
}

#[test]
fn the_columns_of_kubectl_get_are_those_of_the_documentation() {
    let columns = |kind: Kind, wide: bool| -> Vec<String> {
        let columns = kind.definition().spec.versions[0].additional_printer_columns.clone().expect("columns");
        let shown = columns.into_iter().filter(|column| (column.priority.unwrap_or(0) > 0) == wide);
        shown.map(|column| format!("{} {}", column.name, column.json_path)).collect()
    };
    let ready = [
        "READY .status.conditions[?(@.type==\"Ready\")].status",
        "REASON .status.conditions[?(@.type==\"Ready\")].reason",
    ];
    let age = "AGE .metadata.creationTimestamp";
    let job =
        ["WORKERS .status.summary.workers", "LAG .status.lag.records", "LAST-COMMIT .status.lastCommit.time", age];
    assert_eq!(columns(Kind::StreamingJob, false), [&ready[..], &job].concat());
    let wide = [
        "SOURCE .status.summary.source",
        "SINK .status.summary.sink",
        "DEAD .status.totals.dead",
        "RATE .status.summary.rate",
    ];
    assert_eq!(columns(Kind::StreamingJob, true), wide);
    assert_eq!(columns(Kind::Connection, false), [&ready[..], &["PROBED .status.lastProbeTime", age]].concat());
    let table = ["DATABASE .spec.database", ready[0], ready[1], "SCHEMA-VERSION .status.schemaVersion", age];
    assert_eq!(columns(Kind::DataCatalogTable, false), table);
}

#[test]
fn every_column_of_kubectl_get_shows_a_field_of_its_type() {
    for kind in Kind::ALL {
        for column in kind.definition().spec.versions[0].additional_printer_columns.clone().expect("columns") {
            let path = column.json_path.replace("[?(@.type==\"Ready\")]", ".items");
            let mut schema = kind.schema();
            for name in path.split('.').skip(1).filter(|_| !path.starts_with(".metadata")) {
                schema = if name == "items" { &schema["items"] } else { &schema["properties"][name] };
            }
            let shown = match (schema["type"].as_str(), schema["format"] == "date-time") {
                (Some("string"), true) => "date",
                (Some(other), _) => other,
                (None, _) => panic!("{}: there is no {path}", kind.as_str()),
            };
            let age = path.starts_with(".metadata") && column.type_ == "date";
            // A time in the future is no age.
            let future = column.name == "CERTIFICATE-EXPIRY" && column.type_ == "string";
            assert!(age || future || column.type_ == shown, "{}: {} is {shown}", kind.as_str(), column.name);
        }
    }
}

#[test]
fn the_words_of_a_field_stand_in_its_description() {
    for kind in Kind::ALL {
        walk(&kind.schema()["properties"]["spec"], "spec", &mut |schema, path| {
            let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let description = schema["description"].as_str().unwrap_or_default();
            for word in words.filter(|word| !word.starts_with("scram")) {
                assert!(
                    description.contains(&format!("`{word}`")),
                    "{}: {path}: `{word}`: {description}",
                    kind.as_str()
                );
            }
        });
    }
}

#[test]
fn lists_maps_and_texts_of_a_spec_have_bounds() {
    for kind in Kind::ALL {
        walk(&kind.schema()["properties"]["spec"], "spec", &mut |schema, path| {
            let needed = match schema["type"].as_str() {
                Some("array") => "maxItems",
                Some("object") if schema.get("additionalProperties").is_some() => "maxProperties",
                Some("string") if schema.get("enum").is_none() && schema["format"] != "date-time" => "maxLength",
                _ => return,
            };
            assert!(schema.get(needed).is_some(), "{}: {path} has no {needed}", kind.as_str());
        });
    }
}

#[test]
fn nothing_with_a_rule_has_a_default() {
    for kind in Kind::ALL {
        walk(kind.schema(), "", &mut |schema, path| {
            let both = schema.get("default").is_some() && schema.get("x-kubernetes-validations").is_some();
            assert!(!both, "{}: {path}", kind.as_str());
            assert!(schema.get("oneOf").is_none() && schema.get("anyOf").is_none(), "{}: {path}", kind.as_str());
            assert!(schema.get("$ref").is_none(), "{}: {path}", kind.as_str());
        });
    }
}

#[test]
fn a_new_object_is_not_healthy_before_anybody_looked() {
    for kind in Kind::ALL {
        let status = &kind.schema()["properties"]["status"];
        assert_eq!(status["default"]["observedGeneration"], -1, "{}", kind.as_str());
        assert_eq!(status["properties"]["observedGeneration"]["default"], -1, "{}", kind.as_str());
        assert_eq!(status["properties"]["conditions"]["x-kubernetes-list-type"], "map", "{}", kind.as_str());
    }
}

#[test]
fn names_and_subresources_are_those_of_the_documentation() {
    for (kind, plural, short) in [
        (Kind::Connection, "connections", "conn"),
        (Kind::DataCatalogTable, "datacatalogtables", "dct"),
        (Kind::StreamingJob, "streamingjobs", "sj"),
    ] {
        let spec = kind.definition().spec;
        assert_eq!((spec.group.as_str(), spec.scope.as_str()), ("sluice.dev", "Namespaced"));
        assert_eq!(spec.names.plural, plural);
        assert_eq!(spec.names.short_names, Some(vec![short.to_owned()]));
        assert_eq!(spec.names.categories, Some(vec!["sluice".to_owned()]));
        let subresources = spec.versions[0].subresources.clone().expect("subresources");
        assert!(subresources.status.is_some());
        assert_eq!(subresources.scale.is_some(), kind == Kind::StreamingJob);
    }
}
