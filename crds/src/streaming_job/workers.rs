//! How many workers there are, and what they get.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::units::{Cpu, Duration, Size};

/// The workers of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// How many pods share the topic's partitions. More of them than partitions are of no use. Default: 1. Excludes `autoscaling`.
    /// Example: `2`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// The cpu and memory of each worker. Half of `limits.memory` is the budget of bytes for what is prefetched, open in row groups and on
    /// its way to the store; without a limit the budget is 192Mi. Under pressure a window closes early, it never fails.
    /// Example: `{requests: {cpu: "1", memory: 256Mi}, limits: {memory: 512Mi}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// A part of a pod template that is merged over the generated one: labels, annotations, node selectors, tolerations and the like.
    /// Example: `{spec: {nodeSelector: {pool: etl}}}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub template: Option<serde_json::Value>,
}

/// An object whose members are somebody else's.
fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

/// What a worker asks for, and what it may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside. Default: the cluster's. Example: `{cpu: "1", memory: 256Mi}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
    /// What a worker may use at most. Default: the cluster's. Example: `{memory: 512Mi}`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
}

/// Cpu and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    /// Cpus, as a quantity. Example: `500m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Bytes, as a quantity. Example: `512Mi`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
}

/// Let the lag decide on the number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas")
    .message("minReplicas must not be above maxReplicas"))]
pub struct Autoscaling {
    /// The least number of workers; 0 lets a job without lag have none. Default: 1. Example: `0`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub min_replicas: Option<i32>,
    /// The largest number of workers. More than the topic has partitions are never started. Example: `12`
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The lag, in time, that is all right. Default: twice the period of the window. Example: `2m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_lag: Option<Duration>,
    /// The time in which a larger lag should be worked off. Default: 10m. Example: `20m`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<Duration>,
    /// `Active`, or `Recommend` (the number is only shown in status). Default: `Active`. Example: `Recommend`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<AutoscalingMode>,
}

/// Does the recommendation count?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum AutoscalingMode {
    /// It is carried out.
    Active,
    /// It is only shown.
    Recommend,
}
