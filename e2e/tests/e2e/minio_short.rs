//! The other S3 server: the same promises, in short, so that no behaviour of one server is taken for S3.

use std::time::Duration;

use anyhow::Result;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::s3::Kind;
use sluice_e2e::world::promise_on;

#[test]
fn a_killed_worker_loses_and_doubles_nothing_on_minio() -> Result<()> {
    promise_on("minio_kill", Kind::Minio, async |world| {
        let topic = world.topic("events", 4).await?;
        let job = world.job(&topic);
        let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 2000);
        let watcher = world.watch(&job);
        for round in 0..2 {
            let commits = world.ledger(&job).await?.commits.len();
            let worker = world.start(&format!("round-{round}"), &job)?;
            let at_work = |ledger: &sluice_e2e::ledger::Ledger| ledger.commits.len() > commits + 1;
            world.until("the worker commits", &job, Duration::from_mins(1), at_work).await?;
            worker.kill().await?;
        }
        let (_, book) = load.stop().await?;
        world.catch_up("last", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
