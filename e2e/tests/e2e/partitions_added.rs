//! A topic gets more partitions.

use std::time::Duration;

use anyhow::Result;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::promise;

#[test]
fn new_partitions_are_read_from_their_beginning() -> Result<()> {
    promise("partitions_added", async |world| {
        let (kafka, topic) = (world.kafka(), world.topic("events", 2).await?);
        let mut job = world.job(&topic);
        // Not the beginning for the partitions that are there, and yet the beginning for those that come later.
        job.source = vec!["startPosition: {type: Latest}".to_owned()];
        let mut sender = Sender::new(&kafka, &topic, 2, Recipe::new(world.seed()))?;
        sender.send(1000)?;
        let watcher = world.watch(&job);
        world.catch_up("first", &job).await?;
        kafka.add_partitions(&topic, 5).await?;
        sender.set_partitions(5)?;
        let book = sender.send(3000)?;
        world.catch_up("second", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn a_running_job_finds_new_partitions() -> Result<()> {
    promise("partitions_added_live", async |world| {
        let (kafka, topic) = (world.kafka(), world.topic("events", 1).await?);
        let job = world.job(&topic);
        let mut sender = Sender::new(&kafka, &topic, 1, Recipe::new(world.seed()))?;
        let watcher = world.watch(&job);
        let worker = world.start("worker", &job)?;
        let mut book = sender.send(1000)?;
        watcher.until_rows(book.written.len(), Duration::from_mins(1)).await?;
        kafka.add_partitions(&topic, 3).await?;
        sender.set_partitions(3)?;
        book.add(sender.send(3000)?);
        // A client asks for the topic's partitions every now and then; how often is the worker's choice.
        watcher.until_rows(book.written.len(), Duration::from_mins(2)).await?;
        worker.drain().await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
