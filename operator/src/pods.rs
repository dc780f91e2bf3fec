//! What a pod says about itself, as far as status needs it.

use std::net::SocketAddr;

use jiff::Timestamp;
use kube::ResourceExt;
use sluice_crds::condition::Reason;

use crate::names;
use crate::views::{ContainerStatusView, PodView};

/// The port that reports are served on, by its name.
pub const PORT_NAME: &str = "http";
/// Its number.
pub const PORT: i32 = 8080;

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct PodFact {
    /// Its name.
    pub name: String,
    /// UID of its controller.
    pub owner: Option<String>,
    /// Where it serves its report; none before it has an address.
    pub address: Option<SocketAddr>,
    /// Is it on its way out?
    pub terminating: bool,
    /// Has it ended for good?
    pub finished: bool,
    /// Has it ended well?
    pub succeeded: bool,
    /// The plan it was made for.
    pub plan_hash: Option<String>,
    /// What of the job it was made from.
    pub inputs: Option<String>,
    /// Why the scheduler finds no node, in its own words.
    pub unschedulable: Option<String>,
    /// Why its container does not start, in the kubelet's own words.
    pub waiting: Option<String>,
    /// How its container ended the last time, when it did.
    pub crash: Option<Crash>,
    /// How often its container was started again.
    pub restarts: i32,
    /// Does its container run now?
    pub running: bool,
    /// Since when.
    pub running_since: Option<Timestamp>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The reason that the worker gave, if it gave one.
    pub reason: Option<Reason>,
    /// Its exit code.
    pub exit_code: i32,
    /// Its last words.
    pub message: String,
}

impl PodFact {
    /// Reads a pod with one container of this name.
    pub fn of(pod: &PodView, container: &str) -> Self {
        let inner = pod.status.container_statuses.iter().find(|status| status.name == container);
        let state = inner.and_then(|status| status.state.as_ref());
        let phase = pod.status.phase.as_deref().unwrap_or_default();
        let owners = pod.owner_references().iter();
        Self {
            name: pod.name_any(),
            owner: owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next(),
            address: address(pod, container),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(phase, "Succeeded" | "Failed"),
            succeeded: phase == "Succeeded",
            plan_hash: pod.annotations().get(names::PLAN_HASH).cloned(),
            inputs: pod.annotations().get(names::INPUTS).cloned(),
            unschedulable: unschedulable(pod),
            waiting: state.and_then(|state| state.waiting.as_ref()).and_then(|waiting| {
                let reason = waiting.reason.as_deref().unwrap_or_default();
                let harmless = matches!(reason, "ContainerCreating" | "PodInitializing" | "CrashLoopBackOff" | "");
                let message = waiting.message.as_deref().unwrap_or_default();
                (!harmless).then(|| format!("{reason}: {message}"))
            }),
            crash: inner.and_then(crash),
            restarts: inner.map_or(0, |status| status.restart_count),
            running: state.is_some_and(|state| state.running.is_some()),
            running_since: state.and_then(|state| Some(state.running.as_ref()?.started_at.as_ref()?.0)),
        }
    }
}

fn address(pod: &PodView, container: &str) -> Option<SocketAddr> {
    let ip = pod.status.pod_ip.as_deref()?;
    let container = pod.spec.containers.iter().find(|it| it.name == container)?;
    let port = container.ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME))?.container_port;
    Some(SocketAddr::new(ip.parse().ok()?, u16::try_from(port).ok()?))
}

