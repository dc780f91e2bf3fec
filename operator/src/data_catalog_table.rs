//! The reconcile of a `DataCatalogTable`: tells whether it can be used, who uses it, and how its columns changed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use sluice_crds::condition::{ConditionType, Reason, StateReason};
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::{Column, DataCatalogTable, DataCatalogTableStatus, SchemaVersion};
use sluice_crds::reference::ObjectKey;
use sluice_crds::report::TableReport;

use crate::agent;
use crate::caches;
use crate::condition::{self, Aspect, Truth, seconds};
use crate::connection::MOST_USERS;
use crate::context::Context;
use crate::error::Error;
use crate::events::is_trouble;
use crate::uses;

/// The kind, in metrics and messages.
pub const KIND: &str = "DataCatalogTable";
/// Its files and offsets are looked at so often.
const AT_REST: Duration = Duration::from_secs(15);
/// So much later is told what may wait.
const SOON: Duration = Duration::from_secs(5);
/// Versions of the columns that status shows.
const SHOWN_VERSIONS: usize = 10;

/// See the module.
pub async fn reconcile(table: Arc<DataCatalogTable>, context: Arc<Context>) -> Result<Action, Error> {
    if table.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (key, now) = (ObjectKey::of(&table.metadata), Timestamp::now());
    let before = table.status.clone().unwrap_or_default();
    let report = match agent::pod(&context.caches, &key.namespace).and_then(|pod| pod.address) {
        Some(address) => context.reports.agent(&key.namespace, address, AT_REST / 3).await.ok(),
        None => None,
    };
    let generation = table.metadata.generation.unwrap_or(0);
    let found = report.as_ref().and_then(|report| report.tables.iter().find(|it| it.name == key.name));
    let found = found.filter(|found| found.is_about(&table.metadata));
    let connection = |name: &str| caches::get(&context.caches.connections, &ObjectKey::new(&key.namespace, name));
    let jobs = caches::of_namespace(&context.caches.jobs, &key.namespace);
    let users = jobs.iter().filter(|job| uses::tables(&job.spec).contains(key.name.as_str()));
    let mut used_by: Vec<String> = users.map(|job| format!("StreamingJob/{}", job.name_any())).collect();
    used_by.sort();
    used_by.truncate(MOST_USERS);
    let known = condition::find(&before.conditions, ConditionType::Ready)
        .filter(|known| known.observed_generation == Some(generation) && known.status != "Unknown");
    let ready = ready(&table, connection, found, known);
    let status = status(&table, ready, found, used_by, &before, now);
    if status != before {
        let is_bad = status.conditions.iter().any(is_trouble);
        if !is_bad && context.may_wait(&table.uid().unwrap_or_default(), now) {
            return Ok(Action::requeue(SOON));
        }
        let conditions = (before.conditions.as_slice(), status.conditions.as_slice());
        crate::status::write(&context, KIND, table.as_ref(), &status, conditions).await?;
    }
    Ok(Action::requeue(AT_REST))
}

/// Can it be used? Its connection must exist, be of the right kind and work; and the agent must not have found anything wrong.
fn ready(
    table: &DataCatalogTable,
    connection: impl Fn(&str) -> Option<Arc<Connection>>,
    found: Option<&TableReport>,
    known: Option<&Condition>,
) -> Aspect {
    let not = |reason: &str, message: String| Aspect::new(ConditionType::Ready, false, reason, message);
    let location = &table.spec.location;
    let topic = location.kafka.as_ref().map(|topic| (topic.connection_ref.name.as_str(), "kafka"));
    let folder =
        location.object_store.as_ref().and_then(|folder| Some((folder.connection_ref.as_ref()?.name.as_str(), "s3")));
    for (name, wanted) in topic.into_iter().chain(folder) {
        let Some(connection) = connection(name) else {
            let message = format!("the Connection `{name}` does not exist: create it, or correct the name");
            return not(Reason::ReferenceNotFound.as_str(), message);
        };
        let fits = if wanted == "kafka" { connection.spec.kafka.is_some() } else { connection.spec.s3.is_some() };
        if !fits {
            let message = format!("the Connection `{name}` is not of kind {wanted}: name one with spec.{wanted}");
            return not(Reason::ConfigInvalid.as_str(), message);
        }
        let conditions = connection.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        if let Some(broken) = condition::find(conditions, ConditionType::Ready).filter(|ready| ready.status == "False")
        {
            return not(&broken.reason, format!("Connection {name}: {}", broken.message));
        }
    }
    match (found, known) {
        (Some(found), _) if !found.finding.ok => not(&found.finding.reason, found.finding.message.clone()),
        (Some(_), _) => Aspect::new(ConditionType::Ready, true, StateReason::Valid, "its connection exists and fits"),
        // While the agent is away, what it found last is what is known.
        (None, Some(known)) => {
            Aspect::new(ConditionType::Ready, known.status == "True", &*known.reason, &*known.message)
        }
        (None, None) => Aspect::new(
            ConditionType::Ready,
            Truth::Unknown,
            StateReason::Starting,
            "the agent of the namespace has not looked yet",
        ),
    }
}

