//! Suspended and resumed faster than workers can follow.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use sluice_e2e::k8s::has_condition;
use sluice_e2e::k8s::stage::{SOON, promise};
use sluice_e2e::load::Load;

#[test]
fn suspend_and_resume_a_second_apart_lose_and_double_nothing() -> Result<()> {
    promise("kube_suspend", async |stage| {
        let (sender, mut job) = stage.job(4).await?;
        job.spec.push("workers: {replicas: 2}".to_owned());
        let (load, watcher) = (Load::start(sender, 500), stage.world.watch(&job));
        stage.start(&job).await?;
        // A hundred changes.
        for _ in 0..stage.world.rounds(50)? {
            for suspend in [true, false] {
                stage.change(&job, json!({ "suspend": suspend })).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        stage.until_ready(&job).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        eprintln!("kube_suspend: {:?}", watcher.finish().await?);
        Ok(())
    })
}

#[test]
fn a_suspended_job_has_committed_what_it_had_read_and_goes_on_exactly_there() -> Result<()> {
    promise("kube_suspended", async |stage| {
        let (mut sender, mut job) = stage.job(2).await?;
        // Longer than the test: only the drain closes the window.
        job.period = "10m".to_owned();
        stage.kube.apply(&job.manifests()).await?;
        stage.until_workers(&job, 1).await?;
        let mut book = sender.send(2000)?;
        stage.change(&job, json!({"suspend": true})).await?;
        let suspended = |job: &Value| has_condition(job, "Ready", "True", "Suspended");
        stage.until(&job, "the job is suspended", SOON, suspended).await?;
        stage.until_workers(&job, 0).await?;
        book.add(sender.send(1000)?);
        stage.change(&job, json!({"suspend": false, "window": {"period": "1s"}})).await?;
        stage.judge(&job, &book).await
    })
}
