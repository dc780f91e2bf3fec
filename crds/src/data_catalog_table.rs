//! `DataCatalogTable`: the schema, the format and the place of a table, whether it is a topic or a folder of files.
//!
//! Deleting a table never deletes data.

mod format;
mod status;

pub use format::{AvroFormat, CsvFormat, Format, JsonFormat, ParquetFormat, RegistrySubject, XmlFormat};
pub use status::{ColumnDrift, DataCatalogTableStatus, ObjectStoreFindings, SchemaVersion, TopicFindings};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{LocalRef, ObjectStoreLocation};
use crate::types::ColumnType;
use crate::units::{Duration, Size};

/// A table: columns, a format and a location.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "sluice.dev",
    version = "v1alpha1",
    kind = "DataCatalogTable",
    namespaced,
    category = "sluice",
    shortname = "dct",
    status = "DataCatalogTableStatus",
    derive = "PartialEq",
    doc = "A DataCatalogTable is the schema, the format and the place of a table: a Kafka topic, or a folder of files in an object \
        store. Jobs of the same namespace read and write it. Deleting it never deletes data.",
    cel,
    printcolumn(name = "DATABASE", type_ = "string", json_path = ".spec.database"),
    printcolumn(name = "READY", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "REASON", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "SCHEMA-VERSION", type_ = "integer", json_path = ".status.schemaVersion"),
    printcolumn(name = "AGE", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "TOPIC", type_ = "string", json_path = ".spec.location.kafka.topic", priority = 1),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.location.objectStore.url", priority = 1),
    printcolumn(name = "ROWS", type_ = "integer", json_path = ".status.objectStore.rows", priority = 1)
)]
#[x_kube(
    validation = Rule::new("has(self.location.objectStore) || !(has(self.partitionKeys) || has(self.compaction) || has(self.tableFormat) && self.tableFormat != 'None')")
        .message("partitionKeys, compaction and tableFormat belong to a table in an objectStore"),
    validation = Rule::new("has(self.location.objectStore) || !has(self.format.parquet)")
        .message("a Kafka topic cannot hold parquet: use format json, avro, csv or xml"),
    validation = Rule::new("has(self.location.kafka) || !has(self.schemaDetection) || self.schemaDetection.mode == 'Disabled'")
        .message("schemaDetection samples a topic: it belongs to a table with a kafka location"),
    validation = Rule::new("!has(self.tableFormat) || self.tableFormat == 'None' || has(self.format.parquet)")
        .message("tableFormat Iceberg and Delta need format: {parquet: {}}")
)]
pub struct DataCatalogTableSpec {
    /// A name that groups tables, as in Hive and Glue. It is not an object of its own. Example: `payments`
    #[schemars(length(min = 1, max = 128))]
    pub database: String,
    /// Where the data is: exactly one of `kafka` and `objectStore`.
    /// Example: `{kafka: {connectionRef: {name: onprem}, topic: transactions}}`
    pub location: TableLocation,
    /// How the data is written: exactly one of `json`, `avro`, `csv`, `xml` and `parquet`. Example: `{json: {}}`
    pub format: Format,
    /// How the files of a folder make up a table: `None` (every file in the folder belongs to it, as in Hive), `Iceberg` or `Delta`.
    /// Default: `None`. The others are not supported yet. Example: `None`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_format: Option<TableFormat>,
    /// The columns, in order. Names keep their case, everywhere. Columns of a topic that are not named here are not read. A sink without
    /// columns takes what the job's last step yields. Example: `[{name: eventId, type: string, nullable: false}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub columns: Option<Vec<Column>>,
    /// The columns that become folders (`event_date=2026-01-31/`), outermost first. They do not stand among `columns`, and are of type
    /// string, tinyint, smallint, int, bigint, date or boolean. Default: none, all files are in one folder.
    /// Example: `[{name: event_date, type: date}]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub partition_keys: Option<Vec<PartitionKey>>,
    /// Find the columns of a topic by looking at some of its records; they are published in status. Default: `{mode: Disabled}`.
    /// The other modes are not supported yet. Example: `{mode: Disabled}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_detection: Option<SchemaDetection>,
    /// What becomes of a field of a record that is no declared column: `Ignore` (it is not read), `Capture` (it goes into the column
    /// `_extra`) or `AddColumn`. Default: `Ignore`. The others are not supported yet. Example: `Ignore`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_new_field: Option<OnNewField>,
    /// Join small files into larger ones. Default: files stay as they were written. Not supported yet. Example: `{targetFileSize: 256Mi}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction: Option<Compaction>,
}

/// Where the data of a table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.kafka), has(self.objectStore)].exists_one(x, x)")
    .message("exactly one of kafka and objectStore must be given"))]
pub struct TableLocation {
    /// A topic. Example: `{connectionRef: {name: onprem}, topic: transactions}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaLocation>,
    /// A folder of files. Example: `{url: "s3://lake/payments/transactions/", connectionRef: {name: lake}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreLocation>,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct KafkaLocation {
    /// The Connection (of kind `kafka`, in this namespace) that says how to reach the brokers. Example: `{name: onprem}`
    pub connection_ref: LocalRef,
    /// The topic's name. Example: `transactions`
    #[schemars(length(min = 1, max = 249))]
    #[x_kube(validation = Rule::new("self.matches('^[a-zA-Z0-9._-]+$')")
        .message("a topic's name has letters, digits, dots, underscores and hyphens only"))]
    pub topic: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// The name; its case is kept. Example: `eventId`
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// The type, in the DDL of Hive and Spark: boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), string, binary,
    /// date, timestamp (an instant in UTC, microseconds), `timestamp_ntz`, `array<…>`, `map<…,…>`, `struct<name:type,…>`. A value that does
    /// not fit without loss makes its record a dead letter. Example: `array<struct<sku:string,qty:int>>`
    #[serde(rename = "type")]
    pub type_: ColumnType,
    /// May the value be missing or null? A record with a null in a column with `nullable: false` becomes a dead letter. Default: true.
    /// Example: `false`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nullable: Option<bool>,
    /// A note for people. Example: `Unix epoch milliseconds`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}

/// A column that becomes a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionKey {
    /// The name; its case is kept. Example: `event_date`
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// One of string, tinyint, smallint, int, bigint, date and boolean: types whose values have one spelling. Example: `date`
    #[serde(rename = "type")]
    pub type_: ColumnType,
    /// A note for people. Example: `day of the event, UTC`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}

/// How the files of a folder make up a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum TableFormat {
    /// Every file in the folder.
    None,
    /// Apache Iceberg.
    Iceberg,
    /// Delta Lake.
    Delta,
}

/// Find columns by looking at records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaDetection {
    /// `Disabled`, `Once` (when the table is made) or `Continuous` (again and again, with drift shown in status). Example: `Once`
    pub mode: SchemaDetectionMode,
}

/// When columns are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum SchemaDetectionMode {
    /// Never.
    Disabled,
    /// When the table is made.
    Once,
    /// Again and again.
    Continuous,
}

/// What becomes of a field that is no declared column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum OnNewField {
    /// It is not read.
    Ignore,
    /// It goes into the column `_extra`.
    Capture,
    /// It becomes a column.
    AddColumn,
}

/// Join small files into larger ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compaction {
    /// The size that files should have, as a quantity of bytes. Default: 128Mi, which readers like. Example: `256Mi`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_file_size: Option<Size>,
    /// A folder is compacted when it got no file for this long. Default: 1h. Example: `2h`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_period: Option<Duration>,
    /// Replaced files are kept this long, for queries that still read them. Default: 24h. Example: `48h`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_replaced: Option<Duration>,
}
