//! How the data of a table is written.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::plan::{ParquetCompatibility, ParquetCompression};
use crate::units::Size;

/// Exactly one format.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.json), has(self.avro), has(self.csv), has(self.xml), has(self.parquet)].exists_one(x, x)")
    .message("exactly one of json, avro, csv, xml and parquet must be given, such as json: {}"))]
pub struct Format {
    /// One JSON object for each message or line. Example: `{}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonFormat>,
    /// Apache Avro. Not supported yet. Example: `{schemaRegistry: {subject: transactions-value}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avro: Option<AvroFormat>,
    /// Lines of separated values. Not supported yet. Example: `{delimiter: ";", header: true}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvFormat>,
    /// One XML document for each message. Not supported yet. Example: `{rowTag: claim}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml: Option<XmlFormat>,
    /// Apache Parquet, for a table in an object store. Example: `{compression: ZSTD}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<ParquetFormat>,
}

/// JSON has no options.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonFormat {}

/// Apache Avro: the schema is in a registry or here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.schemaRegistry), has(self.schema)].exists_one(x, x)")
    .message("exactly one of schemaRegistry and schema must be given"))]
pub struct AvroFormat {
    /// The messages carry the id of a schema in the connection's schema registry. Example: `{subject: transactions-value}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_registry: Option<RegistrySubject>,
    /// The schema itself, as JSON text, for messages that carry no id.
    /// Example: `{"type": "record", "name": "R", "fields": [{"name": "id", "type": "string"}]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub schema: Option<String>,
}

/// A subject in a schema registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrySubject {
    /// The subject whose latest version names the columns. Default: `<topic>-value`. Example: `transactions-value`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub subject: Option<String>,
}

/// Separated values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsvFormat {
    /// What separates the values: one ASCII character. Default: `,`. Example: `;`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1))]
    pub delimiter: Option<String>,
    /// What a value is wrapped in when it holds a delimiter: one ASCII character. Default: `"`. Example: `'`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1))]
    pub quote: Option<String>,
    /// What stands before a quote inside of a value: one ASCII character. Default: the quote itself, doubled. Example: `\`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1))]
    pub escape: Option<String>,
    /// Does the first line hold the names of the columns? Without it they are `column_1`, `column_2` and so on. Default: false.
    /// Example: `true`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The text that means null. Default: the empty text. Example: `\N`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub null_value: Option<String>,
}

/// XML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct XmlFormat {
    /// The element that is a row. Example: `claim`
    #[schemars(length(min = 1, max = 255))]
    pub row_tag: String,
    /// What stands before the name of a column that comes from an attribute. Default: `_`. Example: `at_`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub attribute_prefix: Option<String>,
}

/// Apache Parquet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParquetFormat {
    /// Codec of the pages: `SNAPPY` (read by everything, fast), `ZSTD` (about a third smaller) or `NONE`. Default: `SNAPPY`.
    /// Example: `ZSTD`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<ParquetCompression>,
    /// Encoded bytes after which a row group ends, as a quantity from 64Ki to 2Gi. Default: 128Mi. Smaller ones need less memory in the
    /// worker and more in the reader. Example: `64Mi`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_group_size: Option<Size>,
    /// Whom the files are for: `Legacy` readers, too, as all are that know dictionaries and plain values, or only `Current` ones, which know
    /// the delta encodings of Parquet; their files are smaller where texts or numbers are all distinct. Spark before 3.5.7 and 4.0.1, with
    /// it AWS Glue to 5.1, refuses delta encodings or reads texts wrongly. Default: `Legacy`. Example: `Current`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compatibility: Option<ParquetCompatibility>,
}
