//! One watch for each kind, shared by all controllers, and the rule which objects a change concerns.
//!
//! kube's shared streams tell nothing of deletions, and a table that is deleted concerns its jobs. So the watches write the
//! stores and put the names of those concerned into queues themselves.

use std::fmt::Debug;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use futures::{Stream, TryStreamExt};
use k8s_openapi::api::batch::v1::Job;
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;

use crate::agent;
use crate::live::Live;
use crate::names;
use crate::object::Address;
use crate::views::{PodView, SetView};

/// Objects in one answer to a list. All kinds are listed at the same time, and each answer is in memory as a text and as objects.
const PAGE: u32 = 50;

/// What the watches show.
#[derive(Clone)]
pub struct Caches {
    /// All jobs.
    pub jobs: Store<StreamingJob>,
    /// All tables.
    pub tables: Store<DataCatalogTable>,
    /// All connections.
    pub connections: Store<Connection>,
    /// The StatefulSets of continuous jobs.
    pub sets: Store<SetView>,
    /// The Jobs of bounded runs.
    pub runs: Store<Job>,
    /// The pods of workers and agents.
    pub pods: Store<PodView>,
}

/// The other ends of the caches.
pub struct Writers {
    /// Of the jobs.
    pub jobs: Writer<StreamingJob>,
    /// Of the tables.
    pub tables: Writer<DataCatalogTable>,
    /// Of the connections.
    pub connections: Writer<Connection>,
    /// Of the StatefulSets.
    pub sets: Writer<SetView>,
    /// Of the Jobs.
    pub runs: Writer<Job>,
    /// Of the pods.
    pub pods: Writer<PodView>,
}

impl Caches {
    /// Empty caches.
    pub fn new() -> (Self, Writers) {
        let (jobs, jobs_writer) = store();
        let (tables, tables_writer) = store();
        let (connections, connections_writer) = store();
        let (sets, sets_writer) = store();
        let (runs, runs_writer) = store();
        let (pods, pods_writer) = store();
        let writers = Writers {
            jobs: jobs_writer,
            tables: tables_writer,
            connections: connections_writer,
            sets: sets_writer,
            runs: runs_writer,
            pods: pods_writer,
        };
        (Self { jobs, tables, connections, sets, runs, pods }, writers)
    }

    /// Waits until each of them was filled once. False: a watch ended before.
    pub async fn filled(&self) -> bool {
        let filled = futures::try_join!(
            self.jobs.wait_until_ready(),
            self.tables.wait_until_ready(),
            self.connections.wait_until_ready(),
            self.sets.wait_until_ready(),
            self.runs.wait_until_ready(),
            self.pods.wait_until_ready(),
        );
        filled.is_ok()
    }
}

/// An object of one name in one namespace.
pub fn get<K>(store: &Store<K>, key: &ObjectKey) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone,
{
    store.get(&ObjectRef::new(&key.name).within(&key.namespace))
}

/// All objects of a namespace.
pub fn of_namespace<K>(store: &Store<K>, namespace: &str) -> Vec<Arc<K>>
where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone,
{
    store.state_filter(|object: &K| object.meta().namespace.as_deref() == Some(namespace))
}

/// The queues of the controllers.
#[derive(Clone)]
pub struct Queues {
    /// Jobs to look at.
    pub jobs: UnboundedSender<ObjectRef<StreamingJob>>,
    /// Tables to look at.
    pub tables: UnboundedSender<ObjectRef<DataCatalogTable>>,
    /// Connections to look at.
    pub connections: UnboundedSender<ObjectRef<Connection>>,
}

impl Queues {
    /// A job.
    pub fn job(&self, namespace: &str, name: &str) {
        // A queue is closed only when the operator is on its way out.
        let _ = self.jobs.unbounded_send(ObjectRef::new(name).within(namespace));
    }

    /// A table.
    pub fn table(&self, namespace: &str, name: &str) {
        let _ = self.tables.unbounded_send(ObjectRef::new(name).within(namespace));
    }

    /// A connection.
    pub fn connection(&self, namespace: &str, name: &str) {
        let _ = self.connections.unbounded_send(ObjectRef::new(name).within(namespace));
    }
}

