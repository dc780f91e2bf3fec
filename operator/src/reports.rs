//! `GET /report` of workers and agents: by the pod's own address, few at a time, and never for long.
//!
//! A report that does not come is no error here. It is a fact that status is made from.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use sluice_crds::report::{AgentReport, WorkerReport};
use tokio::sync::Semaphore;

/// A pod answers from memory. One that needs longer is frozen, or gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that may be under way at the same time.
const AT_ONCE: usize = 64;
/// A report of an agent with a thousand jobs is about a megabyte. Whatever is larger is no report.
const LARGEST: usize = 16 << 20;

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// It took too long.
    #[error("no answer within {}s", PATIENCE.as_secs())]
    TimedOut,
    /// The connection failed.
    #[error("no connection: {0}")]
    Connect(String),
    /// Another answer than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The body is too long, or broke off.
    #[error("the answer cannot be read: {0}")]
    Body(String),
    /// The body is something else.
    #[error("the answer is no report: {0}")]
    Format(String),
}

/// The last answer of a namespace's agent: a failure too, so that an agent which is frozen costs its jobs one wait and not one each.
type Slot = Arc<tokio::sync::Mutex<Option<Answer>>>;

struct Answer {
    pod: SocketAddr,
    at: Instant,
    report: Result<Arc<AgentReport>, ReportError>,
}

/// Asks for reports.
pub struct Reports {
    http: Client<HttpConnector, Empty<Bytes>>,
    permits: Semaphore,
    /// One report serves all jobs of its namespace; whoever comes while it is being asked for waits for it.
    agents: Mutex<HashMap<String, Slot>>,
}

impl Default for Reports {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        // Idle connections to a thousand pods would cost more than new ones every fifteen seconds.
        let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Self { http, permits: Semaphore::new(AT_ONCE), agents: Mutex::default() }
    }
}

impl Reports {
    /// The report of a worker.
    pub async fn worker(&self, pod: SocketAddr) -> Result<WorkerReport, ReportError> {
        self.get(pod).await
    }

    /// The report of the agent of a namespace, at most so old.
    pub async fn agent(
        &self,
        namespace: &str,
        pod: SocketAddr,
        age: Duration,
    ) -> Result<Arc<AgentReport>, ReportError> {
        let slot = {
            let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(agents.entry(namespace.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(answer) = slot.as_ref().filter(|answer| answer.pod == pod && answer.at.elapsed() < age) {
            return answer.report.clone();
        }
        let report = match self.get::<AgentReport>(pod).await {
            Ok(report) if report.namespace == namespace => Ok(Arc::new(report)),
            Ok(report) => Err(ReportError::Format(format!("it is about namespace {}", report.namespace))),
            Err(error) => Err(error),
        };
        *slot = Some(Answer { pod, at: Instant::now(), report: report.clone() });
        report
    }

    async fn get<T: DeserializeOwned>(&self, pod: SocketAddr) -> Result<T, ReportError> {
        let _permit = self.permits.acquire().await.map_err(|error| ReportError::Connect(error.to_string()))?;
        let bytes = tokio::time::timeout(PATIENCE, self.bytes(pod)).await.map_err(|_| ReportError::TimedOut)??;
        serde_json::from_slice(&bytes).map_err(|error| ReportError::Format(error.to_string()))
    }

    async fn bytes(&self, pod: SocketAddr) -> Result<Bytes, ReportError> {
        let uri = format!("http://{pod}/report").parse().map_err(|_| ReportError::Connect(pod.to_string()))?;
        let answer = self.http.get(uri).await.map_err(|error| ReportError::Connect(chain(&error)))?;
        if !answer.status().is_success() {
            return Err(ReportError::Status(answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        Ok(body.map_err(|error| ReportError::Body(error.to_string()))?.to_bytes())
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    async fn serve(body: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = axum::Router::new().route("/report", get(move || async move { body }));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    const EMPTY: &str = r#"{"version": 1, "namespace": "etl", "time": "2026-01-31T00:00:00Z"}"#;

    #[tokio::test]
    async fn an_agent_of_another_namespace_is_not_believed() {
        let (reports, pod) = (Reports::default(), serve(EMPTY).await);
        assert!(reports.agent("etl", pod, Duration::ZERO).await.is_ok());
        let error = reports.agent("other", pod, Duration::ZERO).await.expect_err("refused");
        assert!(error.to_string().contains("namespace etl"), "{error}");
    }

    #[tokio::test]
    async fn one_report_serves_all_jobs_of_a_namespace_while_it_is_young() {
        let (reports, pod) = (Reports::default(), serve(EMPTY).await);
        let first = reports.agent("etl", pod, Duration::ZERO).await.expect("a report");
        let second = reports.agent("etl", pod, Duration::from_mins(1)).await.expect("a report");
        assert!(Arc::ptr_eq(&first, &second));
        let third = reports.agent("etl", pod, Duration::ZERO).await.expect("a report");
        assert!(!Arc::ptr_eq(&first, &third));
    }

    #[tokio::test]
    async fn a_pod_that_answers_something_else_or_nothing_gives_a_fact_and_no_panic() {
        let reports = Reports::default();
        let error = reports.worker(serve("hello").await).await.expect_err("no report");
        assert!(matches!(error, ReportError::Format(_)), "{error}");
        // Nothing listens on a port that was just given back.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
        let error = reports.worker(free).await.expect_err("nobody");
        assert!(matches!(error, ReportError::Connect(_)), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_pod_is_given_up_and_costs_one_wait_for_all() {
        // It takes connections, and never answers.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let reports = Reports::default();
        assert_eq!(reports.worker(address).await, Err(ReportError::TimedOut));
        let start = tokio::time::Instant::now();
        let jobs = (0..100).map(|_| reports.agent("etl", address, Duration::from_mins(1)));
        assert!(futures::future::join_all(jobs).await.iter().all(Result::is_err));
        assert!(start.elapsed() < PATIENCE * 2, "{:?}", start.elapsed());
    }
}
