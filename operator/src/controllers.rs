//! Watches, queues and reconciles, put together for one scope: all namespaces, or one.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{BoxFuture, try_join_all};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::ApiResource;
use kube::runtime::applier;
use kube::runtime::controller::{Action, Config, ReconcileRequest};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};
use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::caches::{self, Caches, Change, Queues, Writers, follow, follow_metadata};
use crate::context::Context;
use crate::error::Error;
use crate::http::Health;
use crate::live::Live;
use crate::names;
use crate::settings::Settings;
use crate::views::PodView;
use crate::{agent, connection, data_catalog_table, streaming_job, uses};

/// Reconciles of jobs at the same time. Most of the time of each is waiting for pods and the API server.
const JOBS_AT_ONCE: usize = 24;
/// Those of tables and connections. They write nothing but status, and where the API server is slow, jobs go first.
const OTHERS_AT_ONCE: usize = 8;
/// Reconciles of one kind that wait for their turn in order.
const CROWD: u16 = 256;
/// A pod and its StatefulSet change together; one look is enough for both.
const DEBOUNCE: std::time::Duration = std::time::Duration::from_millis(50);

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    All,
    /// In one namespace.
    Namespace(String),
}

impl Scope {
    /// One for each namespace, or one for all.
    pub fn of(settings: &Settings) -> Vec<Self> {
        let namespaces = settings.namespaces();
        if namespaces.is_empty() { vec![Self::All] } else { namespaces.into_iter().map(Self::Namespace).collect() }
    }

    fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }
}

/// A watch has ended, which none does by itself. What it showed last would be taken for what is there, so that only a new start helps.
#[derive(Debug, thiserror::Error)]
#[error("a watch of the API server has ended, so that nothing more would be seen; starting again")]
pub struct WatchEnded(#[source] Option<JoinError>);

/// Runs until it is told to stop; then finishes what is under way. With an error, nothing is finished.
pub async fn run(
    client: Client,
    settings: &Settings,
    cluster: &str,
    health: &Health,
    stop: CancellationToken,
) -> Result<(), WatchEnded> {
    let scopes = Scope::of(settings);
    // One namespace that cannot be read is as good a reason not to be ready as all of them.
    let missing = AtomicUsize::new(scopes.len());
    let filled = || {
        if missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            health.ready(true);
        }
    };
    let scopes = scopes
        .into_iter()
        .map(|scope| run_scope(scope, client.clone(), settings, cluster.to_owned(), health, &filled, stop.clone()));
    try_join_all(scopes).await?;
    Ok(())
}

async fn run_scope(
    scope: Scope,
    client: Client,
    settings: &Settings,
    cluster: String,
    health: &Health,
    filled: impl Fn(),
    stop: CancellationToken,
) -> Result<(), WatchEnded> {
    let (caches, writers) = Caches::new();
    let live = Arc::new(Live::default());
    let (jobs, jobs_due) = unbounded();
    let (tables, tables_due) = unbounded();
    let (connections, connections_due) = unbounded();
    let queues = Queues { jobs, tables, connections };
    let mut watches = JoinSet::new();
    watch_ours(&mut watches, &scope, &client, &caches, writers, &queues);
    watch_made(&mut watches, &scope, &client, &live, &queues);
    health.metrics.show(caches.clone());
    tokio::select! {
        whole = caches.filled() => {
            if whole {
                tracing::info!(?scope, jobs = caches.jobs.len(), "the caches are filled");
                filled();
            }
        }
        () = stop.cancelled() => {
            // A controller does not stop before its cache was filled once.
            watches.shutdown().await;
            return Ok(());
        }
    }
    let context = Context::new(client, settings, cluster, Arc::clone(&health.metrics), caches.clone(), live);
    let context = Arc::new(context);
    let rounds = (
        drive(streaming_job::KIND, caches.jobs, jobs_due, streaming_job::reconcile, &context, &stop),
        drive(data_catalog_table::KIND, caches.tables, tables_due, data_catalog_table::reconcile, &context, &stop),
        drive(connection::KIND, caches.connections, connections_due, connection::reconcile, &context, &stop),
    );
    let rounds = async { futures::join!(rounds.0, rounds.1, rounds.2) };
    while_watched(&mut watches, rounds).await?;
    watches.shutdown().await;
    Ok(())
}

/// Does this to its end, unless a watch ends before.
async fn while_watched<T>(watches: &mut JoinSet<()>, work: impl Future<Output = T>) -> Result<(), WatchEnded> {
    tokio::select! {
        biased;
        _ = work => Ok(()),
        Some(ended) = watches.join_next() => Err(WatchEnded(ended.err())),
    }
}

