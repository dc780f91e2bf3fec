//! The pods that are played: which they are, and the reports that they serve, each at its own address.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sluice_bench::traffic::{PlayedJob, Traffic};
use sluice_crds::connection::KafkaFindings;
use sluice_crds::connection::S3Findings;
use sluice_crds::reference::ObjectKey;
use sluice_crds::report::{AgentReport, ConnectionReport, Finding};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::sample::{folder_table, topic_table};
use crate::sights::Sights;

/// The port of every pod.
const PORT: u16 = 8080;
/// The first address that a pod gets; the next ones follow.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// So often the agent tests a connection.
const PROBE_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Who is played at an address.
#[derive(Debug, Clone)]
enum Role {
    Worker { job: ObjectKey, ordinal: usize },
    Agent { namespace: String },
}

/// See the module.
pub struct Pods {
    sights: Arc<Sights>,
    jobs: HashMap<ObjectKey, PlayedJob>,
    workers: usize,
    traffic: Mutex<Traffic>,
    roles: Mutex<Roles>,
    asked: watch::Sender<HashMap<IpAddr, u32>>,
}

#[derive(Default)]
struct Roles {
    by_address: HashMap<IpAddr, Role>,
    /// UIDs of pods that have an address.
    placed: BTreeSet<String>,
}

impl Pods {
    /// No pod yet; so many for each of these jobs to come.
    pub fn new(sights: Arc<Sights>, jobs: HashMap<ObjectKey, PlayedJob>, workers: usize) -> Self {
        let traffic = Traffic { start: Timestamp::now(), moves: None };
        Self {
            sights,
            jobs,
            workers,
            traffic: Mutex::new(traffic),
            roles: Mutex::default(),
            asked: watch::Sender::default(),
        }
    }

    /// Records come, from now on.
    pub fn move_lag(&self) {
        locked(&self.traffic).moves = Some(Timestamp::now());
    }

    /// An address for a new pod; nothing when it has one.
    pub fn place(&self, pod: &ObjectMeta) -> Result<Option<IpAddr>> {
        let mut roles = locked(&self.roles);
        if !roles.placed.insert(pod.uid.clone().context("a pod without a UID")?) {
            return Ok(None);
        }
        let number = u32::try_from(roles.placed.len() - 1)?;
        let address = IpAddr::V4(Ipv4Addr::from_bits(FIRST_ADDRESS.to_bits() + number));
        roles.by_address.insert(address, role(pod)?);
        Ok(Some(address))
    }

    /// Waits until every worker was asked so often for its report, from now on.
    pub async fn until_asked(&self, times: u32, limit: Duration) -> Result<()> {
        let (workers, mut asked) = (self.jobs.len() * self.workers, self.asked.subscribe());
        self.asked.send_replace(HashMap::new());
        let all = |asked: &HashMap<_, u32>| asked.len() >= workers && asked.values().all(|count| *count >= times);
        if tokio::time::timeout(limit, asked.wait_for(all)).await.is_err() {
            bail!("after {limit:?} only {} of {workers} workers were asked", self.asked.borrow().len());
        }
        Ok(())
    }

    /// Serves the reports of all pods. Does not end.
    pub async fn serve(self: Arc<Self>) -> Result<()> {
        let router = Router::new().route("/report", get(report)).with_state(self);
        let listener =
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await.context("the port of the pods is taken")?;
        Ok(axum::serve(listener, router).await?)
    }

    fn answer(&self, address: IpAddr) -> Option<Response> {
        let role = locked(&self.roles).by_address.get(&address).cloned()?;
        let (traffic, now) = (*locked(&self.traffic), Timestamp::now());
        match role {
            Role::Worker { job, ordinal } => {
                self.asked.send_modify(|asked| *asked.entry(address).or_default() += 1);
                Some(Json(self.jobs.get(&job)?.worker(ordinal, self.workers, traffic, now)).into_response())
            }
            Role::Agent { namespace } => Some(Json(self.agent(&namespace, traffic, now)).into_response()),
        }
    }

    /// An agent knows a job as soon as a watch shows it, and has planned it at once.
    fn agent(&self, namespace: &str, traffic: Traffic, now: Timestamp) -> AgentReport {
        let jobs = self.jobs.iter().filter(|(key, _)| key.namespace == namespace);
        let seen = self.sights.now();
        let connections = ["kafka", "lake"].map(|name| connection(name, traffic, now));
        let tables = jobs.clone().flat_map(|(key, job)| {
            [job.table(&topic_table(&key.name), traffic, now), PlayedJob::folder(&folder_table(&key.name))]
        });
        AgentReport {
            version: 1,
            namespace: namespace.to_owned(),
            connections: connections.into(),
            tables: tables.collect(),
            jobs: jobs.filter(|(key, _)| seen.jobs.has(key)).map(|(_, job)| job.job(traffic, now)).collect(),
            time: now,
        }
    }
}

/// Who a pod is, by its labels and its name.
fn role(pod: &ObjectMeta) -> Result<Role> {
    let (namespace, name) = (pod.namespace.clone().unwrap_or_default(), pod.name.clone().unwrap_or_default());
    let label = |label: &str| pod.labels.as_ref().and_then(|labels| labels.get(label));
    match label("app.kubernetes.io/component").map(String::as_str) {
        Some("agent") => Ok(Role::Agent { namespace }),
        Some("worker") => {
            let job = label("sluice.dev/job").with_context(|| format!("the worker {name} has no job"))?;
            let (_, ordinal) = name.rsplit_once('-').context("the pod of a StatefulSet ends with its number")?;
            Ok(Role::Worker { job: ObjectKey::new(namespace, job), ordinal: ordinal.parse()? })
        }
        _ => bail!("the pod {namespace}/{name} is neither a worker nor an agent"),
    }
}

/// A test that went well, at the last time when the agent makes one.
fn connection(name: &str, traffic: Traffic, now: Timestamp) -> ConnectionReport {
    let tested = now.duration_since(traffic.start).as_secs() / PROBE_EVERY.as_secs();
    let is_kafka = name == "kafka";
    let (kafka, s3) = (
        KafkaFindings { cluster_id: Some("bench".to_owned()), brokers: Some(3), round_trip: None },
        S3Findings { conditional_writes: Some(true), multipart: Some(true), clock_skew: None },
    );
    ConnectionReport {
        name: name.to_owned(),
        uid: String::new(),
        generation: 1,
        finding: Finding { ok: true, reason: "Connected".to_owned(), message: "it answers".to_owned() },
        kafka: is_kafka.then_some(kafka),
        s3: (!is_kafka).then_some(s3),
        certificate_expiry: None,
        time: traffic.start + SignedDuration::from_secs(tested * PROBE_EVERY.as_secs()),
    }
}

/// The address that was asked stands in the request: all of them are served by one listener.
async fn report(State(pods): State<Arc<Pods>>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()?.parse::<SocketAddr>().ok());
    let answer = host.and_then(|host| pods.answer(host.ip()));
    answer.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