/// Pure.
fn status(
    table: &DataCatalogTable,
    ready: Aspect,
    found: Option<&TableReport>,
    used_by: Vec<String>,
    before: &DataCatalogTableStatus,
    now: Timestamp,
) -> DataCatalogTableStatus {
    let generation = table.metadata.generation.unwrap_or(0);
    let columns = table.spec.columns.clone().unwrap_or_default();
    // What was found at another location is nothing that is known of this one.
    let nothing = DataCatalogTableStatus::default();
    let same = if before.observed_generation == generation { before } else { &nothing };
    let (schema_version, schema_history) = versions(&columns, before, now);
    DataCatalogTableStatus {
        observed_generation: generation,
        conditions: condition::merge(&before.conditions, vec![ready], generation, now),
        columns,
        schema_version,
        schema_history,
        kafka: found.map_or_else(|| same.kafka.clone(), |found| found.kafka.clone()),
        object_store: found.map_or_else(|| same.object_store.clone(), |found| found.object_store.clone()),
        used_by,
        ..before.clone()
    }
}

/// Counts the changes of the columns. A table without columns has no version.
fn versions(columns: &[Column], before: &DataCatalogTableStatus, now: Timestamp) -> (Option<i64>, Vec<SchemaVersion>) {
    let mut history = before.schema_history.clone();
    if columns == before.columns {
        return (before.schema_version, history);
    }
    let version = before.schema_version.unwrap_or(0) + 1;
    let change = before.schema_version.map(|_| change(&before.columns, columns));
    history.insert(0, SchemaVersion { version, time: Time(seconds(now)), change });
    history.truncate(SHOWN_VERSIONS);
    (Some(version), history)
}

