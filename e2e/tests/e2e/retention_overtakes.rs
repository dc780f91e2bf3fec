//! Retention deletes what was not read yet.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::job::Job;
use sluice_e2e::kafka::Offsets;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::promise;

/// The exit code of a job that needs a person.
const STALLED: i32 = 5;

#[test]
fn a_job_starts_at_the_first_record_that_is_left() -> Result<()> {
    promise("retention_before_start", async |world| {
        let topic = world.topic("events", 2).await?;
        let job = world.job(&topic);
        let mut book = Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?.send(2000)?;
        // One partition has lost some records, the other all of them.
        let cut = Offsets::from([(0, 300), (1, 1000)]);
        world.kafka().delete_records(&topic, &cut).await?;
        book.forget(&cut);
        world.catch_up("run", &job).await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn a_gap_stalls_the_job_until_the_manifest_allows_it() -> Result<()> {
    promise("retention_gap", async |world| {
        let topic = world.topic("events", 2).await?;
        let job = world.job(&topic);
        let mut sender = Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?;
        let mut book = sender.send(1000)?;
        world.catch_up("first", &job).await?;

        let mut lost = sender.send(1000)?;
        let cut = Offsets::from([(0, 700)]);
        world.kafka().delete_records(&topic, &cut).await?;
        lost.forget(&cut);
        let stalled = world.start("stalled", &job)?;
        stalled.expect(STALLED, Duration::from_mins(1)).await?;
        ensure!(stalled.output()?.contains("OffsetOutOfRange"), "no reason:\n{}", stalled.tail()?);

        let allowed = Job { source: vec!["onOffsetOutOfRange: Earliest".to_owned()], ..job };
        world.catch_up("allowed", &allowed).await?;
        book.add(lost);
        ensure!(world.ledger(&allowed).await?.resets == 1, "the gap is not in the ledger");
        world.judge(&allowed, &book).await
    })
}
