//! What is known of a table.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Column;
use crate::reference;

/// What is known of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct DataCatalogTableStatus {
    /// The `metadata.generation` that this status is about; -1: nobody looked yet. Example: `3`
    #[serde(default = "reference::nobody_looked")]
    pub observed_generation: i64,
    /// `Ready`: can jobs use the table?
    /// Example: `[{type: Ready, status: "True", reason: Valid, message: "its connection exists and fits", lastTransitionTime: "2026-01-31T10:15:00Z"}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "reference::conditions")]
    pub conditions: Vec<Condition>,
    /// The columns that jobs use: the declared ones. Example: `[{name: eventId, type: string, nullable: false}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub columns: Vec<Column>,
    /// Counts the changes of `columns`, from 1. Example: `2`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<i64>,
    /// The last ten versions of the columns, newest first.
    /// Example: `[{version: 2, time: "2026-01-31T10:15:00Z", change: "added discount double"}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub schema_history: Vec<SchemaVersion>,
    /// The columns that a sample of the topic shows. Not told yet. Example: `[{name: eventId, type: string}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub detected_columns: Vec<Column>,
    /// Where the sample differs from the declared columns. Not told yet. Example: `[{column: amount, declared: int, detected: double}]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub drift: Vec<ColumnDrift>,
    /// What is in the folder, for a table in an object store. Not told yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreFindings>,
    /// What is in the topic, for a table in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<TopicFindings>,
    /// The jobs that read or write this table, as `Kind/name`, at most 50. Example: `[StreamingJob/transactions]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub used_by: Vec<String>,
}

/// One version of the columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchemaVersion {
    /// The version. Example: `2`
    pub version: i64,
    /// Since when. Example: `2026-01-31T10:15:00Z`
    pub time: Time,
    /// What changed against the version before, in words. Example: `added discount double`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

/// A difference between a declared column and the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnDrift {
    /// The column. Example: `amount`
    pub column: String,
    /// The declared type; absent: not declared. Example: `int`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// The type in the records; absent: not in the records. Example: `double`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected: Option<String>,
}

/// What is in a folder, by the commits of the jobs that write it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStoreFindings {
    /// Files. Example: `1440`
    pub files: i64,
    /// Rows. Example: `86400000`
    pub rows: i64,
    /// Bytes of the files. Example: `5368709120`
    pub bytes: i64,
    /// Folders of the Hive layout. Example: `24`
    pub partitions: i64,
    /// Time of the last commit. Example: `2026-01-31T10:15:00Z`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<Time>,
}

/// What is in a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicFindings {
    /// Partitions. Example: `12`
    pub partitions: i64,
    /// The end offset of each partition, by its number. Example: `[1200, 1180, 1195]`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub end_offsets: Vec<i64>,
    /// Records that arrive in a second, over the last minute. Example: `1250.5`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_second: Option<f64>,
}
