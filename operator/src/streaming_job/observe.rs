//! What workers and the agent say, asked from the pods themselves.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sluice_crds::reference::ObjectKey;
use sluice_crds::report::{AgentReport, JobReport, WorkerReport};

use super::dereference::World;
use crate::context::Context;

/// How old a report of the agent may be at rest.
const AGENT_AGE: Duration = Duration::from_secs(5);
/// How old it may be while a job waits for it.
const WAITING_AGE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The reports that came, of workers of this job.
    pub workers: Vec<WorkerReport>,
    /// The report of the namespace's agent.
    pub agent: Option<Arc<AgentReport>>,
}

impl Observed {
    /// What the agent says of a job.
    pub fn of_job(&self, name: &str) -> Option<&JobReport> {
        self.agent.as_ref()?.jobs.iter().find(|job| job.name == name)
    }
}

/// Asks everybody at once. Who does not answer in time is left out.
pub async fn observe(key: &ObjectKey, world: &World, waiting: bool, context: &Context) -> Observed {
    let workers = world.pods.iter().filter(|pod| pod.running).filter_map(|pod| Some((pod, pod.address?)));
    let workers = workers.map(|(pod, address)| async move {
        let answer = context.reports.worker(address).await;
        match answer {
            // Addresses are given away again; the report says whose it is.
            Ok(report) if report.job == key.to_string() || report.job.is_empty() => Some(report),
            Ok(report) => {
                tracing::debug!(pod = pod.name, job = report.job, "the report is of another job");
                None
            }
            Err(error) => {
                tracing::debug!(pod = pod.name, %error, "no report");
                context.metrics.report_missed("worker");
                None
            }
        }
    });
    let age = if waiting { WAITING_AGE } else { AGENT_AGE };
    let (workers, agent) = futures::join!(join_all(workers), agent(key, world, age, context));
    Observed { workers: workers.into_iter().flatten().collect(), agent }
}

async fn agent(key: &ObjectKey, world: &World, age: Duration, context: &Context) -> Option<Arc<AgentReport>> {
    let pod = world.agent.as_ref()?;
    match context.reports.agent(&key.namespace, pod.address?, age).await {
        Ok(report) => Some(report),
        Err(error) => {
            tracing::debug!(pod = pod.name, %error, "no report");
            context.metrics.report_missed("agent");
            None
        }
    }
}
