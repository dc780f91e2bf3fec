//! The lag in the status is the lag, also while nobody works.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_e2e::k8s::kinds::STREAMING_JOB;
use sluice_e2e::k8s::stage::promise;

/// The agent looks every 15 s, and the operator asks and writes every 15 s.
const TOLD: Duration = Duration::from_secs(60);

#[test]
fn lag_rises_while_workers_are_held_and_falls_to_zero_after() -> Result<()> {
    promise("kube_lag", async |stage| {
        let (mut sender, job) = stage.job(4).await?;
        let mut book = sender.send(3000)?;
        stage.start(&job).await?;
        stage.until(&job, "no lag", TOLD, |job| job["status"]["lag"]["records"] == 0).await?;

        stage.kube.scale(STREAMING_JOB, &job.name, 0).await?;
        stage.until_workers(&job, 0).await?;
        book.add(sender.send(5000)?);
        let found = stage.until(&job, "a lag of 5000", TOLD, |job| job["status"]["lag"]["records"] == 5000).await?;
        let lag = &found["status"]["lag"];
        ensure!(lag["partitions"] == 4 && lag["seconds"].as_i64().is_some(), "the lag is {lag}");
        let tool = stage.world.cluster().broker().describe_group(&job.group()).await?;
        let sum: i64 = tool.values().map(|partition| partition.lag).sum();
        ensure!(sum == 5000, "Kafka's tool says {tool:?}");

        stage.kube.scale(STREAMING_JOB, &job.name, 1).await?;
        stage.judge(&job, &book).await?;
        stage.until(&job, "no lag again", TOLD, |job| job["status"]["lag"]["records"] == 0).await?;
        let (ends, tool) = (stage.world.kafka().ends(&job.topic)?, stage.world.cluster().broker());
        let tool = tool.describe_group(&job.group()).await?;
        for (partition, end) in ends {
            let said = tool.get(&partition).map(|said| (said.committed, said.end, said.lag));
            ensure!(said == Some((end, end, 0)), "partition {partition} ends at {end}, Kafka's tool says {said:?}");
        }
        Ok(())
    })
}

#[test]
fn the_worst_partitions_are_named() -> Result<()> {
    promise("kube_worst", async |stage| {
        let (mut sender, job) = stage.job(3).await?;
        stage.start(&job).await?;
        stage.kube.scale(STREAMING_JOB, &job.name, 0).await?;
        stage.until_workers(&job, 0).await?;
        sender.set_partitions(1)?;
        sender.send(700)?;
        let what = "partition 0 is the one that is behind";
        let found = stage.until(&job, what, TOLD, |job| job["status"]["lag"]["records"] == 700).await?;
        let worst = &found["status"]["lag"]["worst"][0];
        ensure!(worst["partition"] == json!(0) && worst["lag"] == json!(700), "the worst is {worst}");
        Ok(())
    })
}
