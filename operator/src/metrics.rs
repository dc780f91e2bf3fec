//! The operator's own metrics, and what statuses say. Those of the data are the workers'.

mod objects;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::caches::Caches;
use objects::Objects;

/// From a reconcile that finds everything as it should be, to one that waits for a frozen pod.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabel {
    kind: &'static str,
    class: &'static str,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<KindLabel, Counter>,
    errors: Family<ErrorLabel, Counter>,
    durations: Family<KindLabel, Histogram, fn() -> Histogram>,
    status_writes: Family<KindLabel, Counter>,
    reports_missed: Family<KindLabel, Counter>,
    leader: Gauge,
    objects: Arc<Objects>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sluice_operator");
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let metrics = Self {
            reconciles: Family::default(),
            errors: Family::default(),
            durations: Family::new_with_constructor(histogram),
            status_writes: Family::default(),
            reports_missed: Family::default(),
            leader: Gauge::default(),
            objects: Arc::default(),
            registry: Mutex::default(),
        };
        registry.register("reconciles", "Reconciles that were made", metrics.reconciles.clone());
        registry.register("reconcile_errors", "Reconciles that did not get to their end", metrics.errors.clone());
        registry.register_with_unit(
            "reconcile_duration",
            "Duration of a reconcile",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("status_writes", "Statuses that were written", metrics.status_writes.clone());
        registry.register("reports_missed", "Reports that pods did not give", metrics.reports_missed.clone());
        registry.register("leader", "1: this operator acts; 0: it waits for the lease", metrics.leader.clone());
        registry.register_collector(Box::new(Arc::clone(&metrics.objects)));
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    /// A reconcile is over.
    pub fn reconciled(&self, kind: &'static str, took: Duration) {
        self.reconciles.get_or_create(&KindLabel { kind }).inc();
        self.durations.get_or_create(&KindLabel { kind }).observe(took.as_secs_f64());
    }

    /// A reconcile did not get to its end.
    pub fn failed(&self, kind: &'static str, class: &'static str) {
        self.errors.get_or_create(&ErrorLabel { kind, class }).inc();
    }

    /// A status was written.
    pub fn status_written(&self, kind: &'static str) {
        self.status_writes.get_or_create(&KindLabel { kind }).inc();
    }

    /// A pod (`worker` or `agent`) gave no report.
    pub fn report_missed(&self, kind: &'static str) {
        self.reports_missed.get_or_create(&KindLabel { kind }).inc();
    }

    /// Tells of the objects in these caches, too.
    pub fn show(&self, caches: Caches) {
        self.objects.show(caches);
    }

    /// Does this operator act?
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The text of `GET /metrics`.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a text does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let metrics = Metrics::default();
        metrics.reconciled("StreamingJob", Duration::from_millis(3));
        metrics.failed("StreamingJob", "user");
        metrics.status_written("Connection");
        metrics.report_missed("worker");
        metrics.leads(true);
        let text = metrics.render();
        for line in [
            "sluice_operator_reconciles_total{kind=\"StreamingJob\"} 1",
            "sluice_operator_reconcile_errors_total{kind=\"StreamingJob\",class=\"user\"} 1",
            "sluice_operator_reconcile_duration_seconds_count{kind=\"StreamingJob\"} 1",
            "sluice_operator_status_writes_total{kind=\"Connection\"} 1",
            "sluice_operator_reports_missed_total{kind=\"worker\"} 1",
            "sluice_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
