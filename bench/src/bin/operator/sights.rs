//! What watches of the API server show, and a way to wait until they show something.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use sluice_bench::figures::Writes;
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;
use tokio::sync::watch;

/// What everything that the operator makes is labelled with.
pub const OURS: &str = "app.kubernetes.io/managed-by=sluice-operator";

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// When each StatefulSet was first seen.
    pub sets: HashMap<ObjectKey, Instant>,
    /// The jobs.
    pub jobs: Objects,
    /// The tables.
    pub tables: Objects,
    /// The connections.
    pub connections: Objects,
}

/// The objects of one of our kinds.
#[derive(Debug, Default)]
pub struct Objects {
    versions: HashMap<ObjectKey, String>,
    /// When each was first seen to be `Ready`.
    pub ready: HashMap<ObjectKey, Instant>,
    /// How often one changed after it was made: nobody but the operator changes any, and it writes nothing but statuses.
    changes: u64,
}

impl Objects {
    /// Is there such an object?
    pub fn has(&self, key: &ObjectKey) -> bool {
        self.versions.contains_key(key)
    }

    fn show(&mut self, key: ObjectKey, version: &str, conditions: &[Condition]) {
        if conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True") {
            self.ready.entry(key.clone()).or_insert_with(Instant::now);
        }
        let before = self.versions.insert(key, version.to_owned());
        self.changes += u64::from(before.is_some_and(|before| before != version));
    }
}

/// See the module.
pub struct Sights {
    seen: watch::Sender<Seen>,
}

impl Sights {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self { seen: watch::Sender::default() }
    }

    /// What was seen so far. Whoever holds the answer keeps the watches from telling more.
    pub fn now(&self) -> watch::Ref<'_, Seen> {
        // A receiver would be told; a look is not.
        self.seen.borrow()
    }

    /// The statuses that were written so far.
    pub fn writes(&self) -> Writes {
        let seen = self.now();
        Writes { jobs: seen.jobs.changes, tables: seen.tables.changes, connections: seen.connections.changes }
    }

    /// Waits until so many have been seen.
    pub async fn until(
        &self,
        what: &str,
        count: impl Fn(&Seen) -> usize,
        wanted: usize,
        limit: Duration,
    ) -> Result<()> {
        let mut seen = self.seen.subscribe();
        let enough = tokio::time::timeout(limit, seen.wait_for(|seen| count(seen) >= wanted)).await;
        if enough.is_err() {
            bail!("after {limit:?} there are {} of {wanted} {what}", count(&self.now()));
        }
        Ok(())
    }

    /// The watches. They do not end.
    pub fn watch(&self, client: &Client) -> Vec<BoxFuture<'_, ()>> {
        let sets: Api<PartialObjectMeta<StatefulSet>> = Api::all(client.clone());
        let sets = watcher::watcher(sets, watcher::Config::default().labels(OURS));
        let set = |seen: &mut Seen, key, _: &_| {
            seen.sets.entry(key).or_insert_with(Instant::now);
        };
        let jobs = watcher::watcher(Api::<StreamingJob>::all(client.clone()), watcher::Config::default());
        let job = |seen: &mut Seen, key, job: &StreamingJob| {
            let conditions = job.status.as_ref().map_or(&[][..], |status| &status.conditions);
            seen.jobs.show(key, &job.resource_version().unwrap_or_default(), conditions);
        };
        let tables = watcher::watcher(Api::<DataCatalogTable>::all(client.clone()), watcher::Config::default());
        let table = |seen: &mut Seen, key, table: &DataCatalogTable| {
            let conditions = table.status.as_ref().map_or(&[][..], |status| &status.conditions);
            seen.tables.show(key, &table.resource_version().unwrap_or_default(), conditions);
        };
        let connections = watcher::watcher(Api::<Connection>::all(client.clone()), watcher::Config::default());
        let connection = |seen: &mut Seen, key, it: &Connection| {
            let conditions = it.status.as_ref().map_or(&[][..], |status| &status.conditions);
            seen.connections.show(key, &it.resource_version().unwrap_or_default(), conditions);
        };
        vec![
            self.follow(sets, set).boxed(),
            self.follow(jobs, job).boxed(),
            self.follow(tables, table).boxed(),
            self.follow(connections, connection).boxed(),
        ]
    }

    async fn follow<K: Resource>(
        &self,
        events: impl futures::Stream<Item = watcher::Result<Event<K>>>,
        show: impl Fn(&mut Seen, ObjectKey, &K),
    ) {
        let mut events = std::pin::pin!(events.default_backoff());
        while let Some(event) = events.next().await {
            // After an error the watch goes on by itself.
            if let Ok(Event::Apply(object) | Event::InitApply(object)) = event {
                self.seen.send_modify(|seen| show(seen, ObjectKey::of(object.meta()), &object));
            }
        }
    }
}
