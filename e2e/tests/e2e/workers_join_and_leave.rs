//! Workers come and go every few seconds, politely and not, while records pour in.

use std::time::Duration;

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::worker::Worker;
use sluice_e2e::world::{World, promise};

/// More workers than this would only wait for the processor.
const MOST: usize = 4;
/// Less than this is no company.
const LEAST: usize = 2;

#[test]
fn two_to_four_workers_share_a_topic_while_they_join_and_leave() -> Result<()> {
    promise("join_and_leave", async |world| {
        let topic = world.topic("events", 8).await?;
        let job = world.job(&topic);
        let load = Load::start(Sender::new(&world.kafka(), &topic, 8, Recipe::new(world.seed()))?, 3000);
        let watcher = world.watch(&job);
        let workers = come_and_go(&world, &job, world.rounds(10)?).await?;
        let (_, book) = load.stop().await?;
        for worker in workers {
            worker.drain().await?;
        }
        world.catch_up("last", &job).await?;
        eprintln!("join_and_leave: {:?}", watcher.finish().await?);
        world.judge(&job, &book).await
    })
}

async fn come_and_go(world: &World, job: &Job, rounds: u64) -> Result<Vec<Worker>> {
    let mut random = StdRng::seed_from_u64(world.seed());
    let mut workers: Vec<Worker> = Vec::new();
    for round in 0..rounds {
        let grow = workers.len() < LEAST || (workers.len() < MOST && random.random());
        if grow {
            workers.push(world.start(&format!("worker-{round}"), job)?);
        } else {
            let worker = workers.swap_remove(random.random_range(0..workers.len()));
            // Every third one does not say goodbye.
            if random.random_ratio(1, 3) { worker.kill().await? } else { worker.drain().await? }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(1000..4000))).await;
    }
    Ok(workers)
}
