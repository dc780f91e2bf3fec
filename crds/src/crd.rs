//! The `CustomResourceDefinition`s: what `crds/*.yaml` is generated from, and what manifests are checked against.

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::connection::Connection;
use crate::data_catalog_table::DataCatalogTable;
use crate::streaming_job::StreamingJob;

/// `apiVersion` of all resources.
pub const API_VERSION: &str = "sluice.dev/v1alpha1";

const HEADER: &str = "# Generated from crds/src by `make generate`. Do not edit.\n";

/// What the chart adds to a definition: it is kept when the release goes, because all objects of the kind would go with it.
const CHART_METADATA: &str = "\
metadata:
  annotations:
    {{- include \"sluice.crdAnnotations\" . | nindent 4 }}
  labels:
    {{- include \"sluice.sharedLabels\" . | nindent 4 }}
";

/// The kinds of resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Connection`]
    Connection,
    /// [`DataCatalogTable`]
    DataCatalogTable,
    /// [`StreamingJob`]
    StreamingJob,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connection, Self::DataCatalogTable, Self::StreamingJob];

    /// The word in a manifest's `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::DataCatalogTable => "DataCatalogTable",
            Self::StreamingJob => "StreamingJob",
        }
    }

    /// The file's name in `crds/`.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Connection => "connections.yaml",
            Self::DataCatalogTable => "datacatalogtables.yaml",
            Self::StreamingJob => "streamingjobs.yaml",
        }
    }

    /// The definition.
    pub fn definition(self) -> CustomResourceDefinition {
        match self {
            Self::Connection => Connection::crd(),
            Self::DataCatalogTable => DataCatalogTable::crd(),
            Self::StreamingJob => StreamingJob::crd(),
        }
    }

    /// The definition as the text of its file.
    pub fn yaml(self) -> Result<String, serde_saphyr::SerializeError> {
        Ok(format!("{HEADER}{}", serde_saphyr::to_string(&self.definition())?))
    }

    /// The definition as a template of the Helm chart, where a file of the same name holds it.
    pub fn chart_template(self) -> Result<String, serde_saphyr::SerializeError> {
        // In a description two braces are text, and for Helm they would begin an action.
        let text = serde_saphyr::to_string(&self.definition())?.replace("{{", "{{`{{`}}");
        let text = text.replacen("metadata:\n", CHART_METADATA, 1);
        let comment = HEADER.trim_start_matches("# ").trim_end();
        Ok(format!("{{{{- /* {comment} */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"))
    }

    /// The schema of the whole object, as the API server uses it.
    pub fn schema(self) -> &'static Value {
        static SCHEMAS: LazyLock<[Value; 3]> = LazyLock::new(|| Kind::ALL.map(Kind::make_schema));
        &SCHEMAS[self as usize]
    }

    fn make_schema(self) -> Value {
        let definition = serde_json::to_value(self.definition()).unwrap_or_default();
        definition.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&Value, &str)) {
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
    fn the_chart_installs_the_definitions_and_adds_nothing_but_metadata() {
        for kind in Kind::ALL {
            let template = kind.chart_template().expect("a template");
            assert_eq!(template.matches("{{- include").count(), 2, "labels and annotations");
            let added = ["  annotations:", "  labels:"];
            let lines = template.lines().filter(|line| !added.contains(line));
            let text: String = lines.filter(|line| !line.contains("{{")).map(|line| format!("{line}\n")).collect();
            assert_eq!(format!("{HEADER}{text}"), kind.yaml().expect("yaml"));
        }
    }

    #[test]
    fn a_definition_is_read_back_from_its_file_unchanged() {
        for kind in Kind::ALL {
            let yaml = kind.yaml().expect("yaml");
            let read: CustomResourceDefinition = serde_saphyr::from_str(&yaml).expect("a definition");
            assert_eq!(read, kind.definition());
            assert!(yaml.len() < 150 * 1024, "{} has {} bytes", kind.file_name(), yaml.len());
        }
    }

    #[test]
    fn every_field_says_what_it_is() {
        for kind in Kind::ALL {
            for part in ["spec", "status"] {
                walk(&kind.schema()["properties"][part], part, &mut |schema, path| {
                    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                        let description = property["description"].as_str().unwrap_or_default();
                        assert!(description.len() > 3, "{}: {path}.{name} has no description", kind.as_str());
                    }
                });
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
}
