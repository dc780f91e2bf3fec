//! Everything that a job touches, as the caches show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Resource, ResourceExt};
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::reference::ObjectKey;
use sluice_crds::report::ConnectionReport;
use sluice_crds::streaming_job::StreamingJob;

use crate::agent;
use crate::caches::{self, Caches};
use crate::context::Context;
use crate::error::Error;
use crate::names;
use crate::object::{Address, HandedOut, Trace};
use crate::pods::PodFact;
use crate::uses;
use crate::views::{PodView, SetView};

/// The name of the container of a worker.
pub const WORKER: &str = "worker";

/// See the module.
#[derive(Debug, Default)]
pub struct World {
    /// The tables that the job names, as far as they exist.
    pub tables: BTreeMap<ObjectKey, DataCatalogTable>,
    /// The connections that these and the job name, as far as they exist.
    pub connections: BTreeMap<ObjectKey, Connection>,
    /// The StatefulSet of the job, if it is ours.
    pub set: Option<Arc<SetView>>,
    /// The Jobs of its bounded runs that are ours.
    pub runs: Vec<Arc<Job>>,
    /// The pods of both.
    pub pods: Vec<PodFact>,
    /// The agent of the namespace.
    pub agent: Option<PodFact>,
}

impl World {
    /// Was this found of a connection as it is now?
    pub fn is_current(&self, report: &ConnectionReport) -> bool {
        let mut connections = self.connections.values();
        connections.any(|connection| connection.name_any() == report.name && report.is_about(&connection.metadata))
    }
}

/// Looks everything up.
pub fn dereference(job: &StreamingJob, key: &ObjectKey, caches: &Caches) -> World {
    let (tables, connections) = references(job, key, caches);
    let set = owned(caches::get(&caches.sets, &ObjectKey::new(&key.namespace, names::child(&key.name, ""))), job);
    let runs = runs(job, key, caches);
    let owners: BTreeSet<String> =
        set.iter().filter_map(|set| set.uid()).chain(runs.iter().filter_map(|run| run.uid())).collect();
    World {
        tables,
        connections,
        pods: pods(key, caches, &owners),
        set,
        runs,
        agent: agent::pod(caches, &key.namespace),
    }
}

fn references(
    job: &StreamingJob,
    key: &ObjectKey,
    caches: &Caches,
) -> (BTreeMap<ObjectKey, DataCatalogTable>, BTreeMap<ObjectKey, Connection>) {
    let named = |name: &str| ObjectKey::new(&key.namespace, name);
    let tables: BTreeMap<_, _> = uses::tables(&job.spec)
        .into_iter()
        .filter_map(|name| Some((named(name), caches::get(&caches.tables, &named(name))?.as_ref().clone())))
        .collect();
    let through_tables = tables.values().flat_map(|table| uses::connections_of_table(&table.spec));
    let names: BTreeSet<&str> = through_tables.chain(uses::connections(&job.spec)).collect();
    let connections = names
        .into_iter()
        .filter_map(|name| Some((named(name), caches::get(&caches.connections, &named(name))?.as_ref().clone())))
        .collect();
    (tables, connections)
}

/// The object, if this job is its controller.
fn owned<K: Resource>(object: Option<Arc<K>>, job: &StreamingJob) -> Option<Arc<K>> {
    object.filter(|object| is_owned(object.as_ref(), job))
}

fn is_owned<K: Resource>(object: &K, job: &StreamingJob) -> bool {
    let mut owners = object.meta().owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && job.metadata.uid.as_ref() == Some(&owner.uid))
}

fn runs(job: &StreamingJob, key: &ObjectKey, caches: &Caches) -> Vec<Arc<Job>> {
    let mut runs = caches
        .runs
        .state_filter(|run: &Job| run.metadata.namespace.as_ref() == Some(&key.namespace) && is_owned(run, job));
    runs.sort_by_key(|run| std::cmp::Reverse(run.creation_timestamp().map(|time| time.0)));
    runs
}

fn pods(key: &ObjectKey, caches: &Caches, owners: &BTreeSet<String>) -> Vec<PodFact> {
    let of_job = |pod: &PodView| {
        pod.metadata.namespace.as_ref() == Some(&key.namespace) && pod.labels().get(names::JOB_LABEL) == Some(&key.name)
    };
    let facts = caches.pods.state_filter(of_job);
    let facts = facts.iter().map(|pod| PodFact::of(pod, WORKER));
    // A label alone makes nobody a worker of ours.
    let mut facts: Vec<_> =
        facts.filter(|pod| pod.owner.as_ref().is_some_and(|owner| owners.contains(owner))).collect();
    facts.sort_by(|a, b| a.name.cmp(&b.name));
    facts
}

/// What was handed out last. Where the cache shows nothing, the API server is asked: a generation must never be given twice.
pub async fn handed_out(job: &StreamingJob, key: &ObjectKey, context: &Context) -> Result<Option<HandedOut>, Error> {
    let key = ObjectKey::new(&key.namespace, names::child(&key.name, "plan"));
    let address = Address { kind: "ConfigMap".to_owned(), key };
    let mut trace = context.live.get(&address);
    if trace.is_none() {
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &address.key.namespace);
        let found = api.get_metadata_opt(&address.key.name).await;
        let found = found.map_err(|source| Error::Read { kind: address.kind, key: address.key, source })?;
        trace = found.map(|found| Trace::of(&found.metadata));
    }
    let ours = trace.filter(|trace| trace.owners.iter().any(|owner| job.metadata.uid.as_ref() == Some(&owner.uid)));
    Ok(ours.and_then(|trace| trace.plan))
}
