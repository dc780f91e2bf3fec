//! The broker goes away, politely and not, and comes back.

use std::time::Duration;

use anyhow::Result;
use sluice_e2e::broker::Broker;
use sluice_e2e::job::Job;
use sluice_e2e::kafka::Kafka;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender, read_book};
use sluice_e2e::world::promise;

#[test]
fn a_job_goes_on_when_its_broker_is_back() -> Result<()> {
    promise("broker_restart", async |world| {
        let mut broker = Broker::start(&world.folder().join("kafka")).await?;
        let kafka = Kafka::new(broker.plaintext());
        kafka.create_topic("events", 4).await?;
        let job = Job { bootstrap: broker.plaintext(), ..world.job("events") };
        let load = Load::start(Sender::new(&kafka, "events", 4, Recipe::new(world.seed()))?, 1000);
        let watcher = world.watch(&job);
        let worker = world.start("worker", &job)?;
        for polite in [true, false] {
            let commits = world.ledger(&job).await?.commits.len();
            let goes_on = |ledger: &sluice_e2e::ledger::Ledger| ledger.commits.len() > commits + 2;
            world.until("the job goes on", &job, Duration::from_secs(90), goes_on).await?;
            if polite {
                broker.stop().await?
            } else {
                broker.kill().await?
            }
            broker.up().await?;
        }
        load.stop().await?;
        // A receipt may be lost with the broker, so the topic itself is the book.
        let book = read_book(&kafka, "events")?;
        let ends = kafka.ends("events")?;
        world.until("everything is committed", &job, Duration::from_secs(90), |ledger| ledger.reaches(&ends)).await?;
        worker.drain().await?;
        world.catch_up("last", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
