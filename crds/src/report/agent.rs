//! What an agent tells over `GET /report`: findings, never values of secrets.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{CommitReport, PartitionReport, Totals};
use crate::connection::{KafkaFindings, S3Findings};
use crate::data_catalog_table::{ObjectStoreFindings, TopicFindings};

/// What the agent of a namespace found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentReport {
    /// Format of this structure: 1.
    pub version: u32,
    /// The namespace.
    pub namespace: String,
    /// One for each Connection that was tested.
    #[serde(default)]
    pub connections: Vec<ConnectionReport>,
    /// One for each `DataCatalogTable` that was looked at.
    #[serde(default)]
    pub tables: Vec<TableReport>,
    /// One for each `StreamingJob` that resolves.
    #[serde(default)]
    pub jobs: Vec<JobReport>,
    /// When this was written.
    pub time: Timestamp,
}

/// How something is: a reason of the one vocabulary (`Reason` or `StateReason`), and a message for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Is it as it should be?
    pub ok: bool,
    /// The reason, as it stands in a condition. Example: `AuthenticationFailed`
    pub reason: String,
    /// The server's own words, with the objects' names and how to mend it.
    pub message: String,
}

/// The test of one connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionReport {
    /// Name of the Connection.
    pub name: String,
    /// Its `metadata.uid`. Empty: nobody knows, as in manifests that come from no cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its `metadata.generation` that was tested.
    pub generation: i64,
    /// `Connected`, or what is wrong.
    pub finding: Finding,
    /// What is known of the Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<KafkaFindings>,
    /// What is known of the S3 endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Findings>,
    /// When the first of the certificates concerned expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_expiry: Option<Timestamp>,
    /// When it was tested.
    pub time: Timestamp,
}

impl ConnectionReport {
    /// Is it about this very connection, as it is now?
    pub fn is_about(&self, object: &ObjectMeta) -> bool {
        is_about((&self.uid, self.generation), object)
    }
}

/// What was found at the place of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableReport {
    /// Name of the `DataCatalogTable`.
    pub name: String,
    /// Its `metadata.uid`. Empty: nobody knows, as in manifests that come from no cluster.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Its `metadata.generation` that was looked at.
    pub generation: i64,
    /// Can the table be used?
    pub finding: Finding,
    /// What is in the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka: Option<TopicFindings>,
    /// What is in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_store: Option<ObjectStoreFindings>,
}

impl TableReport {
    /// Is it about this very table, as it is now?
    pub fn is_about(&self, object: &ObjectMeta) -> bool {
        is_about((&self.uid, self.generation), object)
    }
}

/// An object that was deleted and made again counts its generations from 1 again. The agent of a release that tells no UID is believed.
fn is_about((uid, generation): (&str, i64), object: &ObjectMeta) -> bool {
    let same = uid.is_empty() || object.uid.as_deref().is_none_or(|known| known == uid);
    same && object.generation.unwrap_or(0) == generation
}

/// What is known of a job without its workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobReport {
    /// Name of the `StreamingJob`.
    pub name: String,
    /// The plan that was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<PlanCheck>,
    /// End offsets against the ledger's positions, measured also while no worker lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<LagReport>,
    /// What the ledger says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<LedgerReport>,
}

/// The transforms of a plan, planned against the schemas of source and sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanCheck {
    /// `plan_hash` of the plan: whoever resolves the same objects gets the same hash.
    pub plan_hash: String,
    /// `Valid`, or `TransformInvalid`, `SchemaMismatch`, …, with the place in the text.
    pub finding: Finding,
}

/// The lag of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LagReport {
    /// All partitions of the topic.
    pub partitions: Vec<PartitionReport>,
    /// The age of the oldest record that is not committed, by record time; 0 without lag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// When this was measured.
    pub time: Timestamp,
}

/// The ledger of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerReport {
    /// Where it lies.
    #[serde(default)]
    pub url: String,
    /// The sequence number of its newest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// Its last commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_commit: Option<CommitReport>,
    /// Sums over the life of the job.
    pub totals: Totals,
    /// Commits that are decided and whose files are not all visible; nothing while that is not known, as it is not while workers are at work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpublished: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_found_of_an_object_is_nothing_that_is_known_of_another_one_of_its_name() {
        let object = ObjectMeta { uid: Some("new".to_owned()), generation: Some(1), ..ObjectMeta::default() };
        for (uid, generation, expected) in
            [("new", 1, true), ("new", 2, false), ("old", 1, false), ("", 1, true), ("", 2, false)]
        {
            assert_eq!(is_about((uid, generation), &object), expected, "`{uid}` {generation}");
        }
    }

    #[test]
    fn the_report_of_an_agent_that_tells_no_uid_is_read() {
        let finding = json!({"ok": true, "reason": "Valid", "message": ""});
        let report = json!({"name": "raw", "generation": 1, "finding": finding});
        let report: TableReport = serde_json::from_value(report).expect("a report");
        assert_eq!(report.uid, "");
        assert_eq!(serde_json::to_value(&report).expect("JSON").get("uid"), None);
    }
}
