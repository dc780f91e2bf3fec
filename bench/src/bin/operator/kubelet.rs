//! The kubelets of the cluster: pods that the controllers made get an address, run and are ready, without a container anywhere.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::pods::Pods;
use crate::sights::OURS;

/// Pods that are started at the same time.
const AT_ONCE: usize = 32;

/// Starts every pod. Ends only when something goes wrong.
pub async fn play(client: Client, pods: Arc<Pods>) -> Result<()> {
    let all: Api<PartialObjectMeta<Pod>> = Api::all(client.clone());
    let events = watcher(all, Config::default().labels(OURS))
        .default_backoff()
        .map_err(|error| anyhow::Error::new(error).context("the watch of pods"));
    events
        .try_for_each_concurrent(AT_ONCE, |event| async {
            match event {
                Event::Apply(pod) | Event::InitApply(pod) => start(&client, &pods, &pod.metadata).await,
                // Addresses are not given away again.
                Event::Delete(_) | Event::Init | Event::InitDone => Ok(()),
            }
        })
        .await
}

async fn start(client: &Client, pods: &Pods, pod: &ObjectMeta) -> Result<()> {
    let Some(address) = pods.place(pod)? else { return Ok(()) };
    let (namespace, name) = (pod.namespace.as_deref().unwrap_or_default(), pod.name.as_deref().unwrap_or_default());
    let container = pod.labels.as_ref().and_then(|labels| labels.get("app.kubernetes.io/component"));
    let status = running(container.map_or("", String::as_str), address);
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await {
        Ok(_) => Ok(()),
        // It was replaced before it ran.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("the pod {namespace}/{name} was not started")),
    }
}

/// A pod whose one container runs and is ready.
fn running(container: &str, address: IpAddr) -> Value {
    let now = Time(Timestamp::now());
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"];
    let conditions = conditions.map(|type_| json!({"type": type_, "status": "True", "lastTransitionTime": now}));
    json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": [{
            "name": container,
            "ready": true,
            "started": true,
            "restartCount": 0,
            "image": "localhost/sluice:bench",
            "imageID": "localhost/sluice@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "containerID": format!("containerd://{}", "0".repeat(64)),
            "state": {"running": {"startedAt": now}},
        }],
    }})
}
