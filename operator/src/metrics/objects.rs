//! What the statuses say, as metrics: read from the watch caches when Prometheus asks, so that nothing has to be kept up to date, and
//! what is deleted is gone at once.

use std::fmt::Error;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use sluice_crds::condition::ConditionType;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;

use crate::caches::Caches;
use crate::condition;

/// Prometheus has a label `job` of its own; the chart's `PodMonitor` gives the workers' metrics the same label as here.
#[derive(Debug, EncodeLabelSet)]
struct JobLabels {
    namespace: String,
    sluice_job: String,
}

#[derive(Debug, EncodeLabelSet)]
struct ConnectionLabels {
    namespace: String,
    connection: String,
}

/// See the module. There is one set of caches for each namespace that the operator looks after, or one for all.
#[derive(Default)]
pub struct Objects {
    scopes: Mutex<Vec<Caches>>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Objects")
    }
}

impl Objects {
    /// Tells of the objects in these caches from now on.
    pub fn show(&self, caches: Caches) {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).push(caches);
    }

    fn jobs(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&StreamingJob) -> Option<i64>,
    ) -> Result<(), Error> {
        let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for caches in self.scopes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for job in caches.jobs.state() {
                if let Some(value) = value(&job) {
                    let ObjectKey { namespace, name: sluice_job } = ObjectKey::of(&job.metadata);
                    tell(&mut gauge, &JobLabels { namespace, sluice_job }, value)?;
                }
            }
        }
        Ok(())
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "1: the last test of the connection went well";
        let mut gauge = encoder.encode_descriptor("connection_ready", help, None, MetricType::Gauge)?;
        for caches in self.scopes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for found in caches.connections.state() {
                let conditions = found.status.as_ref().map_or(&[][..], |status| &status.conditions);
                let ObjectKey { namespace, name: connection } = ObjectKey::of(found.meta());
                tell(&mut gauge, &ConnectionLabels { namespace, connection }, is(conditions, ConditionType::Ready))?;
            }
        }
        Ok(())
    }
}

impl Collector for Objects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let condition = |type_| move |job: &StreamingJob| Some(is(&job.status.as_ref()?.conditions, type_));
        let ready = "1: the job is Ready, by its status; also while it is suspended or complete";
        self.jobs(&mut encoder, "job_ready", ready, condition(ConditionType::Ready))?;
        let stalled = "1: the job will not get better without a person";
        self.jobs(&mut encoder, "job_stalled", stalled, condition(ConditionType::Stalled))?;
        let lag = "End offset minus committed position over all partitions, also while no worker lives";
        self.jobs(&mut encoder, "job_lag_records", lag, |job| Some(job.status.as_ref()?.lag.as_ref()?.records))?;
        let age = "Age of the oldest record that is not committed";
        self.jobs(&mut encoder, "job_lag_seconds", age, |job| job.status.as_ref()?.lag.as_ref()?.seconds)?;
        self.connections(&mut encoder)
    }
}

fn is(conditions: &[Condition], type_: ConditionType) -> i64 {
    condition::find(conditions, type_).is_some_and(|condition| condition.status == "True").into()
}

fn tell(gauge: &mut MetricEncoder<'_>, labels: &impl EncodeLabelSet, value: i64) -> Result<(), Error> {
    ConstGauge::new(value).encode(gauge.encode_family(labels)?)
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::metrics::Metrics;
    use crate::testing;

    #[test]
    fn statuses_are_told_until_their_objects_are_gone() {
        let (caches, mut writers) = Caches::new();
        let metrics = Metrics::default();
        metrics.show(caches);
        let manifests = testing::manifests();
        let mut job = testing::job(&manifests);
        let status = json!({"observedGeneration": 7, "lag": {"records": 12, "seconds": 3, "partitions": 1, "observedTime": "2026-01-31T00:00:00Z"},
            "conditions": [{"type": "Ready", "status": "False", "reason": "Starting", "message": "", "lastTransitionTime": "2026-01-31T00:00:00Z"},
                {"type": "Stalled", "status": "True", "reason": "TimedOut", "message": "", "lastTransitionTime": "2026-01-31T00:00:00Z"}]});
        job.status = Some(serde_json::from_value(status).expect("a status"));
        writers.jobs.apply_watcher_event(&Event::Apply(job.clone()));
        for connection in manifests.connections.into_values() {
            writers.connections.apply_watcher_event(&Event::Apply(connection));
        }
        let text = metrics.render();
        for line in [
            "sluice_operator_job_ready{namespace=\"etl\",sluice_job=\"orders\"} 0",
            "sluice_operator_job_stalled{namespace=\"etl\",sluice_job=\"orders\"} 1",
            "sluice_operator_job_lag_records{namespace=\"etl\",sluice_job=\"orders\"} 12",
            "sluice_operator_job_lag_seconds{namespace=\"etl\",sluice_job=\"orders\"} 3",
            "sluice_operator_connection_ready{namespace=\"etl\",connection=\"lake\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        writers.jobs.apply_watcher_event(&Event::Delete(job));
        assert!(!metrics.render().contains("orders"), "a job that is gone is told");
    }
}
