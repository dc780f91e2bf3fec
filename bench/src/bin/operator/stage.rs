//! The cluster as users fill it: namespaces, connections, tables, jobs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use sluice_bench::figures::Waits;
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;
use tokio::task::JoinSet;

use crate::pods::Pods;
use crate::sample::sample;
use crate::sights::Sights;
use crate::{Flags, kubelet};

/// Objects that are applied at the same time before the jobs come.
const AT_ONCE: usize = 16;

/// When the API server answered to the apply of a job.
pub struct Applied {
    at: Instant,
    /// How long it took to answer.
    pub took: Duration,
}

/// See the module.
pub struct Stage {
    client: Client,
    /// What watches show.
    pub sights: Arc<Sights>,
    /// The pods that are played.
    pub pods: Arc<Pods>,
    namespaces: Vec<String>,
    connections: Vec<Connection>,
    tables: Vec<DataCatalogTable>,
    jobs: Vec<StreamingJob>,
}

impl Stage {
    /// Thinks everything out, and makes nothing yet.
    pub async fn new(client: Client, flags: &Flags, seed: u64) -> Result<Self> {
        let system = Api::<Namespace>::all(client.clone()).get_metadata("kube-system").await?;
        let cluster = system.uid().context("the namespace kube-system has no UID")?;
        let mut random = StdRng::seed_from_u64(seed);
        let namespaces: Vec<String> = (0..flags.namespaces).map(|number| format!("team-{number:02}")).collect();
        let (mut connections, mut tables, mut jobs) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut played = HashMap::new();
        for number in 0..flags.jobs {
            let namespace = &namespaces[number % namespaces.len()];
            let one = sample(namespace, &format!("orders-{number:04}"), flags.workers, &cluster, &mut random)?;
            connections.extend(one.connections.into_iter().map(|it| (ObjectKey::of(&it.metadata).to_string(), it)));
            tables.extend(one.tables);
            played.insert(ObjectKey::of(&one.job.metadata), one.played);
            jobs.push(one.job);
        }
        let sights = Arc::new(Sights::new());
        let pods = Arc::new(Pods::new(Arc::clone(&sights), played, usize::try_from(flags.workers)?));
        let connections = connections.into_values().collect();
        Ok(Self { client, sights, pods, namespaces, connections, tables, jobs })
    }

    /// Kubelets, pods and watches. What ends has gone wrong.
    pub fn play(&self) -> JoinSet<Result<()>> {
        let mut played = JoinSet::new();
        played.spawn(Arc::clone(&self.pods).serve());
        played.spawn(kubelet::play(self.client.clone(), Arc::clone(&self.pods)));
        let (sights, client) = (Arc::clone(&self.sights), self.client.clone());
        played.spawn(async move {
            futures::future::select_all(sights.watch(&client)).await;
            Ok(())
        });
        played
    }

    /// Everything but the jobs.
    pub async fn furnish(&self) -> Result<()> {
        for name in &self.namespaces {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            let api: Api<Namespace> = Api::all(self.client.clone());
            api.patch(name, &applier(), &Patch::Apply(&namespace)).await?;
        }
        let connections = self.connections.iter().map(|it| apply(&self.client, it));
        stream::iter(connections).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        let tables = self.tables.iter().map(|table| apply(&self.client, table));
        stream::iter(tables).buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }

    /// Waits until the operator has made the agents, and has told of all connections and tables.
    pub async fn until_furnished(&self, limit: Duration) -> Result<()> {
        let (connections, tables) = (self.connections.len(), self.tables.len());
        self.sights
            .until("connections that are ready", |seen| seen.connections.ready.len(), connections, limit)
            .await?;
        self.sights.until("tables that are ready", |seen| seen.tables.ready.len(), tables, limit).await
    }

    /// Applies the jobs, so many in a second, whether the API server answers in time or not.
    pub async fn apply(&self, rate: f64) -> Result<HashMap<ObjectKey, Applied>> {
        let mut clock = tokio::time::interval(Duration::try_from_secs_f64(1.0 / rate)?);
        let mut under_way = JoinSet::new();
        for job in self.jobs.clone() {
            clock.tick().await;
            let client = self.client.clone();
            under_way.spawn(async move {
                Ok::<_, anyhow::Error>((ObjectKey::of(&job.metadata), apply(&client, &job).await?))
            });
        }
        under_way.join_all().await.into_iter().collect()
    }

    /// Waits until all jobs have a StatefulSet and are ready.
    pub async fn until_ready(&self, limit: Duration) -> Result<()> {
        let jobs = self.jobs.len();
        self.sights.until("StatefulSets", |seen| seen.sets.len(), jobs, limit).await?;
        self.sights.until("jobs that are ready", |seen| seen.jobs.ready.len(), jobs, limit).await
    }

    /// From the answer to each apply until there was a StatefulSet, and until the job was ready.
    pub fn waits(&self, applied: &HashMap<ObjectKey, Applied>) -> (Waits, Waits) {
        let seen = self.sights.now();
        let waits = |times: &HashMap<ObjectKey, Instant>| {
            let waits = applied.iter().filter_map(|(key, applied)| Some(times.get(key)?.duration_since(applied.at)));
            Waits::of(waits.collect())
        };
        (waits(&seen.sets), waits(&seen.jobs.ready))
    }
}

fn applier() -> PatchParams {
    PatchParams::apply("bench")
}

/// Server-side apply, as people and tools do it.
async fn apply<K>(client: &Client, object: &K) -> Result<Applied>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let key = ObjectKey::of(object.meta());
    let api: Api<K> = Api::namespaced(client.clone(), &key.namespace);
    let start = Instant::now();
    let answer = api.patch(&key.name, &applier(), &Patch::Apply(object)).await;
    answer.with_context(|| format!("{} {key} was not applied", K::kind(&())))?;
    Ok(Applied { at: Instant::now(), took: start.elapsed() })
}
