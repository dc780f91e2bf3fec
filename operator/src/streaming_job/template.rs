//! `spec.workers.template`: a part of a pod template that is merged over the generated one.
//!
//! Only what cannot break a worker is taken: where it runs, what it is called, and what it finds in its environment. Its
//! command, its plan, its secrets and its security are the operator's. Everything else is refused by name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements, Toleration, TopologySpreadConstraint,
    Volume, VolumeMount,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dereference::WORKER;

/// Names of volumes that the operator uses itself.
const OUR_VOLUMES: [&str; 3] = ["plan", "secrets", "tmp"];
/// Folders that the operator mounts itself.
const OUR_FOLDERS: [&str; 2] = ["/etc/sluice", "/tmp"];
/// Prefixes of labels and annotations that mean something to the operator.
const OUR_PREFIXES: [&str; 2] = ["app.kubernetes.io/", "sluice.dev/"];

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Template {
    metadata: Metadata,
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Metadata {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PodSpec {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    node_selector: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tolerations: Vec<Toleration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<Affinity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    topology_spread_constraints: Vec<TopologySpreadConstraint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    image_pull_secrets: Vec<LocalObjectReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority_class_name: Option<String>,
    #[serde(skip_serializing)]
    volumes: Vec<Volume>,
    #[serde(skip_serializing)]
    containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Container {
    name: String,
    env: Vec<EnvVar>,
    env_from: Vec<EnvFromSource>,
    resources: Option<ResourceRequirements>,
    volume_mounts: Vec<VolumeMount>,
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It has another shape, or a field that may not be set.
    #[error("spec.workers.template.{field}: {problem}")]
    Shape {
        /// The field, as far as it is known.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A label or annotation that means something to the operator.
    #[error("spec.workers.template.metadata: `{name}` is set by the operator: remove it, or choose another prefix")]
    OurName {
        /// The name.
        name: String,
    },
    /// A container besides the worker.
    #[error("spec.workers.template.spec.containers: there is only the container `worker`, not `{name}`: remove it")]
    OtherContainer {
        /// Its name.
        name: String,
    },
    /// A volume of the operator's.
    #[error("spec.workers.template.spec: the volume `{name}` is the operator's: give yours another name")]
    OurVolume {
        /// Its name.
        name: String,
    },
    /// A folder of the operator's.
    #[error("spec.workers.template.spec: `{path}` is the operator's: mount your volume elsewhere")]
    OurFolder {
        /// The folder.
        path: String,
    },
}

impl Template {
    /// Reads and checks what the user wrote.
    pub fn parse(value: Option<&Value>) -> Result<Self, TemplateError> {
        let Some(value) = value else { return Ok(Self::default()) };
        let template: Self = serde_path_to_error::deserialize(value).map_err(|error| TemplateError::Shape {
            field: error.path().to_string(),
            problem: error.inner().to_string(),
        })?;
        template.check()?;
        Ok(template)
    }

    fn check(&self) -> Result<(), TemplateError> {
        let mut names = self.metadata.labels.keys().chain(self.metadata.annotations.keys());
        if let Some(name) = names.find(|name| OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))) {
            return Err(TemplateError::OurName { name: name.clone() });
        }
        let mut volumes = self.spec.volumes.iter();
        if let Some(volume) = volumes.find(|volume| OUR_VOLUMES.contains(&volume.name.as_str())) {
            return Err(TemplateError::OurVolume { name: volume.name.clone() });
        }
        for container in &self.spec.containers {
            if container.name != WORKER {
                return Err(TemplateError::OtherContainer { name: container.name.clone() });
            }
            for mount in &container.volume_mounts {
                let path = std::path::Path::new(&mount.mount_path);
                if OUR_FOLDERS.iter().any(|ours| path.starts_with(ours) || std::path::Path::new(ours).starts_with(path))
                {
                    return Err(TemplateError::OurFolder { path: mount.mount_path.clone() });
                }
            }
        }
        Ok(())
    }

    /// Does the user name a service account, so that none is made?
    pub fn service_account(&self) -> Option<&str> {
        self.spec.service_account_name.as_deref()
    }

    /// Merges it over a generated pod template: scalars and objects are replaced, lists with names are added to.
    pub fn merge_into(&self, pod: &mut Value) {
        for (member, texts) in [("labels", &self.metadata.labels), ("annotations", &self.metadata.annotations)] {
            for (name, value) in texts {
                pod["metadata"][member][name] = json!(value);
            }
        }
        if let Ok(Value::Object(members)) = serde_json::to_value(&self.spec) {
            for (name, value) in members {
                pod["spec"][name] = value;
            }
        }
        extend(&mut pod["spec"]["volumes"], &self.spec.volumes, "name");
        for patch in &self.spec.containers {
            let container = &mut pod["spec"]["containers"][0];
            extend(&mut container["env"], &patch.env, "name");
            extend(&mut container["envFrom"], &patch.env_from, "");
            extend(&mut container["volumeMounts"], &patch.volume_mounts, "mountPath");
            if let Some(resources) = &patch.resources {
                container["resources"] = json!(resources);
            }
        }
    }
}

/// Adds elements to a list; one with the same key replaces the one that is there.
fn extend<T: Serialize>(list: &mut Value, more: &[T], key: &str) {
    if more.is_empty() {
        return;
    }
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(elements) = list.as_array_mut() else { return };
    for element in more {
        let element = json!(element);
        match elements.iter().position(|old| !key.is_empty() && old[key] == element[key]) {
            Some(at) => elements[at] = element,
            None => elements.push(element),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated() -> Value {
        json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "sluice"}, "annotations": {"sluice.dev/plan-hash": "h"}},
            "spec": {
                "serviceAccountName": "job-worker",
                "containers": [{"name": "worker", "image": "i", "volumeMounts": [{"name": "plan", "mountPath": "/etc/sluice/plan"}]}],
                "volumes": [{"name": "plan"}],
            },
        })
    }

    #[test]
    fn everything_that_may_be_set_arrives_in_the_pod() {
        let template = json!({
            "metadata": {"labels": {"team": "data"}, "annotations": {"prometheus.io/scrape": "true"}},
            "spec": {
                "nodeSelector": {"pool": "etl"},
                "tolerations": [{"key": "etl", "operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
                "imagePullSecrets": [{"name": "registry"}],
                "serviceAccountName": "irsa",
                "priorityClassName": "high",
                "volumes": [{"name": "cache", "emptyDir": {}}],
                "containers": [{
                    "name": "worker",
                    "env": [{"name": "RUST_LOG", "value": "debug"}],
                    "envFrom": [{"configMapRef": {"name": "env"}}],
                    "resources": {"limits": {"memory": "1Gi"}},
                    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
                }],
            },
        });
        let mut pod = generated();
        let template = Template::parse(Some(&template)).expect("a template");
        template.merge_into(&mut pod);
        assert_eq!(template.service_account(), Some("irsa"));
        insta::assert_yaml_snapshot!(pod);
    }

    #[test]
    fn what_could_break_a_worker_is_refused_by_name() {
        for (template, words) in [
            (json!({"spec": {"hostNetwork": true}}), "spec.hostNetwork: unknown field `hostNetwork`"),
            (json!({"spec": {"securityContext": {}}}), "unknown field `securityContext`"),
            (
                json!({"spec": {"containers": [{"name": "worker", "image": "x"}]}}),
                "spec.containers[0].image: unknown field `image`",
            ),
            (json!({"spec": {"containers": [{"name": "worker", "command": ["sh"]}]}}), "unknown field `command`"),
            (json!({"spec": {"containers": [{"name": "sidecar"}]}}), "not `sidecar`"),
            (json!({"spec": {"initContainers": []}}), "unknown field `initContainers`"),
            (json!({"spec": {"nodeSelector": "a"}}), "spec.nodeSelector: invalid type"),
            (json!({"metadata": {"labels": {"sluice.dev/job": "x"}}}), "`sluice.dev/job` is set by the operator"),
            (json!({"metadata": {"annotations": {"app.kubernetes.io/name": "x"}}}), "is set by the operator"),
            (json!({"spec": {"volumes": [{"name": "secrets"}]}}), "the volume `secrets` is the operator's"),
            (
                json!({"spec": {"containers": [{"name": "worker", "volumeMounts": [{"name": "a", "mountPath": "/etc"}]}]}}),
                "`/etc` is the operator's",
            ),
        ] {
            let error = Template::parse(Some(&template)).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
            assert!(error.starts_with("spec.workers.template."), "{error}");
        }
    }

    #[test]
    fn an_element_of_the_same_name_replaces_and_another_one_is_added() {
        let mut list = json!([{"name": "a", "value": "1"}, {"name": "b", "value": "1"}]);
        extend(&mut list, &[json!({"name": "b", "value": "2"}), json!({"name": "c", "value": "2"})], "name");
        assert_eq!(
            list,
            json!([{"name": "a", "value": "1"}, {"name": "b", "value": "2"}, {"name": "c", "value": "2"}])
        );
        let mut nothing = Value::Null;
        extend(&mut nothing, &[json!({"name": "a"})], "name");
        assert_eq!(nothing, json!([{"name": "a"}]));
    }

    #[test]
    fn no_template_changes_nothing() {
        let mut pod = generated();
        Template::parse(None).expect("a template").merge_into(&mut pod);
        assert_eq!(pod, generated());
    }
}
