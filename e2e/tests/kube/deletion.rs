//! A deletion never waits for anything of ours, and leaves nothing behind in the cluster. Data stay.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::job::{Job, TABLE};
use sluice_e2e::k8s::kinds::{MADE, POD, STREAMING_JOB};
use sluice_e2e::k8s::stage::{SOON, Stage, promise, workers_of};
use sluice_e2e::k8s::{condition, run};
use sluice_e2e::load::Load;

/// The garbage collector hears of new kinds every half minute, and workers may drain for two.
const GONE: Duration = Duration::from_mins(4);

/// What a job is doing when it is deleted.
#[derive(Debug, Clone, Copy)]
enum Phase {
    JustApplied,
    Checked,
    Starting,
    Running,
    Changing,
    Draining,
    Suspended,
}

#[test]
fn a_job_can_be_deleted_in_every_phase_and_leaves_nothing() -> Result<()> {
    promise("kube_deletion", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let load = Load::start(sender, 200);
        stage.kube.apply(&job.connections()).await?;
        stage.kube.apply(&job.tables()).await?;
        let phases = [
            Phase::JustApplied,
            Phase::Checked,
            Phase::Starting,
            Phase::Running,
            Phase::Changing,
            Phase::Draining,
            Phase::Suspended,
        ];
        for phase in phases {
            eprintln!("kube_deletion: {phase:?}");
            stage.kube.apply(&job.streaming_job()).await?;
            reach(&stage, &job, phase).await?;
            stage.kube.delete(STREAMING_JOB, &job.name).await?;
            stage.kube.until_gone(STREAMING_JOB, &job.name, Duration::from_secs(10)).await?;
            nothing_is_left(&stage, &job).await?;
        }
        // The next of its name goes on where the last one was: its ledger is still there.
        stage.start(&job).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await
    })
}

async fn reach(stage: &Stage, job: &Job, phase: Phase) -> Result<()> {
    let valid = |job: &Value| condition(job, "ConfigValid").is_some_and(|valid| valid["status"] == "True");
    match phase {
        Phase::JustApplied => {}
        Phase::Checked => drop(stage.until(job, "the plan is valid", SOON, valid).await?),
        Phase::Starting => {
            let some = |pods: &BTreeMap<String, Value>| !pods.is_empty();
            stage.kube.until_all(POD, &workers_of(job), "a worker is on its way", SOON, some).await?;
        }
        Phase::Running => drop(stage.until_ready(job).await?),
        Phase::Changing => {
            stage.until_ready(job).await?;
            stage.change(job, json!({"parameters": {"stamp": "another"}})).await?;
        }
        Phase::Draining => {
            stage.until_ready(job).await?;
            stage.change(job, json!({"suspend": true})).await?;
            let leaving = |pods: &BTreeMap<String, Value>| {
                pods.is_empty() || pods.values().any(|pod| pod["metadata"]["deletionTimestamp"].is_string())
            };
            stage.kube.until_all(POD, &workers_of(job), "a worker leaves", SOON, leaving).await?;
        }
        Phase::Suspended => {
            stage.until_ready(job).await?;
            stage.change(job, json!({"suspend": true})).await?;
            stage.until_workers(job, 0).await?;
        }
    }
    Ok(())
}

async fn nothing_is_left(stage: &Stage, job: &Job) -> Result<()> {
    for kind in [POD].into_iter().chain(MADE) {
        let what = format!("no {} is left", kind.plural);
        stage.kube.until_all(kind, &workers_of(job), &what, GONE, BTreeMap::is_empty).await?;
    }
    Ok(())
}

#[test]
fn a_namespace_is_deleted_with_everything_in_it_and_the_data_stay() -> Result<()> {
    promise("kube_namespace", async |stage| {
        let (mut sender, job) = stage.job(2).await?;
        sender.send(2000)?;
        stage.start(&job).await?;
        stage.until_caught_up(&job).await?;
        let files = stage.world.bucket().list(&job.path(TABLE)).await?.len();
        let namespace = stage.kube.namespace();
        let said = run("kubectl", &["delete", "namespace", namespace, "--timeout=240s"], "").await?;
        ensure!(said.ok, "the namespace does not go: {}", said.err);
        let left = stage.world.bucket().list(&job.path(TABLE)).await?.len();
        ensure!(left >= files && files > 0, "of {files} files {left} are left");
        Ok(())
    })
}
