//! What the agent knows, laid out so that whoever asks gets an answer at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sluice_crds::report::{AgentReport, ConnectionReport, JobReport, PlanCheck, TableReport};

use super::job::JobLook;
use super::metrics::Metrics;
use super::world::World;
use crate::http::Served;

/// See the module.
pub struct Desk {
    namespace: String,
    /// Is it known what there is to look at?
    ready: AtomicBool,
    known: Mutex<Known>,
    pub(super) metrics: Metrics,
}

#[derive(Default)]
struct Known {
    connections: BTreeMap<String, ConnectionReport>,
    tables: BTreeMap<String, TableReport>,
    checks: BTreeMap<String, PlanCheck>,
    jobs: BTreeMap<String, JobLook>,
}

impl Desk {
    /// An empty desk.
    pub fn new(namespace: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            namespace: namespace.into(),
            ready: AtomicBool::new(false),
            known: Mutex::default(),
            metrics: Metrics::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays down what a test found.
    pub(super) fn connection(&self, report: ConnectionReport) {
        self.known().connections.insert(report.name.clone(), report);
    }

    /// Lays down what is at the place of a table.
    pub(super) fn table(&self, report: TableReport) {
        self.known().tables.insert(report.name.clone(), report);
    }

    /// Lays down the check of a job's plan.
    pub(super) fn check(&self, job: &str, check: PlanCheck) {
        self.known().checks.insert(job.to_owned(), check);
    }

    /// Lays down what is known of a job.
    pub(super) fn job(&self, job: &str, look: JobLook) {
        self.known().jobs.insert(job.to_owned(), look);
    }

    /// Clears away what is not there any more.
    pub(super) fn keep_only(&self, world: &World) {
        let mut known = self.known();
        known.connections.retain(|_, report| world.has_connection(report));
        known.tables.retain(|_, report| world.has_table(report));
        known.checks.retain(|name, _| world.jobs.contains_key(name));
        known.jobs.retain(|name, _| world.jobs.contains_key(name));
        drop(known);
        self.ready.store(true, Ordering::Release);
    }
}

impl Served for Desk {
    type Report = AgentReport;

    fn report(&self) -> AgentReport {
        let known = self.known();
        let names: BTreeSet<&String> = known.checks.keys().chain(known.jobs.keys()).collect();
        let jobs = names.into_iter().map(|name| {
            let look = known.jobs.get(name).cloned().unwrap_or_default();
            let check = known.checks.get(name).cloned();
            JobReport { name: name.clone(), check, lag: look.lag, ledger: look.ledger }
        });
        AgentReport {
            version: 1,
            namespace: self.namespace.clone(),
            connections: known.connections.values().cloned().collect(),
            tables: known.tables.values().cloned().collect(),
            jobs: jobs.collect(),
            time: Timestamp::now(),
        }
    }

    fn render_metrics(&self) -> String {
        self.metrics.render(&self.report())
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
