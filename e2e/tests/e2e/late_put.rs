//! A request times out for its sender, and lands in the store long after.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::proxy::Proxy;
use sluice_e2e::proxy::fault::{Fault, Operation, Rule};
use sluice_e2e::worker::Worker;
use sluice_e2e::world::promise;

/// Longer than a window, so that others could have used the slot.
const LATE: Duration = Duration::from_secs(4);

#[test]
fn a_commit_that_lands_late_counts_once_or_not_at_all() -> Result<()> {
    late("late_put", Operation::Put, "/ledger/")
}

#[test]
fn a_completion_that_lands_late_does_no_harm() -> Result<()> {
    late("late_complete", Operation::Complete, "/lake/")
}

fn late(name: &str, operation: Operation, key: &str) -> Result<()> {
    promise(name, async |world| {
        let topic = world.topic("events", 2).await?;
        let proxy = Proxy::start(world.endpoint()).await?;
        let job = Job { endpoint: proxy.endpoint(), ..world.job(&topic) };
        let load = Load::start(Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?, 1000);
        let watcher = world.watch(&job);
        let workers: Vec<Worker> = ["one", "two"].iter().map(|name| world.start(name, &job)).collect::<Result<_>>()?;
        world.until("two commits", &job, Duration::from_mins(1), |ledger| ledger.commits.len() >= 2).await?;
        for round in 1..=3 {
            proxy.inject(Rule::once(operation, key, Fault::Late(LATE)));
            let start = Instant::now();
            while proxy.count(operation, &Fault::Late(LATE)) < round {
                ensure!(start.elapsed() < Duration::from_mins(1), "round {round}: no such request came");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(LATE).await;
        }
        let (_, book) = load.stop().await?;
        for worker in workers {
            worker.drain().await?;
        }
        world.catch_up("last", &job).await?;
        watcher.finish().await?;
        world.judge(&job, &book).await
    })
}
