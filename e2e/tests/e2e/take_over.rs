//! The partitions of a worker that is gone find another one, with the settings that users get.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::promise;

/// Ten seconds until the group gives a silent member up, a window, and what a busy machine adds.
const TAKE_OVER: Duration = Duration::from_secs(20);

#[test]
fn the_partitions_of_a_killed_worker_are_read_by_another_within_twenty_seconds() -> Result<()> {
    promise("take_over", async |world| {
        let topic = world.topic("events", 4).await?;
        let job = Job { session_ms: None, ..world.job(&topic) };
        let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 1000);
        let watcher = world.watch(&job);
        let workers = [world.start("killed", &job)?, world.start("left", &job)?];
        for worker in &workers {
            worker.says("partitions assigned", Duration::from_mins(1)).await?;
        }
        // Both have their share by now, and are in the middle of a window.
        let commits = world.ledger(&job).await?.commits.len();
        let at_work = |ledger: &sluice_e2e::ledger::Ledger| ledger.commits.len() >= commits + 4;
        world.until("they commit", &job, Duration::from_mins(1), at_work).await?;
        workers[0].kill().await?;
        let (start, ends) = (Instant::now(), world.kafka().ends(&topic)?);
        world.until("the other one has taken over", &job, TAKE_OVER, |ledger| ledger.reaches(&ends)).await?;
        eprintln!(
            "take_over: {:.1} s from the kill to the commit of all that was there",
            start.elapsed().as_secs_f64()
        );
        ensure!(!workers[1].exited(), "the one that is left ended:\n{}", workers[1].tail()?);
        let (_, book) = load.stop().await?;
        workers[1].drain().await?;
        world.catch_up("last", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
