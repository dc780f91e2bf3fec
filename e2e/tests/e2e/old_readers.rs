//! The files of a table with `compatibility: Legacy` hold what those without it do, in encodings that old readers know.

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_e2e::job::{Job, TABLE, write_manifests};
use sluice_e2e::produce::{Fate, Recipe, Sender};
use sluice_e2e::readers::read_both;
use sluice_e2e::worker::Run;
use sluice_e2e::world::{RUN_LIMIT, World, promise};

/// Enough to fill the dictionaries of the columns whose values are all distinct.
const RECORDS: u64 = 200_000;

#[test]
fn tables_for_current_and_for_legacy_readers_are_read_alike_by_others() -> Result<()> {
    promise("old_readers", async |world| {
        let topic = world.topic("events", 2).await?;
        let recipe = Recipe { seed: world.seed(), dead_per_mille: 0, filtered_per_mille: 30 };
        Sender::new(&world.kafka(), &topic, 2, recipe)?.send(RECORDS)?;
        let (current, legacy) = (job(&world, &topic, "Current"), job(&world, &topic, "Legacy"));
        run(&world, &current, "Current").await?;
        run(&world, &legacy, "Legacy").await?;

        let tables = [current.path(TABLE), legacy.path(TABLE)];
        let seen =
            read_both(world.bucket(), tables.each_ref().map(String::as_str), &world.folder().join("copy")).await?;
        let written: Vec<u64> = (0..RECORDS).filter(|index| recipe.record(*index).0 == Fate::Written).collect();
        let rows = json!({"rows": written.len(), "ids": written.iter().sum::<u64>(), "distinct": written.len()});
        ensure!(seen["pyarrow"] == rows && seen["duckdb"] == rows, "{seen}, and sent was {rows}");
        let encodings = json!([
            {
                "event_id": ["DELTA_LENGTH_BYTE_ARRAY", "PLAIN", "RLE", "RLE_DICTIONARY"],
                "o": ["DELTA_BINARY_PACKED", "PLAIN", "RLE", "RLE_DICTIONARY"],
            },
            {"event_id": ["PLAIN", "RLE", "RLE_DICTIONARY"], "o": ["PLAIN", "RLE", "RLE_DICTIONARY"]},
        ]);
        ensure!(seen["encodings"] == encodings, "{}", seen["encodings"]);
        Ok(())
    })
}

fn job(world: &World, topic: &str, compatibility: &str) -> Job {
    let mut job = world.job(topic);
    job.folder = compatibility.to_lowercase();
    job.name = format!("{}-{}", job.name, job.folder);
    // One window: a file for each lane and quarter.
    job.period = "10m".to_owned();
    job
}

async fn run(world: &World, job: &Job, compatibility: &str) -> Result<()> {
    let (from, to) = ("{compression: SNAPPY}", format!("{{compression: SNAPPY, compatibility: {compatibility}}}"));
    let manifests = job.manifests();
    ensure!(manifests.contains(from), "the format stands elsewhere now");
    let manifests = write_manifests(world.folder(), &job.name, &manifests.replace(from, &to))?;
    let worker = Run::new(&job.name, &manifests).until_caught_up().start(world.folder())?;
    worker.expect(0, RUN_LIMIT).await
}
