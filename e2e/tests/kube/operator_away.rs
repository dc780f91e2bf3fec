//! Data do not need the operator: neither while it is replaced nor while there is none.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::job::Job;
use sluice_e2e::k8s::kinds::{DEPLOYMENT, POD, STREAMING_JOB};
use sluice_e2e::k8s::operator::next_image;
use sluice_e2e::k8s::stage::{SOON, Stage, promise_alone};
use sluice_e2e::ledger::Ledger;
use sluice_e2e::load::Load;

#[test]
fn an_upgrade_of_the_operator_restarts_no_worker() -> Result<()> {
    promise_alone("kube_upgrade", async |stage| {
        let (sender, mut job) = stage.job(2).await?;
        job.spec.push("workers: {replicas: 2}".to_owned());
        let (load, watcher) = (Load::start(sender, 300), stage.world.watch(&job));
        stage.start(&job).await?;
        stage.until_workers(&job, 2).await?;
        let before = workers(&stage, &job).await?;
        let next = next_image()?;
        let tag = next.rsplit_once(':').map_or("", |(_, tag)| tag);
        stage.operator.install(&[&format!("image.tag={tag}")]).await?;
        // Agents are replaced: then the new operator has looked at this namespace, and at the job in it.
        let of_next = |agent: &Value| agent["spec"]["template"]["spec"]["containers"][0]["image"] == json!(next);
        stage.kube.until(DEPLOYMENT, "sluice-agent", "the agent is of the new image", SOON, of_next).await?;
        stage.until(&job, "its numbers are told again", SOON, told_since(&stage, &job).await?).await?;
        let after = workers(&stage, &job).await?;
        ensure!(before == after, "workers were restarted: {before:?}, then {after:?}");
        // The next change takes the new image along.
        stage.change(&job, json!({"restartNonce": 1})).await?;
        let image = |pods: &std::collections::BTreeMap<String, Value>| {
            pods.len() == 2 && pods.values().all(|pod| pod["spec"]["containers"][0]["image"] == json!(next))
        };
        let selector = sluice_e2e::k8s::stage::workers_of(&job);
        stage.kube.until_all(POD, &selector, "workers are of the new image", SOON, image).await?;
        stage.until_ready(&job).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await.map(drop)
    })
}

#[test]
fn data_flow_while_there_is_no_operator_for_a_minute() -> Result<()> {
    promise_alone("kube_no_operator", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let (load, watcher) = (Load::start(sender, 300), stage.world.watch(&job));
        stage.start(&job).await?;
        let before = workers(&stage, &job).await?;
        stage.operator.scale(0).await?;
        let minute = tokio::time::Instant::now() + Duration::from_mins(1);
        while tokio::time::Instant::now() < minute {
            let ends = stage.world.kafka().ends(&job.topic)?;
            let reached = |ledger: &Ledger| ledger.reaches(&ends);
            stage.world.until("data flow without an operator", &job, Duration::from_secs(20), reached).await?;
        }
        stage.operator.scale(1).await?;
        stage.until(&job, "its numbers are told again", SOON, told_since(&stage, &job).await?).await?;
        let after = workers(&stage, &job).await?;
        ensure!(before == after, "workers were restarted: {before:?}, then {after:?}");
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await.map(drop)
    })
}

/// Has the status numbers that are younger than those of now?
async fn told_since(stage: &Stage, job: &Job) -> Result<impl Fn(&Value) -> bool + use<>> {
    let now = stage.kube.get(STREAMING_JOB, &job.name).await?.unwrap_or_default();
    let read = now["status"]["totals"]["read"].as_i64().unwrap_or_default();
    Ok(move |job: &Value| job["status"]["totals"]["read"].as_i64().is_some_and(|later| later > read))
}

/// The identity of each worker, and how often it was started.
async fn workers(stage: &Stage, job: &Job) -> Result<Vec<(String, Value)>> {
    let pods = stage.workers(job).await?;
    let of = |pod: &Value| {
        (pod["metadata"]["uid"].to_string(), pod["status"]["containerStatuses"][0]["restartCount"].clone())
    };
    let mut workers: Vec<_> = pods.iter().map(of).collect();
    workers.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(workers)
}
