//! The agent of a namespace: one small pod that mounts the Secrets which the namespace's connections name, so that the operator need
//! not read any. All connections own it together, and with the last of them it goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use serde_json::{Value, json};
use sluice_crds::connection::Connection;
use sluice_crds::plan::SecretFile;
use sluice_crds::reference::ObjectKey;

use crate::apply::{self, Owner};
use crate::caches::{self, Caches};
use crate::context::Context;
use crate::error::Error;
use crate::names::{self, Component};
use crate::object::Object;
use crate::pods::{PORT, PORT_NAME, PodFact};
use crate::settings::PodSettings;
use crate::streaming_job::build::{restricted_container, restricted_pod, secrets_volume};
use crate::views::PodView;

/// The labels by which a pod of the agent is known.
pub const LABELS: [&str; 3] = ["app.kubernetes.io/component", "app.kubernetes.io/instance", "pod-template-hash"];

/// What everything of the agent is called.
pub const NAME: &str = "sluice-agent";
/// The name of its container.
const AGENT: &str = "agent";

/// Makes the agent of a namespace what it should be.
pub async fn ensure(context: &Context, namespace: &str) -> Result<(), Error> {
    let connections = caches::of_namespace(&context.caches.connections, namespace);
    let connections: Vec<_> = connections.into_iter().filter(|it| it.metadata.deletion_timestamp.is_none()).collect();
    if connections.is_empty() {
        return Ok(());
    }
    let owner = Owner::Shared { kind: "Connection" };
    for object in build(namespace, connections, &context.pods, &context.cluster) {
        apply::apply(&context.client, &context.live, &owner, &object).await?;
    }
    Ok(())
}

/// The objects of the agent, in the order in which they are needed. Pure.
fn build(namespace: &str, mut connections: Vec<Arc<Connection>>, pods: &PodSettings, cluster: &str) -> Vec<Object> {
    // The same connections in another order are the same agent.
    connections.sort_by_key(|connection| connection.name_any());
    let secrets: BTreeSet<SecretFile> =
        connections.iter().flat_map(|connection| connection.spec.secret_files()).collect();
    let owners: Vec<Value> = connections.iter().map(|connection| owner(connection)).collect();
    let key = || ObjectKey::new(namespace, NAME);
    let metadata = || json!({"labels": names::labels(Component::Agent, NAME), "ownerReferences": owners});
    let selector = json!({"matchLabels": names::selector(Component::Agent, NAME)});
    let deployment = json!({
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": selector,
        "template": template(&secrets, pods, cluster),
    });
    let rules = json!([{
        "apiGroups": ["sluice.dev"],
        "resources": ["connections", "datacatalogtables", "streamingjobs"],
        "verbs": ["get", "list", "watch"],
    }]);
    let policy = json!({
        "podSelector": selector,
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": PORT_NAME, "protocol": "TCP"}]}],
    });
    vec![
        Object::new::<ServiceAccount>(key(), metadata(), json!({"automountServiceAccountToken": false})),
        Object::new::<Role>(key(), metadata(), json!({"rules": rules})),
        Object::new::<RoleBinding>(
            key(),
            metadata(),
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
                "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
            }),
        ),
        Object::new::<NetworkPolicy>(key(), metadata(), json!({"spec": policy})),
        Object::new::<Deployment>(key(), metadata(), json!({"spec": deployment})),
    ]
}

fn owner(connection: &Connection) -> Value {
    json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "Connection",
        "name": connection.name_any(),
        "uid": connection.uid(),
    })
}

