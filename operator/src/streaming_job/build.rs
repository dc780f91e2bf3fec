//! The objects of a job, made from nothing but its plan and what is recorded of its last rollout. Pure.

mod pod;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::{Value, json};
use sluice_crds::plan::JobPlan;
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;

use super::rollout::RUN_LABEL;
use super::validate::Validated;
use crate::names::{self, Component};
use crate::object::Object;
use crate::pods::{PORT, PORT_NAME};
use crate::settings::PodSettings;
use crate::views::SetView;

pub use pod::{pod_template, restricted_container, restricted_pod, secrets_volume};

/// A run that was interrupted by the cluster goes on in another pod; one that fails by itself is tried so often.
const RUN_TRIES: i32 = 6;

/// What the objects of one job are made from.
pub struct Blueprint<'a> {
    /// Whose they are.
    pub key: &'a ObjectKey,
    /// The job.
    pub job: &'a StreamingJob,
    /// The job, checked.
    pub valid: &'a Validated,
    /// The plan with its generation.
    pub plan: &'a JobPlan,
    /// What pods run.
    pub pods: &'a PodSettings,
}

/// What was recorded at the last rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    inputs: String,
    template_hash: String,
    template: Value,
    image: String,
}

impl Recorded {
    /// Reads it from a StatefulSet.
    pub fn of(set: &SetView) -> Option<Self> {
        let annotations = set.annotations();
        let template = set.spec.template.value()?;
        Some(Self {
            inputs: annotations.get(names::INPUTS)?.clone(),
            template_hash: annotations.get(names::TEMPLATE_HASH)?.clone(),
            image: template.pointer("/spec/containers/0/image")?.as_str()?.to_owned(),
            template,
        })
    }
}

impl Blueprint<'_> {
    /// Everything that stands around the workers, in the order in which it is needed.
    pub fn surroundings(&self) -> Vec<Object> {
        let mut objects = vec![self.config_map()];
        objects.extend(self.valid.template.service_account().is_none().then(|| self.service_account()));
        objects.extend([self.service(), self.network_policy(), self.disruption_budget()]);
        objects
    }

    fn child(&self, suffix: &str) -> ObjectKey {
        ObjectKey::new(&self.key.namespace, names::child(&self.key.name, suffix))
    }

    fn selector(&self) -> Value {
        json!(names::selector(Component::Worker, &self.key.name))
    }

    fn metadata(&self) -> Value {
        json!({
            "labels": names::labels(Component::Worker, &self.key.name),
            "ownerReferences": [{
                "apiVersion": "sluice.dev/v1alpha1",
                "kind": "StreamingJob",
                "name": self.key.name,
                "uid": self.job.uid(),
                "controller": true,
                "blockOwnerDeletion": false,
            }],
        })
    }

    fn config_map(&self) -> Object {
        let mut metadata = self.metadata();
        metadata["annotations"] = json!({
            names::PLAN_HASH: self.valid.hash,
            names::PLAN_GENERATION: self.plan.job.generation.unwrap_or(0).to_string(),
        });
        // Pretty, because people look at it.
        let text = serde_json::to_string_pretty(self.plan).unwrap_or_default();
        Object::new::<ConfigMap>(self.child("plan"), metadata, json!({"data": {"plan.json": text}}))
    }

    fn service_account(&self) -> Object {
        let parts = json!({"automountServiceAccountToken": false});
        Object::new::<ServiceAccount>(self.child("worker"), self.metadata(), parts)
    }

    /// Gives workers names, also before they are ready.
    fn service(&self) -> Object {
        let spec = json!({
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": self.selector(),
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        });
        Object::new::<Service>(self.child(""), self.metadata(), json!({"spec": spec}))
    }

    /// Nothing but the report and metrics can be reached. Kafka and S3 may be anywhere, so that nothing is said of the ways out.
    fn network_policy(&self) -> Object {
        let spec = json!({
            "podSelector": {"matchLabels": self.selector()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": PORT_NAME, "protocol": "TCP"}]}],
        });
        Object::new::<NetworkPolicy>(self.child(""), self.metadata(), json!({"spec": spec}))
    }

    fn disruption_budget(&self) -> Object {
        // A Job has no scale subresource, without which `maxUnavailable` lets nobody go at all: a node could not be drained before
        // the end of the run. Whoever is evicted from a run is replaced, and goes on.
        let limit = if self.valid.is_bounded() { ("minAvailable", 0) } else { ("maxUnavailable", 1) };
        let spec = json!({limit.0: limit.1, "selector": {"matchLabels": self.selector()}});
        Object::new::<PodDisruptionBudget>(self.child(""), self.metadata(), json!({"spec": spec}))
    }

    /// The workers of a continuous job.
    ///
    /// While nothing that the user can change has changed, image and template stay as they were rolled out: an upgrade of the operator
    /// restarts nobody. Where the operator would still make the very template that it recorded, it applies that one, which also
    /// takes back what somebody else changed.
    pub fn stateful_set(&self, replicas: i32, recorded: Option<&Recorded>) -> Object {
        let same = recorded.filter(|recorded| recorded.inputs == self.valid.inputs);
        let image = same.map_or(self.pods.image.as_str(), |recorded| &recorded.image);
        let mut template = pod_template(self, image);
        let mut template_hash = names::hash(template.to_string().as_bytes());
        if let Some(recorded) = same.filter(|recorded| recorded.template_hash != template_hash) {
            template = recorded.template.clone();
            template_hash.clone_from(&recorded.template_hash);
        }
        let mut metadata = self.metadata();
        metadata["annotations"] = json!({
            names::PLAN_HASH: self.valid.hash,
            names::INPUTS: self.valid.inputs,
            names::TEMPLATE_HASH: template_hash,
            // The workers of this plan leave for no other one. It is written at the drain by a patch, and stays until this says otherwise.
            names::NEXT_PLAN: "",
        });
        let spec = json!({
            "replicas": replicas,
            "serviceName": self.child("").name,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": self.selector()},
            "template": template,
        });
        Object::new::<StatefulSet>(self.child(""), metadata, json!({"spec": spec}))
    }

    /// The workers of a bounded run. A Job's template cannot be changed, and so its Job is made once.
    pub fn run(&self, suspended: bool) -> Object {
        let mut template = pod_template(self, &self.pods.image);
        template["spec"]["restartPolicy"] = json!("Never");
        template["metadata"]["labels"][RUN_LABEL] = json!(self.valid.run);
        let mut metadata = self.metadata();
        metadata["labels"][RUN_LABEL] = json!(self.valid.run);
        metadata["annotations"] = json!({names::PLAN_HASH: self.valid.hash});
        let workers = self.valid.replicas.max(1);
        let spec = json!({
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "suspend": suspended,
            "backoffLimit": RUN_TRIES,
            "podFailurePolicy": {"rules": [
                // An eviction is nobody's fault.
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                // 2: the configuration; 5: going on needs a person's decision. Neither gets better by trying again.
                {"action": "FailJob", "onExitCodes": {"containerName": "worker", "operator": "In", "values": [2, 5]}},
            ]},
            "template": template,
        });
        Object::new::<Job>(self.child(&self.valid.run), metadata, json!({"spec": spec}))
    }
}

#[cfg(test)]
mod tests;
