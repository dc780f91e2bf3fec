//! A namespace on a fake API server, with the controllers of Kubernetes played by the test.

use std::sync::Arc;

use clap::Parser;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use sluice_crds::manifest::Manifests;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::{StreamingJob, StreamingJobStatus};

use super::{CLUSTER, FakeApi, FakePod, pod_settings};
use crate::caches::{Caches, Writers};
use crate::context::Context;
use crate::error::Error;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::names;
use crate::object::Address;
use crate::settings::Settings;

pub const JOB_PATH: &str = "/apis/sluice.dev/v1alpha1/namespaces/etl/streamingjobs/orders";
pub const SET_PATH: &str = "/apis/apps/v1/namespaces/etl/statefulsets/orders";
pub const PODS_PATH: &str = "/api/v1/namespaces/etl/pods";

/// See the module.
pub struct Stage {
    pub api: FakeApi,
    pub context: Arc<Context>,
    pub writers: Writers,
}

impl Stage {
    pub fn new(manifests: &Manifests) -> Self {
        let api = FakeApi::default();
        let (caches, writers) = Caches::new();
        let mut settings = Settings::parse_from(["sluice-operator", "--image", "unused"]);
        settings.pods = pod_settings();
        let live = Arc::new(Live::default());
        let context =
            Context::new(api.client(), &settings, CLUSTER.to_owned(), Arc::new(Metrics::default()), caches, live);
        let mut stage = Self { api, context: Arc::new(context), writers };
        stage.write(manifests);
        stage
    }

    /// Users apply manifests. The status of a job that is there stays.
    pub fn write(&mut self, manifests: &Manifests) {
        for table in manifests.tables.values() {
            self.writers.tables.apply_watcher_event(&Event::Apply(table.clone()));
        }
        for connection in manifests.connections.values() {
            self.writers.connections.apply_watcher_event(&Event::Apply(connection.clone()));
        }
        for job in manifests.jobs.values() {
            let mut object = json!(job);
            if let Some(old) = self.api.get(JOB_PATH) {
                object["status"] = old["status"].clone();
            }
            self.api.put(JOB_PATH, object);
        }
        self.sync();
    }

    /// A new operator process of another image: nothing is remembered, nothing but the image has changed.
    pub fn restart_operator(&mut self, image: &str) {
        let (caches, writers) = Caches::new();
        let mut settings = Settings::parse_from(["sluice-operator", "--image", "unused"]);
        settings.pods = pod_settings();
        settings.pods.image = image.to_owned();
        let old = Arc::clone(&self.context);
        let context = Context::new(
            self.api.client(),
            &settings,
            CLUSTER.to_owned(),
            Arc::new(Metrics::default()),
            caches,
            Arc::new(Live::default()),
        );
        self.context = Arc::new(context);
        self.writers = writers;
        for table in old.caches.tables.state() {
            self.writers.tables.apply_watcher_event(&Event::Apply(table.as_ref().clone()));
        }
        for connection in old.caches.connections.state() {
            self.writers.connections.apply_watcher_event(&Event::Apply(connection.as_ref().clone()));
        }
        self.sync();
    }

