//! The group's offsets are a report for others: whatever is done to them by hand, nothing is read twice or left out.

use anyhow::{Result, ensure};
use sluice_e2e::kafka::Offsets;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::promise;

#[test]
fn group_offsets_that_are_rewound_advanced_or_deleted_change_nothing() -> Result<()> {
    promise("group_offsets", async |world| {
        let topic = world.topic("events", 2).await?;
        let (kafka, job) = (world.kafka(), world.job(&topic));
        let mut sender = Sender::new(&kafka, &topic, 2, Recipe::new(world.seed()))?;
        let mut book = sender.send(2000)?;
        let watcher = world.watch(&job);
        world.catch_up("first", &job).await?;

        kafka.rewind(&job.group(), &topic, &Offsets::from([(0, 0), (1, 10)]))?;
        book.add(sender.send(2000)?);
        world.catch_up("rewound", &job).await?;
        world.judge(&job, &book).await?;

        book.add(sender.send(2000)?);
        kafka.rewind(&job.group(), &topic, &kafka.ends(&topic)?)?;
        world.catch_up("advanced", &job).await?;
        world.judge(&job, &book).await?;

        kafka.delete_group(&job.group()).await?;
        book.add(sender.send(2000)?);
        world.catch_up("deleted", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await?;
        let committed = kafka.committed(&job.group(), &topic)?;
        ensure!(committed.len() == 2, "the report was not made again: {committed:?}");
        Ok(())
    })
}