/// The reconciles of one kind.
fn drive<K, F>(
    kind: &'static str,
    store: Store<K>,
    due: UnboundedReceiver<ObjectRef<K>>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
    context: &Arc<Context>,
    stop: &CancellationToken,
) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = ()> + reflector::Lookup<DynamicType = ()> + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let due = due.map(|object| Ok::<_, Infallible>(ReconcileRequest::from(object)));
    let due = due.take_until(stop.clone().cancelled_owned());
    // The runner has a limit of its own, but who waits there is not served in order: in a crowd some would wait for ever. So the crowd
    // waits here, and that limit is only for an operator that starts and has everything to look at.
    let permits = Arc::new(Semaphore::new(if kind == streaming_job::KIND { JOBS_AT_ONCE } else { OTHERS_AT_ONCE }));
    let (cached, stop) = (store.clone(), stop.clone());
    let timed = move |object: Arc<K>, context: Arc<Context>| {
        let (permits, cached, stop) = (Arc::clone(&permits), cached.clone(), stop.clone());
        Box::pin(async move {
            // What is under way is finished at the end; who waits for a turn has none.
            let _permit = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Action::await_change()),
                permit = permits.acquire() => permit,
            };
            // As it is now, after the wait.
            let Some(object) = cached.get(&ObjectRef::from_obj(object.as_ref())) else {
                return Ok(Action::await_change());
            };
            if context
                .is_behind(object.meta().uid.as_deref().unwrap_or_default(), object.meta().resource_version.as_deref())
            {
                return Ok(Action::requeue(DEBOUNCE * 2));
            }
            let (start, key) = (Instant::now(), ObjectKey::of(object.meta()));
            // A box of its own: it is large, and whoever waits for a permit has none yet.
            let answer = Box::pin(reconcile(object, Arc::clone(&context))).await;
            context.metrics.reconciled(kind, start.elapsed());
            if answer.is_ok() {
                context.succeeded(kind, &key);
            }
            answer
        })
    };
    let on_error = move |object: Arc<K>, error: &Error, context: Arc<Context>| {
        let key = ObjectKey::of(object.meta());
        let failures = context.failed(kind, key.clone());
        let (class, wait) = (error.class(), error.retry_after(failures));
        context.metrics.failed(kind, class.as_str());
        tracing::warn!(kind, object = %key, class = class.as_str(), retry_in = ?wait, error = error.chain(), "not reconciled");
        Action::requeue(wait)
    };
    let config = Config::default().concurrency(CROWD).debounce(DEBOUNCE);
    let rounds = applier(timed, on_error, Arc::clone(context), store, due, config);
    Box::pin(rounds.for_each(|_| async {}))
}

/// Watches what users write, and what the jobs' pods do.
fn watch_ours(
    watches: &mut JoinSet<()>,
    scope: &Scope,
    client: &Client,
    caches: &Caches,
    writers: Writers,
    queues: &Queues,
) {
    let to = queues.clone();
    let events = caches::events(scope.api::<StreamingJob>(client), None);
    watches.spawn(follow(events, writers.jobs, move |change| job_changed(&change, &to)));

    let (cached, to) = (caches.clone(), queues.clone());
    let events = caches::events(scope.api::<DataCatalogTable>(client), None);
    watches.spawn(follow(events, writers.tables, move |change| table_changed(&change, &cached, &to)));

    let (cached, to) = (caches.clone(), queues.clone());
    let events = caches::events(scope.api::<Connection>(client), None);
    watches.spawn(follow(events, writers.connections, move |change| connection_changed(&change, &cached, &to)));

    let to = queues.clone();
    let events = caches::events(scope.api(client), Some(names::OURS));
    watches.spawn(follow(events, writers.sets, move |change| child_changed(&change, &to)));

    let to = queues.clone();
    let events = caches::events(scope.api(client), Some(names::OURS));
    watches.spawn(follow(events, writers.runs, move |change| child_changed(&change, &to)));

    let (cached, to) = (caches.clone(), queues.clone());
    let events = caches::events(scope.api::<PodView>(client), Some(names::OURS));
    watches.spawn(follow(events, writers.pods, move |change| {
        child_changed(&change, &to);
        agent_changed(&change, &cached, &to);
    }));
}