fn template(secrets: &BTreeSet<SecretFile>, pods: &PodSettings, cluster: &str) -> Value {
    let mut container = restricted_container(AGENT, &pods.image, pods);
    container["args"] = json!([
        "agent",
        "--namespace",
        "$(POD_NAMESPACE)",
        "--secrets",
        "/etc/sluice/secrets",
        "--listen",
        format!("0.0.0.0:{PORT}"),
    ]);
    container["env"] = json!([
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        // The agent resolves plans itself, and the same objects must give it the hash that the operator gets.
        {"name": "SLUICE_CLUSTER_UID", "value": cluster},
    ]);
    container["resources"] = json!({"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}});
    container["volumeMounts"] = json!([
        {"name": "secrets", "mountPath": "/etc/sluice/secrets", "readOnly": true},
        {"name": "tmp", "mountPath": "/tmp"},
    ]);
    let mut spec = restricted_pod(pods);
    spec["serviceAccountName"] = json!(NAME);
    spec["automountServiceAccountToken"] = json!(true);
    spec["containers"] = json!([container]);
    spec["volumes"] = json!([secrets_volume(secrets, true), {"name": "tmp", "emptyDir": {}}]);
    json!({"metadata": {"labels": names::labels(Component::Agent, NAME)}, "spec": spec})
}

/// The agent of a namespace that can be asked; the newest one while two of them overlap.
pub fn pod(caches: &Caches, namespace: &str) -> Option<PodFact> {
    let pods =
        caches.pods.state_filter(|pod: &PodView| pod.metadata.namespace.as_deref() == Some(namespace) && is_agent(pod));
    let mut pods: Vec<_> = pods.iter().map(|pod| (PodFact::of(pod, AGENT), pod.creation_timestamp())).collect();
    pods.sort_by_key(|(fact, made)| {
        let answers = fact.running && !fact.terminating && fact.address.is_some();
        (answers, made.as_ref().map(|made| made.0))
    });
    pods.pop().map(|(fact, _)| fact)
}

/// Is it made by a ReplicaSet of our Deployment? The operator may not read ReplicaSets, whose names are those of their Deployments with
/// the hash that also stands on the pod.
pub fn is_agent(pod: &PodView) -> bool {
    let labels = pod.labels();
    let label = |name: &str| labels.get(name).map(String::as_str);
    let hash = label("pod-template-hash").unwrap_or_default();
    let owners = pod.owner_references();
    let made_by = owners.iter().find(|owner| owner.controller == Some(true));
    label("app.kubernetes.io/component") == Some(Component::Agent.as_str())
        && label("app.kubernetes.io/instance") == Some(NAME)
        && made_by.is_some_and(|owner| owner.kind == "ReplicaSet" && owner.name == format!("{NAME}-{hash}"))
}

/// Why the agent does not answer, as far as its pod tells.
pub fn silence(pod: Option<&PodFact>) -> String {
    let Some(pod) = pod else { return "the agent of the namespace is being made".to_owned() };
    let words = pod.unschedulable.clone().or_else(|| pod.waiting.clone());
    let words = words.or_else(|| pod.crash.as_ref().map(|crash| crash.message.clone()));
    match words {
        Some(words) => format!("the agent of the namespace does not run: Pod {}: {words}", pod.name),
        None => "the agent of the namespace has not looked yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn objects() -> Vec<Object> {
        let world = testing::manifests();
        build("etl", world.connections.into_values().map(Arc::new).collect(), &testing::pod_settings(), "c1")
    }

    #[test]
    fn the_agent_is_restricted_and_mounts_every_secret_as_optional() {
        let bodies: Vec<Value> = objects().into_iter().map(|object| object.body).collect();
        insta::assert_yaml_snapshot!(bodies);
    }

    #[test]
    fn the_agent_may_read_our_kinds_and_nothing_else() {
        let objects = objects();
        let role = objects.iter().find(|object| object.address.kind == "Role").expect("a role");
        let rules = role.body["rules"].as_array().expect("rules");
        assert_eq!(rules.len(), 1);
        assert_eq!(rules[0]["apiGroups"], json!(["sluice.dev"]));
        assert_eq!(rules[0]["verbs"], json!(["get", "list", "watch"]));
    }

    #[test]
    fn a_pod_that_only_carries_the_labels_is_no_agent() {
        let pod = |owner: &str| -> PodView {
            serde_json::from_value(json!({"metadata": {
                "name": "x",
                "labels": {"app.kubernetes.io/component": "agent", "app.kubernetes.io/instance": NAME, "pod-template-hash": "abc"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "u", "controller": true}],
            }}))
            .expect("a pod")
        };
        assert!(is_agent(&pod("sluice-agent-abc")));
        assert!(!is_agent(&pod("something-abc")));
    }
}
