//! Whatever a worker was doing when the power went: nothing is lost, and nothing is seen twice at any time.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::world::{World, promise};

/// Jobs side by side: the group notices a death after ten seconds, and these need not be waited for one after another.
const LANES: u64 = 4;

#[test]
fn a_killed_worker_loses_and_doubles_nothing() -> Result<()> {
    promise("kill_nine", async |world| {
        let topic = world.topic("events", 4).await?;
        let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 2000);
        let rounds = world.rounds(12)?.div_ceil(LANES);
        let jobs: Vec<Job> = (0..LANES).map(|lane| lane_job(&world, &topic, lane)).collect();
        let watchers: Vec<_> = jobs.iter().map(|job| world.watch(job)).collect();
        try_join_all(jobs.iter().zip(0..).map(|(job, lane)| kill_again_and_again(&world, job, lane, rounds))).await?;
        let (_, book) = load.stop().await?;
        for ((job, watcher), lane) in jobs.iter().zip(watchers).zip(0..) {
            world.catch_up(&format!("last-{lane}"), job).await?;
            let seen = watcher.finish().await?;
            eprintln!("kill_nine: lane {lane}: {seen:?}");
            world.judge(job, &book).await?;
        }
        Ok(())
    })
}

fn lane_job(world: &World, topic: &str, lane: u64) -> Job {
    let job = world.job(topic);
    Job { name: format!("{}-{lane}", job.name), folder: format!("lane-{lane}"), ..job }
}

async fn kill_again_and_again(world: &World, job: &Job, lane: u64, rounds: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(world.seed() ^ lane);
    for round in 0..rounds {
        let commits = world.ledger(job).await?.commits.len();
        let worker = world.start(&format!("lane-{lane}-round-{round}"), job)?;
        // A worker that commits is at work; then any moment of its cycle of one second is as good as any other.
        let at_work = |ledger: &sluice_e2e::ledger::Ledger| ledger.commits.len() > commits;
        world.until("the worker commits", job, Duration::from_mins(1), at_work).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..2000))).await;
        worker.kill().await?;
    }
    Ok(())
}
