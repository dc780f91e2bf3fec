//! The steps of a job's transforms.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::reference::{Texts, optional_list, optional_texts, texts};
use crate::types::ColumnType;
use crate::units::Duration;

/// One step: exactly one of the steps, and with it `scope` or `onError` where they belong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.filter), has(self.derive), has(self.select), has(self.rename), has(self.drop), has(self.cast), has(self.aggregate), has(self.sql), has(self.fillNulls), has(self.dropNulls), has(self.flatten), has(self.explode), has(self.dropDuplicates)].exists_one(x, x)")
        .message("each step has exactly one of filter, derive, select, rename, drop, cast, aggregate, sql, fillNulls, dropNulls, flatten, explode and dropDuplicates: begin a new list item for the next step"),
    validation = Rule::new("!has(self.scope) || has(self.sql) || has(self.dropDuplicates)")
        .message("scope stands beside sql and dropDuplicates, and inside of aggregate"),
    validation = Rule::new("!has(self.onError) || has(self.cast) || has(self.derive)")
        .message("onError stands beside cast and derive")
)]
pub struct Step {
    /// Keep the rows for which this SQL expression is true. Example: `eventId IS NOT NULL AND amount > ${minAmount}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub filter: Option<String>,
    /// Add or replace columns: name to SQL expression. All expressions of one step see the step's input only, so begin a new step to use
    /// a new column. Example: `{event_timestamp: "to_timestamp_millis(eventTime)"}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_texts")]
    pub derive: Option<Texts>,
    /// Keep these columns and expressions, in this order. Example: `["id", "upper(name) AS name"]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_list")]
    pub select: Option<Vec<String>>,
    /// Rename columns: old name to new name. Example: `{userId: user_id}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_texts")]
    pub rename: Option<Texts>,
    /// Drop these columns. Example: `[metadata]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_list")]
    pub drop: Option<Vec<String>>,
    /// Change the types of columns: name to type, without loss; a value that does not fit makes its record a dead letter.
    /// Example: `{amount: "decimal(12,2)"}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_types")]
    pub cast: Option<BTreeMap<String, ColumnType>>,
    /// Group the rows of one batch and compute aggregates.
    /// Example: `{groupBy: ["approver.teamName AS team"], select: {n: "count(*)"}, scope: Batch}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// One SELECT over the table `input`. Text that works row by row needs nothing else; GROUP BY, DISTINCT, ORDER BY with LIMIT and window
    /// functions see one batch only, and need `scope: Batch` beside the text. Example: `SELECT id, amount * 2 AS twice FROM input`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub sql: Option<String>,
    /// Put a value where a column is null: name to value. Not supported yet. Example: `{currency: EUR}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_texts")]
    pub fill_nulls: Option<Texts>,
    /// Drop the rows in which one of these columns is null. Not supported yet; use `filter: "a IS NOT NULL"`. Example: `[userId]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_list")]
    pub drop_nulls: Option<Vec<String>>,
    /// Make the members of structs columns of their own. Not supported yet. Example: `{columns: [approver]}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flatten: Option<Flatten>,
    /// Make a row of each element of an array. Not supported yet. Example: `{column: items, as: item}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explode: Option<Explode>,
    /// Keep one row of each batch for equal values of these columns. Not supported yet. Example: `[eventId]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_list")]
    pub drop_duplicates: Option<Vec<String>>,
    /// `Batch`: you accept that `sql` or `dropDuplicates` sees the rows of one batch (one window of one worker) and not the whole stream.
    /// Default: text that is not row-wise is refused. Example: `Batch`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// What becomes of a row for which `cast` or `derive` fails: `DeadLetter`, `Null` or `Fail`. Default: `DeadLetter`. The others are not
    /// supported yet. Example: `DeadLetter`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnError>,
}

/// Column to type, or nothing. There may be so many casts in a job that the API server would find the rule about types too dear for longer
/// texts.
fn optional_types(generator: &mut SchemaGenerator) -> Schema {
    let mut type_ = ColumnType::json_schema(generator);
    type_.insert("maxLength".to_owned(), 2048.into());
    json_schema!({"type": "object", "nullable": true, "maxProperties": 128, "additionalProperties": type_})
}

/// Groups and aggregates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.scope), has(self.window)].exists_one(x, x)")
    .message("an aggregate needs scope: Batch, because it sees the rows of one batch of one worker"))]
pub struct Aggregate {
    /// What rows are grouped by, in order; they become columns. Default: nothing, all rows are one group.
    /// Example: `["approver.teamName AS team"]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_list")]
    pub group_by: Option<Vec<String>>,
    /// The aggregates: column to SQL expression. Example: `{n: "count(*)", slowest: "max(durationMs)"}`
    #[schemars(schema_with = "texts")]
    pub select: Texts,
    /// `Batch`: groups are those of one batch, which is one window of one worker. With several workers there are several rows for a group.
    /// Example: `Batch`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Groups over event time instead of batches. Not supported yet. Example: `{column: executionTime, size: 5m}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<AggregateWindow>,
}

/// A window over event time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregateWindow {
    /// The column that holds the time of the event, of type timestamp. Example: `executionTime`
    #[schemars(length(min = 1, max = 255))]
    pub column: String,
    /// The length of a window. Example: `5m`
    pub size: Duration,
    /// How long a window waits for late records. Default: 0s. Example: `1m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lateness: Option<Duration>,
}

/// Make the members of structs columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Flatten {
    /// The columns, of type struct. Default: all of that type. Example: `[approver]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_list")]
    pub columns: Option<Vec<String>>,
    /// What stands between the names of a column and its member. Default: `_`. Example: `.`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub separator: Option<String>,
}

/// Make a row of each element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explode {
    /// The column, of type array. Example: `items`
    #[schemars(length(min = 1, max = 255))]
    pub column: String,
    /// The new column that holds the element. Default: the same name. Example: `item`
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub as_: Option<String>,
}

/// What a step sees that is not row-wise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum Scope {
    /// The rows of one window of one worker.
    Batch,
}

/// What becomes of a row for which an expression fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum OnError {
    /// It becomes a dead letter.
    DeadLetter,
    /// The value becomes null.
    Null,
    /// The job stops.
    Fail,
}