fn unschedulable(pod: &PodView) -> Option<String> {
    let scheduled = pod.status.conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    (scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable"))
        .then(|| scheduled.message.clone().unwrap_or_default())
}

/// The present end comes before the last one: a container in back-off has both.
fn crash(status: &ContainerStatusView) -> Option<Crash> {
    let ended = [&status.state, &status.last_state];
    let ended = ended.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
    // Asked to leave: 0. Killed for being asked too long: 143, 137 without being out of memory. No crash.
    let out_of_memory = ended.reason.as_deref() == Some("OOMKilled");
    if ended.exit_code == 0 {
        return None;
    }
    let words = ended.message.as_deref().unwrap_or_default();
    let (reason, message) = last_words(words);
    let message = match (message, out_of_memory) {
        (_, true) => "the worker was killed for using more memory than workers.resources.limits.memory".to_owned(),
        (None, false) => format!("the worker ended with exit code {}", ended.exit_code),
        (Some(message), false) => message.to_owned(),
    };
    Some(Crash { reason, exit_code: ended.exit_code, message })
}

/// The last `error: Reason: message` of a log.
fn last_words(log: &str) -> (Option<Reason>, Option<&str>) {
    let Some(start) = log.rfind("error: ").filter(|at| *at == 0 || log.as_bytes()[at - 1] == b'\n') else {
        return (None, None);
    };
    let text = log[start + "error: ".len()..].trim_end();
    match text.split_once(": ").map(|(word, message)| (Reason::from_word(word), message)) {
        Some((Some(reason), message)) => (Some(reason), Some(message)),
        _ => (None, Some(text)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &serde_json::Value) -> PodFact {
        let pod = json!({
            "metadata": {"name": "a-0", "annotations": {"sluice.dev/plan-hash": "h"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "a", "uid": "u1", "controller": true}]},
            "spec": {"containers": [{"name": "worker", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": status,
        });
        PodFact::of(&serde_json::from_value(pod).expect("a pod"), "worker")
    }

    #[test]
    fn a_running_pod_has_an_address_and_an_owner() {
        let fact = pod(&json!({"podIP": "10.1.2.3", "phase": "Running", "containerStatuses": [
            {"name": "worker", "ready": true, "restartCount": 0, "image": "i", "imageID": "", "state": {"running": {}}}]}));
        assert_eq!(fact.address, Some("10.1.2.3:8080".parse().expect("an address")));
        assert_eq!((fact.owner.as_deref(), fact.plan_hash.as_deref()), (Some("u1"), Some("h")));
        assert!(fact.running && fact.crash.is_none() && !fact.finished);
    }

    #[test]
    fn the_last_words_of_a_worker_are_its_reason() {
        for (log, reason, message) in [
            ("error: RecordRejected: record t/1 offset 5", Some(Reason::RecordRejected), "record t/1 offset 5"),
            ("{\"level\":\"INFO\"}\nerror: TransformInvalid: a\n  ^\n", Some(Reason::TransformInvalid), "a\n  ^"),
            ("error: OffsetOutOfRange: x\nerror: Internal: y", Some(Reason::Internal), "y"),
            ("error: no such word: x", None, "no such word: x"),
            ("thread panicked", None, "the worker ended with exit code 3"),
            ("an inner error: Internal: x", None, "the worker ended with exit code 3"),
        ] {
            let fact =
                pod(&json!({"containerStatuses": [{"name": "worker", "ready": false, "restartCount": 4, "image": "i",
                "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                "lastState": {"terminated": {"exitCode": 3, "message": log}}}]}));
            let crash = fact.crash.expect("a crash");
            assert_eq!((crash.reason, crash.message.as_str(), crash.exit_code), (reason, message, 3), "{log}");
            assert_eq!((fact.waiting, fact.restarts), (None, 4));
        }
    }

    #[test]
    fn leaving_when_asked_is_no_crash_and_running_out_of_memory_is_told() {
        let ended = |terminated: serde_json::Value| {
            pod(
                &json!({"containerStatuses": [{"name": "worker", "ready": false, "restartCount": 1, "image": "i", "imageID": "",
                "lastState": {"terminated": terminated}}]}),
            )
        };
        assert_eq!(ended(json!({"exitCode": 0})).crash, None);
        let crash = ended(json!({"exitCode": 137, "reason": "OOMKilled"})).crash.expect("a crash");
        assert!(crash.message.contains("limits.memory"), "{crash:?}");
    }

    #[test]
    fn no_room_and_no_image_are_told_in_the_clusters_words() {
        let fact = pod(&json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes: insufficient cpu"}]}));
        assert_eq!(fact.unschedulable.as_deref(), Some("0/3 nodes: insufficient cpu"));
        let fact =
            pod(&json!({"containerStatuses": [{"name": "worker", "ready": false, "restartCount": 0, "image": "i",
            "imageID": "", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}));
        assert_eq!(fact.waiting.as_deref(), Some("ImagePullBackOff: no such image"));
    }
}
