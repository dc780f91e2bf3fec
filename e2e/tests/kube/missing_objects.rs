//! What is missing is told, and nothing but its appearance is needed.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_e2e::k8s::kinds::{CONNECTION, SECRET};
use sluice_e2e::k8s::stage::{SOON, promise};
use sluice_e2e::k8s::{condition, has_condition, is_ready};

/// A mounted Secret reaches a pod that runs when the kubelet looks again: a minute and a half with its defaults.
const MOUNTED: Duration = Duration::from_mins(4);

#[test]
fn missing_tables_connections_and_secrets_are_named_and_the_job_starts_when_they_appear() -> Result<()> {
    promise("kube_missing", async |stage| {
        let (mut sender, job) = stage.job(1).await?;
        let book = sender.send(500)?;
        let names = |object: &Value, name: &str| {
            let found = condition(object, "ConfigValid");
            found.is_some_and(|found| found["message"].as_str().unwrap_or_default().contains(name))
        };
        let missing = |name: &'static str| {
            move |job: &Value| {
                has_condition(job, "ConfigValid", "False", "ReferenceNotFound")
                    && names(job, name)
                    && condition(job, "Stalled").is_none()
            }
        };
        stage.kube.apply(&job.streaming_job()).await?;
        stage.until(&job, "the table is missed", SOON, missing("events-raw")).await?;
        stage.kube.apply(&job.tables()).await?;
        stage.until(&job, "the connection is missed", SOON, missing("kafka")).await?;

        let connections = job.connections();
        let (secret, connections) = connections.split_once("---\n").unwrap_or_default();
        ensure!(secret.contains("kind: Secret"), "the first object is no Secret");
        stage.kube.apply(connections).await?;
        let without = |connection: &Value| has_condition(connection, "Ready", "False", "SecretNotFound");
        stage.kube.until(CONNECTION, "lake", "the secret is missed", SOON, without).await?;
        stage.until(&job, "the secret is missed by the job", SOON, missing("lake")).await?;
        ensure!(stage.workers(&job).await?.is_empty(), "workers were started without their secret");

        stage.kube.apply(secret).await?;
        stage.kube.until(CONNECTION, "lake", "the connection works", MOUNTED, is_ready).await?;
        stage.until(&job, "the job is ready", MOUNTED, is_ready).await?;
        ensure!(stage.kube.get(SECRET, "lake").await?.is_some(), "the secret is gone");
        stage.judge(&job, &book).await
    })
}
