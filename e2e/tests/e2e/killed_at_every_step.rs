//! A worker ends at a step that chance names, again and again: nothing is lost, and nothing is seen twice at any time.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::worker::Run;
use sluice_e2e::world::{World, promise};

/// Jobs side by side: while one waits for the group to notice a death, another one works.
const LANES: u64 = 3;

/// The steps of a batch, and at most how often each is passed before the end comes.
const POINTS: [(&str, u32); 11] = [
    ("commit.before", 3),
    ("commit.after", 3),
    ("ledger.put.before", 5),
    ("ledger.put.after", 5),
    ("publish.before", 3),
    ("publish.between", 3),
    ("publish.after", 3),
    ("store.part.before", 20),
    ("store.part.after", 20),
    ("store.complete.before", 12),
    ("store.complete.after", 12),
];

/// A step that does not come in this time is not waited for: the worker is killed wherever it is.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn whatever_step_a_worker_dies_at_nothing_is_lost_or_doubled() -> Result<()> {
    promise("kill_points", async |world| {
        let topic = world.topic("events", 4).await?;
        let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 500);
        let kills = kills()?.div_ceil(LANES);
        let jobs: Vec<Job> = (0..LANES).map(|lane| lane_job(&world, &topic, lane)).collect();
        let watchers: Vec<_> = jobs.iter().map(|job| world.watch(job)).collect();
        try_join_all(jobs.iter().zip(0..).map(|(job, lane)| die_again_and_again(&world, job, lane, kills))).await?;
        let (_, book) = load.stop().await?;
        for ((job, watcher), lane) in jobs.iter().zip(watchers).zip(0..) {
            world.catch_up(&format!("last-{lane}"), job).await?;
            let seen = watcher.finish().await?;
            eprintln!("kill_points: lane {lane}: {seen:?}");
            world.judge(job, &book).await?;
        }
        Ok(())
    })
}

/// `$SLUICE_KILLS`, or a hundred.
fn kills() -> Result<u64> {
    let kills = std::env::var("SLUICE_KILLS").ok();
    kills.map_or(Ok(100), |kills| kills.parse().context("SLUICE_KILLS is not a number"))
}

fn lane_job(world: &World, topic: &str, lane: u64) -> Job {
    let job = world.job(topic);
    Job { name: format!("{}-{lane}", job.name), folder: format!("lane-{lane}"), session_ms: 1000, ..job }
}

async fn die_again_and_again(world: &World, job: &Job, lane: u64, kills: u64) -> Result<()> {
    let mut random = StdRng::seed_from_u64(world.seed() ^ lane);
    let manifests = job.write(world.folder())?;
    let mut outside = 0;
    for round in 0..kills {
        let (point, most) = POINTS[random.random_range(0..POINTS.len())];
        let failpoints = format!("{point}={}*off->return", random.random_range(0..=most));
        let worker = Run::new(&format!("lane-{lane}-round-{round}"), &manifests)
            .environment("FAILPOINTS", &failpoints)
            .start(world.folder())?;
        if !worker.dies(PATIENCE).await.with_context(|| format!("lane {lane} round {round} {failpoints}"))? {
            outside += 1;
            worker.kill().await?;
        }
    }
    eprintln!("kill_points: lane {lane}: {kills} deaths, {outside} of them from outside");
    Ok(())
}
