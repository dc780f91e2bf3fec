//! Sixteen workers share one ledger: nobody starves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use serde_json::Value;
use sluice_e2e::cluster::Cluster;
use sluice_e2e::job::{CHECKPOINT, Job};
use sluice_e2e::ledger::Ledger;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::worker::Worker;
use sluice_e2e::world::{World, promise};

const WORKERS: i32 = 16;
/// Seconds that hardly any commit may wait. Sixteen workers on two processors need a tenth of it; the rest is for whatever
/// else the machine has to do, and what was needed is printed.
const NOBODY_STARVES: f64 = 10.0;
/// Commits that are looked at.
const COMMITS: usize = 160;

#[test]
fn sixteen_workers_with_windows_of_a_second_commit_without_starving() -> Result<()> {
    promise("many_committers", async |world| {
        let topic = world.topic("events", WORKERS).await?;
        let job = world.job(&topic);
        let workers: Vec<Worker> =
            (0..WORKERS).map(|index| world.start(&format!("worker-{index:02}"), &job)).collect::<Result<_>>()?;
        for worker in &workers {
            worker.says("partitions assigned", Duration::from_mins(1)).await?;
        }
        let start = Instant::now();
        while world.kafka().members(&job.group())? < WORKERS as usize {
            ensure!(start.elapsed() < Duration::from_mins(1), "{} members", world.kafka().members(&job.group())?);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let load = Load::start(Sender::new(&world.kafka(), &topic, WORKERS, Recipe::new(world.seed()))?, 800);
        let before = world.ledger(&job).await?.commits.len();
        let enough = |ledger: &Ledger| ledger.commits.len() >= before + COMMITS;
        world.until("everybody commits", &job, Duration::from_mins(1), enough).await?;
        let (_, book) = load.stop().await?;
        for worker in &workers {
            worker.terminate()?;
        }
        for worker in &workers {
            worker.expect(0, Duration::from_mins(1)).await?;
        }
        world.catch_up("last", &job).await?;
        world.judge(&job, &book).await?;
        let (mut waits, committers) = waits(&world, &job)?;
        ensure!(committers >= WORKERS as usize, "{committers} workers have committed anything");
        waits.sort_by(f64::total_cmp);
        let part = |of_hundred: usize| waits[(waits.len() * of_hundred).div_ceil(100).max(1) - 1];
        eprintln!(
            "many_committers: {} commits waited: p50 {:.2} s, p99 {:.2} s, at most {:.2} s",
            waits.len(),
            part(50),
            part(99),
            part(100)
        );
        ensure!(part(99) < NOBODY_STARVES, "the p99 of the waits is {:.2} s", part(99));
        Ok(())
    })
}

/// Seconds from each commit's wish to be decided until it stood in its slot, and how many workers made them.
fn waits(world: &World, job: &Job) -> Result<(Vec<f64>, usize)> {
    let (mut waits, mut workers) = (Vec::new(), BTreeSet::new());
    let ledger = Cluster::files_of(world.bucket().name())?.join(job.path(CHECKPOINT)).join("ledger");
    for file in std::fs::read_dir(&ledger).with_context(|| format!("cannot list {}", ledger.display()))? {
        let file = file?;
        let record: Value = serde_json::from_slice(&std::fs::read(file.path())?)?;
        let wished = string_to_timestamp_nanos(record["time"].as_str().context("a record without a time")?)?;
        let decided = file.metadata()?.modified()?.duration_since(UNIX_EPOCH)?.as_nanos() as i64;
        if record["kind"] == "Commit" {
            waits.push((decided - wished) as f64 / 1e9);
            workers.insert(record["worker"].as_str().context("a commit of nobody")?.to_owned());
        }
    }
    Ok((waits, workers.len()))
}
