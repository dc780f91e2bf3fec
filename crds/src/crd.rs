//! The `CustomResourceDefinition`s: what `crds/*.yaml` and the field reference in `docs/reference/` are generated from, and what manifests
//! are checked against.

mod page;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
pub(crate) use page::split as split_example;

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::connection::Connection;
use crate::data_catalog_table::DataCatalogTable;
use crate::streaming_job::StreamingJob;

/// `apiVersion` of all resources.
pub const API_VERSION: &str = "sluice.dev/v1alpha1";

/// What each generated file says of itself.
const GENERATED: &str = "Generated from crds/src by `make generate`. Do not edit.";

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
        Ok(format!("# {GENERATED}\n{}", serde_saphyr::to_string(&self.definition())?))
    }

    /// The definition as a template of the Helm chart, where a file of the same name holds it.
    pub fn chart_template(self) -> Result<String, serde_saphyr::SerializeError> {
        // In a description two braces are text, and for Helm they would begin an action.
        let text = serde_saphyr::to_string(&self.definition())?.replace("{{", "{{`{{`}}");
        let text = text.replacen("metadata:\n", CHART_METADATA, 1);
        Ok(format!("{{{{- /* {GENERATED} */ -}}}}\n{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"))
    }

    /// The name of its page in `docs/reference/`.
    pub fn page_name(self) -> &'static str {
        match self {
            Self::Connection => "connection.md",
            Self::DataCatalogTable => "datacatalogtable.md",
            Self::StreamingJob => "streamingjob.md",
        }
    }

    /// All its fields, for people.
    pub fn page(self) -> String {
        page::page(self)
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
