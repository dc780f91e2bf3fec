//! Retention deletes what was not read yet.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::job::Job;
use sluice_e2e::kafka::Offsets;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::worker::{Run, Worker};
use sluice_e2e::world::{RUN_LIMIT, promise};

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
fn what_is_lost_between_the_start_and_the_first_fetch_is_a_gap_that_the_first_commit_shows() -> Result<()> {
    promise("retention_before_fetch", async |world| {
        let topic = world.topic("events", 2).await?;
        let job = world.job(&topic);
        let mut book = Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?.send(2000)?;
        // The plan and the starting positions are in the ledger, and the group has never heard of this worker.
        let killed = Run::new("killed", &job.write(world.folder())?)
            .environment("FAILPOINTS", "ledger.put.after=1*off->return")
            .start(world.folder())?;
        ensure!(killed.dies(RUN_LIMIT).await?, "it lives on:\n{}", killed.tail()?);
        let begun = world.ledger(&job).await?.positions;
        ensure!(begun == Offsets::from([(0, 0), (1, 0)]), "it begins at {begun:?}");
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

#[test]
fn workers_that_step_over_gaps_at_once_lose_and_double_nothing() -> Result<()> {
    promise("retention_gaps", async |world| {
        let topic = world.topic("events", 4).await?;
        let source = vec!["onOffsetOutOfRange: Earliest".to_owned()];
        let job = Job { source, ..world.job(&topic) };
        let mut sender = Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?;
        let mut book = sender.send(2000)?;
        world.catch_up("first", &job).await?;
        let mut lost = sender.send(2000)?;
        let cut = Offsets::from([(0, 600), (1, 700), (2, 1000), (3, 501)]);
        world.kafka().delete_records(&topic, &cut).await?;
        lost.forget(&cut);
        book.add(lost);
        let manifests = job.write(world.folder())?;
        let watcher = world.watch(&job);
        let start = |name: &&str| Run::new(name, &manifests).until_caught_up().start(world.folder());
        let workers: Vec<Worker> = ["one", "two", "three"].iter().map(start).collect::<Result<_>>()?;
        for worker in &workers {
            worker.expect(0, RUN_LIMIT).await?;
        }
        watcher.finish().await?;
        let resets = world.ledger(&job).await?.resets;
        ensure!((1..=4).contains(&resets), "{resets} resets for four gaps");
        world.judge(&job, &book).await
    })
}
