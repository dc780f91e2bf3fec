//! The files of a table with `compatibility: Legacy` hold what those without it do, in encodings that old readers know.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_e2e::job::{Job, TABLE, write_manifests};
use sluice_e2e::produce::{Fate, Recipe, Sender};
use sluice_e2e::readers::{Python, read, read_both};
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
        let copy = world.folder().join("copy");
        let seen = read_both(world.bucket(), tables.each_ref().map(String::as_str), &copy).await?;
        let written: Vec<u64> = (0..RECORDS).filter(|index| recipe.record(*index).0 == Fate::Written).collect();
        let rows = json!({"rows": written.len(), "ids": written.iter().sum::<u64>(), "distinct": written.len()});
        ensure!(seen["pyarrow"] == rows && seen["duckdb"] == rows, "{seen}, and sent was {rows}");
        let by_spark = read(Python::Spark, "spark.py", &[Path::new("count"), &copy.join(&tables[1])]).await?;
        ensure!(by_spark == rows, "Spark sees {by_spark}, and sent was {rows}");
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
    let format = format!("{{compression: SNAPPY, compatibility: {compatibility}}}");
    // Texts of many lengths: readers have lost their place among them.
    let stamp = "concat(event_id, repeat('x', CAST(_kafka.offset % 37 AS INT)))";
    let mut manifests = job.manifests();
    for (from, to) in
        [("{compression: SNAPPY}", format.as_str()), ("stamp: \"${stamp}\"", &format!("stamp: {stamp:?}"))]
    {
        ensure!(manifests.contains(from), "{from} stands elsewhere now");
        manifests = manifests.replace(from, to);
    }
    let manifests = write_manifests(world.folder(), &job.name, &manifests)?;
    let worker = Run::new(&job.name, &manifests).until_caught_up().start(world.folder())?;
    worker.expect(0, RUN_LIMIT).await
}
