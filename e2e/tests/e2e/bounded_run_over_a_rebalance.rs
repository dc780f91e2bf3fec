//! A bounded run is done when the ledger says so, not when one worker's share is read.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::worker::{Run, Worker};
use sluice_e2e::world::{RUN_LIMIT, World, promise};

fn bounded(world: &World, name: &str, manifests: &std::path::Path) -> Result<Worker> {
    Run::new(name, manifests).until_caught_up().start(world.folder())
}

#[test]
fn workers_that_share_a_bounded_run_all_leave_when_it_is_done() -> Result<()> {
    promise("bounded_shared", async |world| {
        let topic = world.topic("events", 6).await?;
        let job = world.job(&topic);
        let manifests = job.write(world.folder())?;
        let book = Sender::new(&world.kafka(), &topic, 6, Recipe::new(world.seed()))?.send(100_000)?;
        let watcher = world.watch(&job);
        let workers = ["one", "two", "three"].map(|name| bounded(&world, name, &manifests));
        for worker in workers {
            worker?.expect(0, RUN_LIMIT).await?;
        }
        watcher.finish().await?;
        ensure!(world.ledger(&job).await?.run.is_none(), "the run is still open");
        world.judge(&job, &book).await
    })
}

#[test]
fn whoever_is_left_finishes_the_run_of_the_killed() -> Result<()> {
    promise("bounded_killed", async |world| {
        let topic = world.topic("events", 6).await?;
        let mut job = world.job(&topic);
        // The window stays open, so that the killed one takes a share with it that it has read and not committed.
        job.period = "20s".to_owned();
        let manifests = job.write(world.folder())?;
        let book = Sender::new(&world.kafka(), &topic, 6, Recipe::new(world.seed()))?.send(60_000)?;
        let watcher = world.watch(&job);
        let killed = bounded(&world, "killed", &manifests)?;
        let begun = |ledger: &sluice_e2e::ledger::Ledger| ledger.run.is_some();
        world.until("the run is open", &job, Duration::from_mins(1), begun).await?;
        killed.says("partitions assigned", Duration::from_mins(1)).await?;
        let left = bounded(&world, "left", &manifests)?;
        killed.kill().await?;
        left.expect(0, RUN_LIMIT).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