/// Watches the metadata of everything that the operator makes.
fn watch_made(watches: &mut JoinSet<()>, scope: &Scope, client: &Client, live: &Arc<Live>, queues: &Queues) {
    let kinds = [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<k8s_openapi::api::apps::v1::StatefulSet>(&()),
        ApiResource::erase::<k8s_openapi::api::batch::v1::Job>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
    ];
    for resource in kinds {
        let (live, to) = (Arc::clone(live), queues.clone());
        let api = match scope {
            Scope::All => Api::all_with(client.clone(), &resource),
            Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        watches.spawn(async move { follow_metadata(api, &resource, &live, |metadata| owner_due(metadata, &to)).await });
    }
}

/// The owner of an object that is not as we left it.
fn owner_due(metadata: &ObjectMeta, queues: &Queues) {
    let Some(namespace) = &metadata.namespace else { return };
    for owner in metadata.owner_references.iter().flatten() {
        match owner.kind.as_str() {
            "StreamingJob" => queues.job(namespace, &owner.name),
            "Connection" => return queues.connection(namespace, &owner.name),
            _ => {}
        }
    }
}

fn job_changed(change: &Change<'_, StreamingJob>, queues: &Queues) {
    if !change.is_of_the_spec() {
        return;
    }
    let namespace = change.object.namespace().unwrap_or_default();
    queues.job(&namespace, &change.object.name_any());
    // Those that it named before want to know too: their users changed.
    let specs = change.before.iter().map(|before| &before.spec).chain([&change.object.spec]);
    for spec in specs {
        for table in uses::tables(spec) {
            queues.table(&namespace, table);
        }
        for connection in uses::connections(spec) {
            queues.connection(&namespace, connection);
        }
    }
}

fn table_changed(change: &Change<'_, DataCatalogTable>, caches: &Caches, queues: &Queues) {
    if !change.is_of_the_spec() {
        return;
    }
    let (namespace, name) = (change.object.namespace().unwrap_or_default(), change.object.name_any());
    queues.table(&namespace, &name);
    jobs_of_table(&namespace, &name, caches, queues);
    let specs = change.before.iter().map(|before| &before.spec).chain([&change.object.spec]);
    for connection in specs.flat_map(uses::connections_of_table) {
        queues.connection(&namespace, connection);
    }
}

fn jobs_of_table(namespace: &str, table: &str, caches: &Caches, queues: &Queues) {
    for job in caches::of_namespace(&caches.jobs, namespace) {
        if uses::tables(&job.spec).contains(table) {
            queues.job(namespace, &job.name_any());
        }
    }
}

fn connection_changed(change: &Change<'_, Connection>, caches: &Caches, queues: &Queues) {
    let (namespace, name) = (change.object.namespace().unwrap_or_default(), change.object.name_any());
    let tables = caches::of_namespace(&caches.tables, &namespace);
    let tables: Vec<_> =
        tables.iter().filter(|table| uses::connections_of_table(&table.spec).contains(name.as_str())).collect();
    if !change.is_of_the_spec() {
        // A table says whether its connection works.
        for table in tables {
            queues.table(&namespace, &table.name_any());
        }
        return;
    }
    if change.deleted {
        // The agent of the others need not mount its secrets any more.
        let rest = caches::of_namespace(&caches.connections, &namespace);
        rest.first().into_iter().for_each(|other| queues.connection(&namespace, &other.name_any()));
    } else {
        queues.connection(&namespace, &name);
    }
    for table in tables {
        queues.table(&namespace, &table.name_any());
        jobs_of_table(&namespace, &table.name_any(), caches, queues);
    }
    for job in caches::of_namespace(&caches.jobs, &namespace) {
        if uses::connections(&job.spec).contains(name.as_str()) {
            queues.job(&namespace, &job.name_any());
        }
    }
}

/// A StatefulSet, a Job or a pod of a job.
fn child_changed<K: ResourceExt>(change: &Change<'_, K>, queues: &Queues) {
    if let Some((namespace, job)) = caches::job_of(change.object) {
        queues.job(&namespace, &job);
    }
}

/// The agent has started, or is gone: everybody in the namespace has questions.
fn agent_changed(change: &Change<'_, PodView>, caches: &Caches, queues: &Queues) {
    if !agent::is_agent(change.object) {
        return;
    }
    let running = |pod: &PodView| pod.status.phase.as_deref() == Some("Running");
    let before = change.before.as_ref().is_some_and(|before| running(before));
    if before == running(change.object) && !change.deleted {
        return;
    }
    let namespace = change.object.namespace().unwrap_or_default();
    for connection in caches::of_namespace(&caches.connections, &namespace) {
        queues.connection(&namespace, &connection.name_any());
    }
    for job in caches::of_namespace(&caches.jobs, &namespace) {
        queues.job(&namespace, &job.name_any());
    }
}

#[cfg(test)]
mod tests;