/// What changed, in words.
fn change(before: &[Column], now: &[Column]) -> String {
    let find = |columns: &'_ [Column], name: &str| columns.iter().find(|column| column.name == name).cloned();
    let mut words = Vec::new();
    for column in now {
        match find(before, &column.name) {
            None => words.push(format!("added {} {}", column.name, column.type_)),
            Some(old) if old.type_ != column.type_ => {
                words.push(format!("changed {} from {} to {}", column.name, old.type_, column.type_));
            }
            Some(old) if old.nullable.unwrap_or(true) != column.nullable.unwrap_or(true) => {
                words.push(format!("changed whether {} may be null", column.name));
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|column| find(now, &column.name).is_none());
    words.extend(gone.map(|column| format!("removed {}", column.name)));
    if words.is_empty() {
        "changed order or comments".to_owned()
    } else {
        condition::shortened(&words.join(", "), 1024)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use sluice_crds::report::Finding;

    use super::*;
    use crate::testing;

    fn table(name: &str) -> DataCatalogTable {
        let world = testing::manifests();
        world.tables.into_values().find(|table| table.name_any() == name).expect(name)
    }

    fn connections(name: &str) -> Option<Arc<Connection>> {
        testing::manifests().connections.into_values().find(|connection| connection.name_any() == name).map(Arc::new)
    }

    #[test]
    fn a_table_is_ready_when_its_connection_exists_fits_and_works() {
        let orders = table("orders");
        let usable = ready(&orders, connections, Some(&good()), None);
        assert_eq!(usable.truth, Truth::True);
        let missing = ready(&orders, |_| None, Some(&good()), None);
        assert_eq!((missing.truth, missing.reason.as_str()), (Truth::False, "ReferenceNotFound"));
        let wrong = ready(&orders, |_| connections("kafka"), Some(&good()), None);
        assert_eq!(wrong.reason, "ConfigInvalid");
        let broken = ready(
            &orders,
            |name| {
                let mut connection = connections(name).expect(name).as_ref().clone();
                let aspect = Aspect::new(ConditionType::Ready, false, "AuthenticationFailed", "no");
                let conditions = condition::merge(&[], vec![aspect], 1, Timestamp::UNIX_EPOCH);
                connection.status =
                    Some(sluice_crds::connection::ConnectionStatus { conditions, ..Default::default() });
                Some(Arc::new(connection))
            },
            Some(&good()),
            None,
        );
        assert_eq!((broken.reason.as_str(), broken.message.as_str()), ("AuthenticationFailed", "Connection lake: no"));
    }

    #[test]
    fn nothing_is_said_of_a_table_before_somebody_looked_and_what_was_found_stays_while_nobody_can() {
        let orders = table("orders");
        let before = ready(&orders, connections, None, None);
        assert_eq!((before.truth, before.reason.as_str()), (Truth::Unknown, "Starting"));
        let found = Aspect::new(ConditionType::Ready, false, "ReferenceNotFound", "no such bucket");
        let known = condition::merge(&[], vec![found], 1, Timestamp::UNIX_EPOCH);
        let now = ready(&orders, connections, None, known.first());
        assert_eq!((now.truth, now.message.as_str()), (Truth::False, "no such bucket"));
    }

    fn good() -> TableReport {
        let finding = Finding { ok: true, reason: "Valid".to_owned(), message: String::new() };
        TableReport {
            name: "orders".to_owned(),
            uid: String::new(),
            generation: 1,
            finding,
            kafka: None,
            object_store: None,
        }
    }

    /// The tests of the health checks for GitOps tools, in `charts/tests`, read this snapshot.
    #[test]
    fn the_states_of_a_table_that_gitops_tools_judge() {
        let table = table("orders");
        let object = |ready: Aspect| {
            let before = DataCatalogTableStatus::default();
            json!({
                "apiVersion": "sluice.dev/v1alpha1",
                "kind": "DataCatalogTable",
                "metadata": {"name": "orders", "namespace": "etl", "generation": table.metadata.generation},
                "status": status(&table, ready, None, Vec::new(), &before, Timestamp::UNIX_EPOCH),
            })
        };
        let states = json!({
            "usable": object(ready(&table, connections, Some(&good()), None)),
            "reference-not-found": object(ready(&table, |_| None, Some(&good()), None)),
            "connection-of-another-kind": object(ready(&table, |_| connections("kafka"), Some(&good()), None)),
        });
        insta::assert_json_snapshot!("gitops", states);
    }

    #[test]
    fn every_change_of_the_columns_is_a_version_with_words() {
        let mut table = table("orders");
        let yes = || Aspect::new(ConditionType::Ready, true, "Valid", "");
        let first = status(&table, yes(), None, Vec::new(), &DataCatalogTableStatus::default(), Timestamp::UNIX_EPOCH);
        assert_eq!((first.schema_version, first.schema_history[0].change.as_deref()), (Some(1), None));
        let same = status(&table, yes(), None, Vec::new(), &first, Timestamp::UNIX_EPOCH);
        assert_eq!(same, first);
        let columns = table.spec.columns.as_mut().expect("columns");
        columns[1].type_ = "string".parse().expect("a type");
        columns.push(Column {
            name: "note".to_owned(),
            type_: "string".parse().expect("a type"),
            nullable: None,
            comment: None,
        });
        columns.remove(0);
        let second = status(&table, yes(), None, Vec::new(), &first, Timestamp::UNIX_EPOCH);
        assert_eq!(second.schema_version, Some(2));
        let change = second.schema_history[0].change.as_deref();
        assert_eq!(change, Some("changed amount from double to string, added note string, removed id"));
    }
}
