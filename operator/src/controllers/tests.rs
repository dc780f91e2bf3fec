//! Whom a change concerns.

use std::collections::BTreeSet;

use kube::runtime::watcher::Event;
use serde_json::json;

use super::*;
use crate::testing::manifests;

struct Hall {
    caches: Caches,
    _writers: Writers,
    queues: Queues,
    jobs: UnboundedReceiver<ObjectRef<StreamingJob>>,
    tables: UnboundedReceiver<ObjectRef<DataCatalogTable>>,
    connections: UnboundedReceiver<ObjectRef<Connection>>,
}

impl Hall {
    fn new() -> Self {
        let (caches, mut writers) = Caches::new();
        let world = manifests();
        for job in world.jobs.into_values() {
            writers.jobs.apply_watcher_event(&Event::Apply(job));
        }
        for table in world.tables.into_values() {
            writers.tables.apply_watcher_event(&Event::Apply(table));
        }
        for connection in world.connections.into_values() {
            writers.connections.apply_watcher_event(&Event::Apply(connection));
        }
        let (jobs_to, jobs) = unbounded();
        let (tables_to, tables) = unbounded();
        let (connections_to, connections) = unbounded();
        let queues = Queues { jobs: jobs_to, tables: tables_to, connections: connections_to };
        Self { caches, _writers: writers, queues, jobs, tables, connections }
    }

    /// Everybody who is due, as `kind/name`.
    fn due(&mut self) -> BTreeSet<String> {
        let mut due = BTreeSet::new();
        while let Ok(object) = self.jobs.try_recv() {
            due.insert(format!("job/{}", object.name));
        }
        while let Ok(object) = self.tables.try_recv() {
            due.insert(format!("table/{}", object.name));
        }
        while let Ok(object) = self.connections.try_recv() {
            due.insert(format!("connection/{}", object.name));
        }
        due
    }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn changed<K: Resource>(object: &K) -> Change<'_, K> {
    Change { before: None, object, deleted: false }
}

#[test]
fn a_change_of_a_table_or_a_connection_concerns_the_jobs_that_use_it() {
    let mut hall = Hall::new();
    let world = manifests();
    for table in world.tables.values() {
        table_changed(&changed(table), &hall.caches, &hall.queues);
        let (name, connection) = if table.name_any() == "raw" { ("raw", "kafka") } else { ("orders", "lake") };
        assert_eq!(hall.due(), names(&[&format!("table/{name}"), &format!("connection/{connection}"), "job/orders"]));
    }
    for connection in world.connections.values() {
        connection_changed(&changed(connection), &hall.caches, &hall.queues);
        let (name, table) = if connection.name_any() == "kafka" { ("kafka", "raw") } else { ("lake", "orders") };
        assert_eq!(hall.due(), names(&[&format!("connection/{name}"), &format!("table/{table}"), "job/orders"]));
    }
}

#[test]
fn a_new_job_concerns_everything_that_it_names() {
    let mut hall = Hall::new();
    let world = manifests();
    job_changed(&changed(world.jobs.values().next().expect("a job")), &hall.queues);
    assert_eq!(hall.due(), names(&["job/orders", "table/raw", "table/orders", "connection/lake"]));
}

#[test]
fn a_status_that_we_wrote_ourselves_concerns_nobody() {
    let mut hall = Hall::new();
    let world = manifests();
    let job = world.jobs.values().next().expect("a job");
    let mut after = job.clone();
    after.status = Some(sluice_crds::streaming_job::StreamingJobStatus::default());
    job_changed(&Change { before: Some(Arc::new(job.clone())), object: &after, deleted: false }, &hall.queues);
    assert_eq!(hall.due(), names(&[]));
    after.metadata.generation = Some(8);
    job_changed(&Change { before: Some(Arc::new(job.clone())), object: &after, deleted: false }, &hall.queues);
    assert!(hall.due().contains("job/orders"));
}

#[test]
fn what_is_deleted_concerns_those_that_named_it() {
    let mut hall = Hall::new();
    let world = manifests();
    let table = world.tables.values().find(|table| table.name_any() == "raw").expect("a table");
    table_changed(&Change { before: None, object: table, deleted: true }, &hall.caches, &hall.queues);
    assert!(hall.due().contains("job/orders"));
}

#[test]
fn an_owned_object_that_is_not_as_we_left_it_concerns_its_owner() {
    let mut hall = Hall::new();
    let owned = |kind: &str, name: &str| -> ObjectMeta {
        serde_json::from_value(json!({"name": "x", "namespace": "etl",
            "ownerReferences": [{"apiVersion": "sluice.dev/v1alpha1", "kind": kind, "name": name, "uid": "u"}]}))
        .expect("metadata")
    };
    owner_due(&owned("StreamingJob", "orders"), &hall.queues);
    owner_due(&owned("Connection", "kafka"), &hall.queues);
    owner_due(&owned("ReplicaSet", "other"), &hall.queues);
    assert_eq!(hall.due(), names(&["job/orders", "connection/kafka"]));
}

#[test]
fn an_agent_that_starts_concerns_everybody_in_its_namespace() {
    let mut hall = Hall::new();
    let agent = |phase: &str| -> PodView {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "etl",
                "labels": {"app.kubernetes.io/component": "agent", "app.kubernetes.io/instance": "sluice-agent", "pod-template-hash": "h"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "sluice-agent-h", "uid": "r", "controller": true}]},
            "status": {"phase": phase},
        }))
        .expect("a pod")
    };
    agent_changed(&changed(&agent("Pending")), &hall.caches, &hall.queues);
    assert_eq!(hall.due(), names(&[]));
    let pending = Arc::new(agent("Pending"));
    agent_changed(
        &Change { before: Some(pending), object: &agent("Running"), deleted: false },
        &hall.caches,
        &hall.queues,
    );
    assert_eq!(hall.due(), names(&["connection/kafka", "connection/lake", "job/orders"]));
}

#[test]
fn named_namespaces_are_scopes_of_their_own() {
    use clap::Parser;
    let of = |flag: &str| Scope::of(&Settings::parse_from(["sluice-operator", "--image=i", flag]));
    assert_eq!(of("--watch-namespaces="), [Scope::All]);
    assert_eq!(of("--watch-namespaces=a,b"), [Scope::Namespace("a".to_owned()), Scope::Namespace("b".to_owned())]);
}

#[tokio::test]
async fn a_watch_that_ends_ends_the_operator_and_work_that_is_done_does_not_wait_for_watches() {
    let mut watches = JoinSet::new();
    watches.spawn(std::future::pending());
    while_watched(&mut watches, async {}).await.expect("the work is done");
    watches.spawn(async { panic!("as a watch may, by a mistake of ours") });
    let error = while_watched(&mut watches, std::future::pending::<()>()).await.expect_err("nobody watches any more");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(source.contains("panic"), "{source}");
    watches.spawn(async {});
    while_watched(&mut watches, std::future::pending::<()>()).await.expect_err("it ended without a word");
}
