//! The metrics of an agent. Names, labels and units are an interface: docs/agent.md lists them, and tests read them.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use sluice_crds::report::AgentReport;

use super::agenda::Kind;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabel {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    connection: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: String,
}

type Seconds = Counter<f64, AtomicU64>;

/// Everything that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,
    looks: Family<LookLabel, Counter>,
    look_seconds: Family<KindLabel, Seconds>,
    connections: Family<ConnectionLabel, Gauge>,
    lag_records: Family<JobLabel, Gauge>,
    lag_seconds: Family<JobLabel, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sluice_agent");
        let (looks, look_seconds) = (Family::default(), Family::default());
        let (connections, lag_records, lag_seconds) = (Family::default(), Family::default(), Family::default());
        registry.register(
            "looks",
            "Looks at connections, tables, plans and jobs by how they ended",
            Family::clone(&looks),
        );
        let help = "Time of these looks, all added up";
        registry.register_with_unit("look", help, Unit::Seconds, Family::clone(&look_seconds));
        registry.register("connection_ok", "1: the connection passed its last test", Family::clone(&connections));
        registry.register("lag_records", "End offsets minus committed positions of a job", Family::clone(&lag_records));
        let help = "Age of the oldest record of a job that is not committed";
        registry.register_with_unit("lag", help, Unit::Seconds, Family::clone(&lag_seconds));
        Self { registry: Mutex::new(registry), looks, look_seconds, connections, lag_records, lag_seconds }
    }
}

impl Metrics {
    /// A look is over: `good`, `bad` (something is wrong with what was looked at) or `lost` (it came to no end).
    pub fn looked(&self, kind: Kind, result: &'static str, took: Duration) {
        let kind = kind.as_str();
        self.looks.get_or_create(&LookLabel { kind, result }).inc();
        self.look_seconds.get_or_create(&KindLabel { kind }).inc_by(took.as_secs_f64());
    }

    /// The text of `GET /metrics`. Gauges are what the report says.
    pub fn render(&self, report: &AgentReport) -> String {
        // One at a time: between clearing and setting nobody must read.
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.connections.clear();
        for it in &report.connections {
            let label = ConnectionLabel { connection: it.name.clone() };
            self.connections.get_or_create(&label).set(i64::from(it.finding.ok));
        }
        self.lag_records.clear();
        self.lag_seconds.clear();
        for (name, lag) in report.jobs.iter().filter_map(|job| Some((&job.name, job.lag.as_ref()?))) {
            let label = JobLabel { job: name.clone() };
            if let Some(records) = lag.partitions.iter().map(|partition| partition.lag).sum::<Option<i64>>() {
                self.lag_records.get_or_create(&label).set(records);
            }
            if let Some(seconds) = lag.seconds {
                self.lag_seconds.get_or_create(&label).set(seconds);
            }
        }
        let mut text = String::new();
        // Writing into a text does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_documentation() {
        let metrics = Metrics::default();
        metrics.looked(Kind::Connection, "bad", Duration::from_millis(500));
        let report = serde_json::json!({
            "version": 1, "namespace": "etl", "time": "2026-01-31T00:00:00Z",
            "connections": [{"name": "lake", "generation": 1, "time": "2026-01-31T00:00:00Z",
                "finding": {"ok": false, "reason": "Unreachable", "message": "refused"}}],
            "jobs": [{"name": "orders", "lag": {"seconds": 7, "time": "2026-01-31T00:00:00Z", "partitions": [
                {"topic": "t", "partition": 0, "committed": 1, "position": 1, "end": 4, "lag": 3},
                {"topic": "t", "partition": 1, "committed": 1, "position": 1, "end": 3, "lag": 2}]}}],
        });
        let text = metrics.render(&serde_json::from_value(report).expect("a report"));
        for line in [
            "sluice_agent_looks_total{kind=\"connection\",result=\"bad\"} 1",
            "sluice_agent_look_seconds_total{kind=\"connection\"} 0.5",
            "sluice_agent_connection_ok{connection=\"lake\"} 0",
            "sluice_agent_lag_records{job=\"orders\"} 5",
            "sluice_agent_lag_seconds{job=\"orders\"} 7",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
