//! A topic is deleted and created again: the same offsets, other records.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::promise;

/// The exit code of a job that needs a person.
const STALLED: i32 = 5;

#[test]
fn a_topic_that_was_made_again_stalls_the_job() -> Result<()> {
    promise("topic_recreated", async |world| {
        let (kafka, topic) = (world.kafka(), world.topic("events", 2).await?);
        let job = world.job(&topic);
        let book = Sender::new(&kafka, &topic, 2, Recipe::new(world.seed()))?.send(1000)?;
        world.catch_up("first", &job).await?;
        kafka.delete_topic(&topic).await?;
        kafka.create_topic(&topic, 2).await?;
        // More records than before: every position of the ledger is a valid offset of the new topic.
        Sender::new(&kafka, &topic, 2, Recipe::new(world.seed() ^ 1))?.send(3000)?;
        let stalled = world.start("stalled", &job)?;
        stalled.expect(STALLED, Duration::from_mins(1)).await?;
        ensure!(stalled.output()?.contains("TopicRecreated"), "no reason:\n{}", stalled.tail()?);
        world.judge(&job, &book).await
    })
}

#[test]
fn a_topic_that_is_made_again_under_a_running_job_stalls_it() -> Result<()> {
    promise("topic_recreated_live", async |world| {
        let (kafka, topic) = (world.kafka(), world.topic("events", 2).await?);
        let job = world.job(&topic);
        let watcher = world.watch(&job);
        let worker = world.start("worker", &job)?;
        let book = Sender::new(&kafka, &topic, 2, Recipe::new(world.seed()))?.send(1000)?;
        let ends = kafka.ends(&topic)?;
        world.until("all is committed", &job, Duration::from_mins(1), |ledger| ledger.reaches(&ends)).await?;
        kafka.delete_topic(&topic).await?;
        kafka.create_topic(&topic, 2).await?;
        Sender::new(&kafka, &topic, 2, Recipe::new(world.seed() ^ 1))?.send(3000)?;
        worker.expect(STALLED, Duration::from_secs(90)).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
