//! Brokers go away, politely and not, and come back; leaders change.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
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

#[test]
fn a_job_goes_on_when_leaders_change() -> Result<()> {
    promise("leader_change", async |world| {
        let [first, mut second] = Broker::start_pair(&world.folder().join("kafka")).await?;
        let kafka = Kafka::new(first.plaintext());
        kafka.create_copied_topic("events", 4, 2).await?;
        let job = Job { bootstrap: first.plaintext(), ..world.job("events") };
        let load = Load::start(Sender::new(&kafka, "events", 4, Recipe::new(world.seed()))?, 1000);
        let watcher = world.watch(&job);
        let worker = world.start("worker", &job)?;
        let limit = Duration::from_secs(90);
        until_leads(&kafka, 2, true).await?;
        world.until("two commits", &job, limit, |ledger| ledger.commits.len() >= 2).await?;
        for away in [true, false] {
            if away {
                second.kill().await?
            } else {
                second.up().await?
            }
            until_leads(&kafka, 2, !away).await?;
            let ends = kafka.ends("events")?;
            world.until("the job goes on", &job, limit, |ledger| ledger.reaches(&ends)).await?;
        }
        load.stop().await?;
        let book = read_book(&kafka, "events")?;
        worker.drain().await?;
        world.catch_up("last", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}

/// Waits until a broker leads some partitions of the topic, or none.
async fn until_leads(kafka: &Kafka, broker: i32, some: bool) -> Result<()> {
    let start = Instant::now();
    while kafka.leaders("events")?.values().any(|&leader| leader == broker) != some {
        ensure!(start.elapsed() < Duration::from_mins(1), "leaders stay {:?}", kafka.leaders("events")?);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
