//! A worker ends at every step, one after another, and then at steps that chance names, again and again: nothing is lost, and nothing is seen twice at any time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sluice_e2e::bucket::Bucket;
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::worker::Run;
use sluice_e2e::world::{World, promise};

/// Jobs side by side: while one waits for the group to notice a death, another one works.
const LANES: u64 = 3;

/// The steps of a batch on S3, and at most how often each is passed before the end comes.
const ON_S3: [(&str, u32); 11] = [
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

/// The same in a folder of this machine, where files are renamed.
const IN_A_FOLDER: [(&str, u32); 11] = [
    ("commit.before", 3),
    ("commit.after", 3),
    ("ledger.put.before", 5),
    ("ledger.put.after", 5),
    ("publish.before", 3),
    ("publish.between", 3),
    ("publish.after", 3),
    ("store.part.before", 20),
    ("store.part.after", 20),
    ("store.rename.before", 12),
    ("store.rename.after", 12),
];

/// A step that does not come in this time is not waited for: the worker is killed wherever it is.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn whatever_step_a_worker_dies_at_nothing_is_lost_or_doubled() -> Result<()> {
    promise("kill_points", async |world| {
        let topic = world.topic("events", 4).await?;
        let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 500);
        let kills = kills()?.div_ceil(LANES);
        let lanes: Vec<Lane> = (0..LANES).map(|number| Lane::new(&world, &topic, number)).collect::<Result<_>>()?;
        let watchers: Vec<_> = lanes.iter().map(|lane| lane.world.watch(&lane.job)).collect();
        try_join_all(lanes.iter().map(|lane| lane.die_again_and_again(kills))).await?;
        let (_, book) = load.stop().await?;
        for (lane, watcher) in lanes.iter().zip(watchers) {
            lane.world.catch_up(&format!("last-{}", lane.number), &lane.job).await?;
            let seen = watcher.finish().await?;
            eprintln!("kill_points: lane {}: {seen:?}", lane.number);
            lane.world.judge(&lane.job, &book).await?;
        }
        Ok(())
    })
}

/// `$SLUICE_KILLS`, or a hundred.
fn kills() -> Result<u64> {
    let kills = std::env::var("SLUICE_KILLS").ok();
    kills.map_or(Ok(100), |kills| kills.parse().context("SLUICE_KILLS is not a number"))
}

/// A job whose workers die one after another.
struct Lane {
    number: u64,
    world: World,
    job: Job,
    points: [(&'static str, u32); 11],
}

impl Lane {
    /// The last lane has its files in a folder.
    fn new(world: &World, topic: &str, number: u64) -> Result<Self> {
        let local = number == LANES - 1;
        let world = if local {
            let folder = world.folder().join("files");
            std::fs::create_dir_all(&folder)?;
            world.with_files_in(Bucket::folder(&folder)?, world.endpoint())
        } else {
            world.clone()
        };
        let job = world.job(topic);
        let (name, folder) = (format!("{}-{number}", job.name), format!("lane-{number}"));
        let job = Job { name, folder, session_ms: Some(1000), ..job };
        Ok(Self { number, world, job, points: if local { IN_A_FOLDER } else { ON_S3 } })
    }

    async fn die_again_and_again(&self, kills: u64) -> Result<()> {
        let Self { number, world, job, points } = self;
        let mut random = StdRng::seed_from_u64(world.seed() ^ number);
        let manifests = job.write(world.folder())?;
        let mut outside = 0;
        for round in 0..kills {
            // Each step once, when it comes first; then as chance has it.
            let named = points.get(round as usize);
            let (point, most) = named.unwrap_or(&points[random.random_range(0..points.len())]);
            let passes = if named.is_some() { 0 } else { random.random_range(0..=*most) };
            let failpoints = format!("{point}={passes}*off->return");
            let worker = Run::new(&format!("lane-{number}-round-{round}"), &manifests)
                .environment("FAILPOINTS", &failpoints)
                .start(world.folder())?;
            if !worker.dies(PATIENCE).await.with_context(|| format!("lane {number} round {round} {failpoints}"))? {
                ensure!(named.is_none(), "lane {number}: no worker ever came to {point}");
                outside += 1;
                worker.kill().await?;
            }
        }
        eprintln!("kill_points: lane {number}: {kills} deaths, {outside} of them from outside");
        Ok(())
    }
}