/// What a watch shows of one object.
pub struct Change<'a, K> {
    /// As it was in the cache.
    pub before: Option<Arc<K>>,
    /// As it is now, or as it was at last.
    pub object: &'a K,
    /// Is it gone?
    pub deleted: bool,
}

impl<K: Resource> Change<'_, K> {
    /// Is there anything new but the status?
    pub fn is_of_the_spec(&self) -> bool {
        let now = self.object.meta();
        self.deleted
            || self.before.as_ref().is_none_or(|before| {
                let before = before.meta();
                before.generation != now.generation
                    || before.uid != now.uid
                    || before.deletion_timestamp.is_some() != now.deletion_timestamp.is_some()
            })
    }
}

/// Keeps a store as the watch shows it, and tells of every change. Ends when the watch ends, which it does not by itself.
pub async fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    mut writer: Writer<K>,
    tell: impl Fn(Change<'_, K>),
) where
    K: Resource<DynamicType = ()> + Lookup<DynamicType = ()> + Clone + Debug,
{
    let reader = writer.as_reader();
    let before = |object: &K| reader.get(&ObjectRef::from_obj(object));
    let mut events = std::pin::pin!(events.default_backoff());
    loop {
        let mut event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(error) => {
                // The watch goes on by itself, after a pause.
                tracing::warn!(kind = %<K as Resource>::kind(&()), %error, "the watch was interrupted");
                continue;
            }
        };
        if let Event::Apply(object) | Event::InitApply(object) = &mut event {
            strip(object);
        }
        match &event {
            Event::Apply(object) | Event::InitApply(object) => {
                let before = before(object);
                let object = object.clone();
                writer.apply_watcher_event(&event);
                tell(Change { before, object: &object, deleted: false });
            }
            Event::Delete(object) => {
                let before = before(object);
                let object = object.clone();
                writer.apply_watcher_event(&event);
                tell(Change { before, object: &object, deleted: true });
            }
            Event::Init | Event::InitDone => writer.apply_watcher_event(&event),
        }
    }
}

/// Keeps the metadata of a kind that the operator makes.
pub async fn follow_metadata(
    api: Api<PartialObjectMeta<kube::core::DynamicObject>>,
    resource: &ApiResource,
    live: &Live,
    tell: impl Fn(&k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta),
) {
    let kind = &resource.kind;
    let address = |object: &PartialObjectMeta<kube::core::DynamicObject>| Address {
        kind: kind.clone(),
        key: ObjectKey::of(&object.metadata),
    };
    let config = watch::Config::default().page_size(PAGE).labels(names::OURS);
    let mut events = std::pin::pin!(watch::watcher(api, config).default_backoff());
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => live.list_begins(kind),
            Ok(Some(Event::InitDone)) => live.list_ends(kind),
            Ok(Some(Event::Apply(object) | Event::InitApply(object))) => {
                if live.show(address(&object), &object.metadata) {
                    tell(&object.metadata);
                }
            }
            Ok(Some(Event::Delete(object))) => {
                live.gone(&address(&object));
                tell(&object.metadata);
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(kind, %error, "the watch was interrupted"),
        }
    }
}

/// Takes away what nobody here looks at: who manages which field, and the labels and annotations of others.
fn strip<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    let is_ours = |name: &str| name.starts_with("sluice.dev/");
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| is_ours(name));
    }
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|name, _| is_ours(name) || agent::LABELS.contains(&name.as_str()));
    }
}

/// A watch of one kind in a namespace, or in all.
pub fn events<K>(api: Api<K>, selector: Option<&str>) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut config = watch::Config::default().page_size(PAGE);
    if let Some(selector) = selector {
        config = config.labels(selector);
    }
    watch::watcher(api, config)
}

/// The job that a StatefulSet, a Job or a pod belongs to, by its label.
pub fn job_of<K: ResourceExt>(object: &K) -> Option<(String, String)> {
    let job = object.labels().get(names::JOB_LABEL)?;
    Some((object.namespace()?, job.clone()))
}
