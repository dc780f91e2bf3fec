//! `kubectl scale` while records pour in.

use anyhow::{Result, ensure};
use serde_json::Value;
use sluice_e2e::k8s::kinds::STREAMING_JOB;
use sluice_e2e::k8s::stage::{SOON, promise};
use sluice_e2e::load::Load;

#[test]
fn one_four_two_workers_under_load_write_every_record_once() -> Result<()> {
    promise("kube_scale", async |stage| {
        let (sender, job) = stage.job(8).await?;
        let (load, watcher) = (Load::start(sender, 1000), stage.world.watch(&job));
        stage.start(&job).await?;
        let first = uid(&stage.workers(&job).await?, "events-0");
        for wanted in [4, 2] {
            stage.kube.scale(STREAMING_JOB, &job.name, wanted).await?;
            let told = |job: &Value| {
                let status = &job["status"];
                status["workers"]["ready"] == wanted && status["replicas"] == wanted
            };
            stage.until(&job, &format!("{wanted} workers are ready"), SOON, told).await?;
            stage.until_ready(&job).await?;
            let members = stage.world.kafka().members(&job.group())?;
            ensure!(members == wanted as usize, "the group has {members} members, not {wanted}");
        }
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        eprintln!("kube_scale: {:?}", watcher.finish().await?);
        let same = uid(&stage.workers(&job).await?, "events-0");
        ensure!(first == same && first.is_some(), "the first worker was replaced: {first:?}, then {same:?}");
        Ok(())
    })
}

#[test]
fn more_workers_than_partitions_are_told() -> Result<()> {
    promise("kube_spares", async |stage| {
        let (_, mut job) = stage.job(1).await?;
        job.spec.push("workers: {replicas: 2}".to_owned());
        stage.kube.apply(&job.manifests()).await?;
        let limited = |job: &Value| {
            sluice_e2e::k8s::is_ready(job)
                && sluice_e2e::k8s::has_condition(job, "ScalingLimited", "True", "PartitionCount")
        };
        stage.until(&job, "one of two workers is a spare", SOON, limited).await.map(drop)
    })
}

fn uid(pods: &[Value], name: &str) -> Option<Value> {
    pods.iter().find(|pod| pod["metadata"]["name"] == name).map(|pod| pod["metadata"]["uid"].clone())
}
