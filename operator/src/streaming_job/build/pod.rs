//! The pod of a worker, and what every pod of ours has in common: the `restricted` Pod Security level.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sluice_crds::plan::SecretFile;

use super::Blueprint;
use crate::names::{self, Component};
use crate::pods::{PORT, PORT_NAME};
use crate::settings::PodSettings;
use crate::streaming_job::dereference::WORKER;

/// The user of the image.
const USER: i64 = 65532;
/// Time to commit what is open. Longer windows are cut short by the drain, so that this covers an upload and a ledger record.
const DRAIN_SECONDS: i64 = 120;

/// The pod of a worker, with the user's part merged over it.
pub fn pod_template(blueprint: &Blueprint<'_>, image: &str) -> Value {
    let (key, valid) = (blueprint.key, blueprint.valid);
    let mut container = restricted_container(WORKER, image, blueprint.pods);
    container["args"] = json!([
        "worker",
        "--plan",
        "/etc/sluice/plan/plan.json",
        "--secrets",
        "/etc/sluice/secrets",
        "--listen",
        format!("0.0.0.0:{PORT}"),
    ]);
    let resources = blueprint.job.spec.workers.as_ref().and_then(|workers| workers.resources.as_ref());
    container["resources"] = json!(resources.cloned().unwrap_or_default());
    container["volumeMounts"] = json!([
        {"name": "plan", "mountPath": "/etc/sluice/plan", "readOnly": true},
        {"name": "secrets", "mountPath": "/etc/sluice/secrets", "readOnly": true},
        {"name": "tmp", "mountPath": "/tmp"},
    ]);
    let mut spec = restricted_pod(blueprint.pods);
    let account = valid.template.service_account().map(str::to_owned);
    spec["serviceAccountName"] = json!(account.unwrap_or_else(|| names::child(&key.name, "worker")));
    spec["automountServiceAccountToken"] = json!(false);
    spec["terminationGracePeriodSeconds"] = json!(DRAIN_SECONDS);
    // Workers share the work of one job: one node's death should not stop all of them, where there are several nodes.
    spec["topologySpreadConstraints"] = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names::selector(Component::Worker, &key.name)},
    }]);
    spec["containers"] = json!([container]);
    spec["volumes"] = json!([
        {"name": "plan", "configMap": {"name": names::child(&key.name, "plan"), "defaultMode": 0o444}},
        secrets_volume(&valid.plan.secret_files(), false),
        {"name": "tmp", "emptyDir": {}},
    ]);
    let mut template = json!({
        "metadata": {
            "labels": names::labels(Component::Worker, &key.name),
            // A change of the inputs is a change of the template, and so the StatefulSet brings it to all pods.
            "annotations": {names::PLAN_HASH: valid.hash, names::INPUTS: valid.inputs},
        },
        "spec": spec,
    });
    valid.template.merge_into(&mut template);
    template
}

/// What every pod of ours has in common.
pub fn restricted_pod(settings: &PodSettings) -> Value {
    let secrets: Vec<Value> = settings.pull_secrets().iter().map(|name| json!({"name": name})).collect();
    let mut spec = json!({
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = json!(secrets);
    }
    spec
}

/// What every container of ours has in common.
pub fn restricted_container(name: &str, image: &str, settings: &PodSettings) -> Value {
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["/usr/bin/sluice"],
        "ports": [{"name": PORT_NAME, "containerPort": PORT, "protocol": "TCP"}],
        // The last line that a worker writes is its reason; so it reaches status although nobody may read logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": PORT_NAME}, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT_NAME}, "periodSeconds": 2, "timeoutSeconds": 2},
    })
}

/// The files of Secrets, as `<secret>/<key>`. Of an optional one, what is missing is left out; else the pod waits for it.
pub fn secrets_volume(files: &BTreeSet<SecretFile>, optional: bool) -> Value {
    let mut secrets: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for file in files {
        let item = json!({"key": file.key, "path": format!("{}/{}", file.secret_name, file.key)});
        secrets.entry(&file.secret_name).or_default().push(item);
    }
    let sources: Vec<Value> = secrets
        .into_iter()
        .map(|(name, items)| json!({"secret": {"name": name, "items": items, "optional": optional}}))
        .collect();
    json!({"name": "secrets", "projected": {"defaultMode": 0o440, "sources": sources}})
}