    /// The watches catch up.
    pub fn sync(&mut self) {
        let writers = &mut self.writers;
        writers.jobs.apply_watcher_event(&Event::Init);
        writers.sets.apply_watcher_event(&Event::Init);
        writers.runs.apply_watcher_event(&Event::Init);
        writers.pods.apply_watcher_event(&Event::Init);
        let kinds: Vec<Value> = self.api.all();
        let live = &self.context.live;
        for kind in
            ["ConfigMap", "Service", "StatefulSet", "Job", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"]
        {
            live.list_begins(kind);
        }
        for object in kinds {
            let metadata: ObjectMeta = serde_json::from_value(object["metadata"].clone()).expect("metadata");
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            if metadata
                .labels
                .as_ref()
                .is_some_and(|labels| labels.get("app.kubernetes.io/managed-by").is_some_and(|by| by == names::MANAGER))
            {
                live.show(Address { kind: kind.clone(), key: ObjectKey::of(&metadata) }, &metadata);
            }
            match kind.as_str() {
                "StreamingJob" => writers.jobs.apply_watcher_event(&Event::InitApply(from(object))),
                "StatefulSet" => writers.sets.apply_watcher_event(&Event::InitApply(from(object))),
                "Job" => writers.runs.apply_watcher_event(&Event::InitApply(from(object))),
                "Pod" => writers.pods.apply_watcher_event(&Event::InitApply(from(object))),
                _ => {}
            }
        }
        for kind in
            ["ConfigMap", "Service", "StatefulSet", "Job", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"]
        {
            live.list_ends(kind);
        }
        writers.jobs.apply_watcher_event(&Event::InitDone);
        writers.sets.apply_watcher_event(&Event::InitDone);
        writers.runs.apply_watcher_event(&Event::InitDone);
        writers.pods.apply_watcher_event(&Event::InitDone);
    }

    /// One reconcile of the job, with caches that are up to date.
    pub async fn reconcile(&mut self) -> Result<Action, Error> {
        self.sync();
        let job: StreamingJob = from(self.api.get(JOB_PATH).expect("a job"));
        let answer = crate::streaming_job::reconcile(Arc::new(job), Arc::clone(&self.context)).await;
        self.sync();
        answer
    }

    pub fn status(&self) -> StreamingJobStatus {
        let job: StreamingJob = from(self.api.get(JOB_PATH).expect("a job"));
        job.status.unwrap_or_default()
    }

    /// `(status, reason)` of a condition.
    pub fn condition(&self, type_: &str) -> Option<(String, String)> {
        let status = self.status();
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((condition.status.clone(), condition.reason.clone()))
    }

    /// The controller of StatefulSets: pods for all replicas, which answer from these addresses; surplus pods go.
    pub fn play_stateful_set(&self, workers: &[&FakePod]) {
        let Some(mut set) = self.api.get(SET_PATH) else { return };
        let replicas = set["spec"]["replicas"].as_u64().unwrap_or(0) as usize;
        for (ordinal, worker) in workers.iter().enumerate() {
            let path = format!("{PODS_PATH}/orders-{ordinal}");
            if ordinal >= replicas {
                self.api.remove(&path);
                continue;
            }
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": set["spec"]["template"]["metadata"], "spec": set["spec"]["template"]["spec"]});
            pod["metadata"]["name"] = json!(format!("orders-{ordinal}"));
            pod["metadata"]["namespace"] = json!("etl");
            pod["metadata"]["uid"] = json!(format!("pod-{ordinal}"));
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders",
                "uid": set["metadata"]["uid"], "controller": true}]);
            pod["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(worker.address.port());
            pod["status"] = running(worker);
            if self.api.get(&path).is_none() {
                self.api.put(&path, pod);
            }
        }
        set["status"] = json!({"replicas": replicas, "observedGeneration": set["metadata"]["generation"]});
        self.api.put(SET_PATH, set);
    }

    /// The agent of the namespace answers from this address.
    pub fn play_agent(&self, agent: &FakePod) {
        self.api.put(
            &format!("{PODS_PATH}/sluice-agent-abc-x"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": "sluice-agent-abc-x", "namespace": "etl", "uid": "agent-pod",
                    "labels": {"app.kubernetes.io/component": "agent", "app.kubernetes.io/instance": "sluice-agent", "pod-template-hash": "abc"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "sluice-agent-abc", "uid": "rs", "controller": true}],
                },
                "spec": {"containers": [{"name": "agent", "ports": [{"name": "http", "containerPort": agent.address.port()}]}]},
                "status": agent_status(agent),
            }),
        );
    }
}

fn running(pod: &FakePod) -> Value {
    json!({"phase": "Running", "podIP": pod.address.ip(), "containerStatuses": [
        {"name": "worker", "ready": true, "restartCount": 0, "image": "i", "imageID": "", "state": {"running": {}}}]})
}

fn agent_status(pod: &FakePod) -> Value {
    json!({"phase": "Running", "podIP": pod.address.ip(), "containerStatuses": [
        {"name": "agent", "ready": true, "restartCount": 0, "image": "i", "imageID": "", "state": {"running": {}}}]})
}

fn from<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object")
}
