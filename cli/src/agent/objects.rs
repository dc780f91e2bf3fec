//! The three kinds of a namespace, kept as the API server shows them.
//!
//! Objects are read one by one and not as a typed list: an object that this program cannot read (by the schema of a later release) would
//! make the whole list unreadable, and with it every other object of its kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, select_all};
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::reference::ObjectKey;
use sluice_crds::resolve::ResolveContext;
use sluice_crds::streaming_job::StreamingJob;
use sluice_worker::agent::{Objects, World};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What is applied together arrives within this time, and is understood together.
const QUIET: Duration = Duration::from_millis(200);

/// Which shelf an event is for.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Jobs,
    Tables,
    Connections,
}

/// Tells the world of the namespace now and after each change of a spec. Does not end by itself.
pub async fn follow(
    client: &Client,
    namespace: &str,
    context: &ResolveContext,
    tell: &watch::Sender<Option<Arc<World>>>,
) {
    let mut events = select_all([
        events::<StreamingJob>(client, namespace, Kind::Jobs),
        events::<DataCatalogTable>(client, namespace, Kind::Tables),
        events::<Connection>(client, namespace, Kind::Connections),
    ]);
    let mut shelves = Shelves::default();
    let mut due = None;
    loop {
        let at = due.unwrap_or_else(Instant::now);
        tokio::select! {
            event = events.next() => match event {
                None => return,
                Some((kind, Ok(event))) => {
                    if shelves.hear(kind, event) && due.is_none() {
                        due = Some(Instant::now() + QUIET);
                    }
                }
                // It goes on by itself, after a pause.
                Some((kind, Err(error))) => {
                    let error = sluice_worker::error::chain(&error);
                    tracing::warn!(kind = ?kind, error, "the watch was interrupted");
                }
            },
            () = sleep_until(at), if due.is_some() => {
                due = None;
                if let Some(objects) = shelves.objects() {
                    tell.send_replace(Some(Arc::new(World::of(&objects, context))));
                }
            }
        }
    }
}

type Heard = (Kind, watcher::Result<Event<DynamicObject>>);

fn events<K>(client: &Client, namespace: &str, kind: Kind) -> BoxStream<'static, Heard>
where
    K: Resource<DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    watch_objects(api, watcher::Config::default()).default_backoff().map(move |event| (kind, event)).boxed()
}

#[derive(Debug, Default)]
struct Shelves {
    jobs: Shelf<StreamingJob>,
    tables: Shelf<DataCatalogTable>,
    connections: Shelf<Connection>,
}

impl Shelves {
    fn hear(&mut self, kind: Kind, event: Event<DynamicObject>) -> bool {
        match kind {
            Kind::Jobs => self.jobs.hear(event),
            Kind::Tables => self.tables.hear(event),
            Kind::Connections => self.connections.hear(event),
        }
    }

    /// All objects; nothing before each kind was listed once, because a table that is not listed yet is not missing.
    fn objects(&self) -> Option<Objects> {
        let Self { jobs, tables, connections } = self;
        (jobs.listed && tables.listed && connections.listed).then(|| Objects {
            jobs: jobs.objects.clone(),
            tables: tables.objects.clone(),
            connections: connections.objects.clone(),
        })
    }
}

/// The objects of one kind that can be read.
#[derive(Debug)]
struct Shelf<K> {
    objects: BTreeMap<ObjectKey, K>,
    /// A list that is being told.
    list: BTreeMap<ObjectKey, K>,
    /// Was there a whole list?
    listed: bool,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), list: BTreeMap::new(), listed: false }
    }
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned> Shelf<K> {
    /// Takes in what a watch tells. True: there is more new than a status.
    fn hear(&mut self, event: Event<DynamicObject>) -> bool {
        match event {
            Event::Init => {
                self.list.clear();
                false
            }
            Event::InitApply(object) => {
                let key = ObjectKey::of(&object.metadata);
                self.list.extend(read(object).map(|object| (key, object)));
                false
            }
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.list);
                self.listed = true;
                true
            }
            Event::Apply(object) => {
                let key = ObjectKey::of(&object.metadata);
                let before = self.objects.remove(&key);
                let Some(object) = read::<K>(object) else { return before.is_some() };
                let version = |object: &K| (object.meta().uid.clone(), object.meta().generation);
                let news = before.is_none_or(|before| version(&before) != version(&object));
                self.objects.insert(key, object);
                news
            }
            Event::Delete(object) => self.objects.remove(&ObjectKey::of(&object.metadata)).is_some(),
        }
    }
}

/// The object without its status, which nobody here reads.
fn read<K: Resource<DynamicType = ()> + DeserializeOwned>(mut object: DynamicObject) -> Option<K> {
    if let Some(members) = object.data.as_object_mut() {
        members.remove("status");
    }
    object.metadata.managed_fields = None;
    let name = object.metadata.name.clone();
    match object.try_parse() {
        Ok(object) => Some(object),
        Err(error) => {
            let error = sluice_worker::error::chain(&error);
            tracing::warn!(kind = %K::kind(&()), name, error, "the object cannot be read: it counts as missing");
            None
        }
    }
}

#[cfg(test)]
mod tests;
