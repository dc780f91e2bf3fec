//! Pods and StatefulSets, as much of them as anybody here looks at.
//!
//! The caches hold one of each for every job. The types of the API have room for everything that a pod could have, volumes of thirty
//! kinds among it, and take ten times the memory.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerPort, ContainerState, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A pod.
#[derive(Debug, Clone, Resource, Deserialize)]
#[resource(inherit = "Pod")]
pub struct PodView {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What it should run.
    #[serde(default)]
    pub spec: PodSpecView,
    /// How it is.
    #[serde(default)]
    pub status: PodStatusView,
}

/// What a pod should run.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PodSpecView {
    /// Its containers.
    pub containers: Vec<ContainerView>,
}

/// A container of a pod.
#[derive(Debug, Clone, Deserialize)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Where it listens.
    #[serde(default)]
    pub ports: Vec<ContainerPort>,
}

/// How a pod is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatusView {
    /// `Pending`, `Running`, …
    pub phase: Option<String>,
    /// Its address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// Its conditions.
    #[serde(default)]
    pub conditions: Vec<ConditionView>,
    /// Its containers.
    #[serde(default)]
    pub container_statuses: Vec<ContainerStatusView>,
}

/// A condition of a pod.
#[derive(Debug, Clone, Deserialize)]
pub struct ConditionView {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// Why, in words.
    pub message: Option<String>,
}

/// How a container is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatusView {
    /// Its name.
    pub name: String,
    /// How often it was started again.
    pub restart_count: i32,
    /// What it does now.
    pub state: Option<ContainerState>,
    /// What it did before it was started again.
    pub last_state: Option<ContainerState>,
}

/// A StatefulSet.
#[derive(Debug, Clone, Resource, Deserialize)]
#[resource(inherit = "StatefulSet")]
pub struct SetView {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What it should be.
    #[serde(default)]
    pub spec: SetSpecView,
    /// How it is.
    #[serde(default)]
    pub status: SetStatusView,
}

/// What a StatefulSet should be.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SetSpecView {
    /// How many pods there should be.
    pub replicas: Option<i32>,
    /// What its pods should be.
    pub template: TemplateText,
}

/// How a StatefulSet is.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SetStatusView {
    /// How many pods there are.
    #[serde(default)]
    pub replicas: i32,
}

/// The template of pods, as JSON in a text.
#[derive(Debug, Clone, Default)]
pub struct TemplateText(Box<str>);

impl TemplateText {
    /// What it says.
    pub fn value(&self) -> Option<Value> {
        serde_json::from_str(&self.0).ok()
    }
}

impl<'de> Deserialize<'de> for TemplateText {
    /// By way of the API's type, so that the text is what a client of the API would send.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let template = PodTemplateSpec::deserialize(deserializer)?;
        Ok(Self(serde_json::to_string(&template).map_err(D::Error::custom)?.into()))
    }
}
