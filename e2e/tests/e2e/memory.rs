//! A worker without a limit stays small, however much there is to read.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::bucket::Bucket;
use sluice_e2e::bulk::{self, Sent};
use sluice_e2e::job::write_manifests;
use sluice_e2e::ledger::{Counts, Ledger};
use sluice_e2e::produce::Recipe;
use sluice_e2e::usage;
use sluice_e2e::worker::Run;
use sluice_e2e::world::{World, promise};

use crate::kafka_to_s3_exactly_once::{CHECKPOINT, manifests};

const RECORDS: u64 = 2_000_000;
const SIZE: usize = 250;
const PARTITIONS: i32 = 8;
/// The budget of a worker without a limit is 192 MiB; the rest is the program itself and what its allocator keeps.
const MOST: u64 = 384 << 20;
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn two_million_records_stay_under_384_mebibytes() -> Result<()> {
    promise("memory", async |world| {
        let topic = world.topic("transactions", PARTITIONS).await?;
        let recipe = Recipe::new(world.seed());
        let kafka = world.kafka();
        let name = topic.clone();
        let send = move || bulk::send(&kafka, &name, PARTITIONS, &recipe, RECORDS, SIZE);
        let sent = tokio::task::spawn_blocking(send).await??;

        // As long as the window of the sample job: only the memory cuts the files.
        let text = manifests(&world, &topic).replace("{period: 2s}", "{period: 100s}");
        read_all(&world, "s3", &text, world.bucket(), &sent).await?;
        let folder = world.folder().join("lake");
        std::fs::create_dir_all(&folder)?;
        let local = on_disk(&text, world.bucket(), &folder);
        read_all(&world, "disk", &local, &Bucket::folder(&folder)?, &sent).await?;
        // Half a gigabyte is no evidence of anything once the promise is kept.
        std::fs::remove_dir_all(&folder)?;
        world.kafka().delete_topic(&topic).await
    })
}

/// The same job with its files in a folder.
fn on_disk(manifests: &str, bucket: &Bucket, folder: &Path) -> String {
    let manifests = manifests.replace(bucket.root(), &format!("file://{}", folder.display()));
    manifests
        .replace(", connectionRef: {name: lake}", "")
        .replace("{name: transactions}\nspec:\n  source", "{name: local}\nspec:\n  source")
}

async fn read_all(world: &World, name: &str, manifests: &str, files: &Bucket, sent: &Sent) -> Result<()> {
    let manifests = write_manifests(world.folder(), name, manifests)?;
    let worker = Run::new(name, &manifests).until_caught_up().start(world.folder())?;
    let usage = usage::until_the_end(&worker, LIMIT).await?;
    worker.expect(0, Duration::from_secs(1)).await?;
    let records = RECORDS as f64;
    eprintln!(
        "memory: {name}: {:.0} MiB at most, {:.0} records/s, {:.0} records per processor second",
        usage.peak as f64 / f64::from(1 << 20),
        records / usage.wall,
        records / usage.cpu
    );
    let checkpoint = if name == "disk" { CHECKPOINT.replace("transactions", "local") } else { CHECKPOINT.to_owned() };
    let counts = Ledger::read(files, &checkpoint).await?.counts;
    let Sent { written, filtered, dead } = *sent;
    ensure!(counts == Counts { read: RECORDS, written, filtered, dead }, "{counts:?}");
    ensure!(usage.peak < MOST, "{name}: {} bytes were resident at once", usage.peak);
    Ok(())
}
