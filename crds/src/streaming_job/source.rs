//! What a job reads.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::data_catalog_table::DataCatalogTableSpec;
use crate::plan::OnOffsetOutOfRange;
use crate::reference::LocalRef;

/// What is read: exactly one of `tableRef` and `table`, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.tableRef), has(self.table)].exists_one(x, x)")
        .message("exactly one of tableRef and table must be given"),
    validation = Rule::new("has(self.groupId) == has(oldSelf.groupId) && (!has(self.groupId) || self.groupId == oldSelf.groupId)")
        .message("groupId cannot be changed: make a new job")
)]
pub struct JobSource {
    /// A DataCatalogTable of this namespace, with a `kafka` location. Example: `{name: transactions-raw}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_ref: Option<LocalRef>,
    /// The spec of a DataCatalogTable, written here ("direct access"): for a topic that is nobody else's.
    /// Example: `{database: payments, location: {kafka: {connectionRef: {name: onprem}, topic: transactions}}, format: {json: {}}, columns: [{name: id, type: string}]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<DataCatalogTableSpec>,
    /// Where partitions begin that have no position yet. It changes nothing for a job that already committed. Default: `{type: Earliest}`.
    /// Example: `{type: Latest}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_position: Option<StartPositionSpec>,
    /// What to do when the records at a position are gone, because retention removed them: `Stall` (stop and say so), `Earliest` or `Latest`
    /// (go on there, with the gap recorded). Default: `Stall`, because the others lose records. Example: `Earliest`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_offset_out_of_range: Option<OnOffsetOutOfRange>,
    /// The consumer group. It cannot be changed. Default: `sluice.<namespace>.<name>`. Example: `etl-transactions`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249))]
    pub group_id: Option<String>,
    /// Add the column `_kafka`, a struct of topic, partition, offset, timestamp, key and headers, that transforms can use. Default: false.
    /// Example: `true`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_metadata: Option<bool>,
}

/// A place in a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'Timestamp') == has(self.time)")
    .message("type Timestamp, and no other, needs time, such as 2026-01-31T00:00:00Z"))]
pub struct StartPositionSpec {
    /// `Earliest` (the first record that the topic still has), `Latest` (its end, as seen at the first start) or `Timestamp` (the first
    /// record at or after `time`). Example: `Timestamp`
    #[serde(rename = "type")]
    pub type_: StartPositionType,
    /// The time, for type `Timestamp`, in RFC 3339. Example: `2026-01-31T00:00:00Z`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_time")]
    pub time: Option<Time>,
}

/// A time, or nothing. By its format alone the API server would let in zones and years that no program can read.
fn optional_time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "nullable": true,
        "format": "date-time",
        "pattern": "^[12][0-9]{3}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$",
    })
}

/// The kinds of places in a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum StartPositionType {
    /// The first record.
    Earliest,
    /// The end.
    Latest,
    /// The first record at or after a time.
    Timestamp,
}
