//! What users apply: the sample of the documentation, again and again under other names.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kube::Resource;
use rand::Rng;
use rand::rngs::StdRng;
use sluice_bench::traffic::PlayedJob;
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::manifest::parse;
use sluice_crds::plan::plan_hash;
use sluice_crds::reference::ObjectKey;
use sluice_crds::resolve::{ResolveContext, resolve};
use sluice_crds::streaming_job::StreamingJob;

/// A job with two tables and two connections.
const SAMPLE: &str = include_str!("../../../../docs/examples/01-glue-sample.yaml");
/// What the sample calls everything that belongs to its job.
const NAME: &str = "transactions";

/// A job with what only this job uses.
pub struct Sample {
    /// Its manifest.
    pub job: StreamingJob,
    /// Those of its tables.
    pub tables: Vec<DataCatalogTable>,
    /// Those of its connections, which all jobs of the namespace share.
    pub connections: Vec<Connection>,
    /// What its pods tell.
    pub played: PlayedJob,
}

/// The name of the table that is the topic of a job.
pub fn topic_table(job: &str) -> String {
    format!("{job}-raw")
}

/// The name of the table that is the folder of a job.
pub fn folder_table(job: &str) -> String {
    job.to_owned()
}

/// The job of this name, in the cluster of this UID.
pub fn sample(namespace: &str, name: &str, workers: i32, cluster: &str, random: &mut StdRng) -> Result<Sample> {
    let text = SAMPLE.replace(NAME, name);
    let manifests = parse([("the sample", text.as_str())])?;
    let mut job = manifests.jobs.into_values().next().context("the sample has no job")?;
    job.metadata.namespace = Some(namespace.to_owned());
    job.spec.workers.get_or_insert_default().replicas = Some(workers);
    let tables = within(namespace, manifests.tables);
    let connections = within(namespace, manifests.connections);
    let plan = resolve(&job, &tables, &connections, &ResolveContext::Cluster { uid: cluster.to_owned() });
    let plan = plan.map_err(|errors| anyhow::anyhow!("the sample does not resolve: {errors:?}"))?;
    let window = SignedDuration::try_from(plan.window.period)?;
    let played = PlayedJob {
        name: format!("{namespace}/{name}"),
        topic: plan.source.topic.clone(),
        plan_hash: plan_hash(&plan),
        ledger: plan.checkpoint.url.clone(),
        window,
        ends: std::array::from_fn(|_| random.random_range(0..10_000_000)),
        phase: SignedDuration::from_secs(random.random_range(0..window.as_secs())),
    };
    Ok(Sample { job, tables: tables.into_values().collect(), connections: connections.into_values().collect(), played })
}

/// The same objects in this namespace.
fn within<K: Resource>(namespace: &str, objects: BTreeMap<ObjectKey, K>) -> BTreeMap<ObjectKey, K> {
    let moved = objects.into_values().map(|mut object| {
        object.meta_mut().namespace = Some(namespace.to_owned());
        (ObjectKey::of(object.meta()), object)
    });
    moved.collect()
}
