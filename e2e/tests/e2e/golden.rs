//! Odd records become exactly the rows and the dead letters that they always became, whatever was made faster since.
//!
//! The golden files are `e2e/golden/*.parquet`. Where rows are to change, `UPDATE=1 make e2e TEST=golden` writes them anew, after Python
//! made the same rows of the same records by itself; say in the commit why they are others.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sluice_e2e::golden::{Corpus, PARTITIONS, RECORDS};
use sluice_e2e::job::write_manifests;
use sluice_e2e::ledger::Ledger;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::readers::{Python, read};
use sluice_e2e::worker::Run;
use sluice_e2e::world::{RUN_LIMIT, promise};

use crate::kafka_to_s3_exactly_once::fill_in;

#[test]
fn odd_records_become_the_rows_and_the_dead_letters_that_they_always_became() -> Result<()> {
    promise("golden", async |world| {
        let topic = world.topic("odd", PARTITIONS).await?;
        let mut sender = Sender::new(&world.kafka(), &topic, PARTITIONS, Recipe::new(0))?;
        let corpus = world.folder().join("corpus.jsonl");
        std::fs::write(&corpus, Corpus::default().send(&mut sender)?)?;
        let manifests = fill_in(include_str!("golden.yaml"), &world, &topic);
        let manifests = write_manifests(world.folder(), "golden", &manifests)?;
        Run::new("run", &manifests).until_caught_up().start(world.folder())?.expect(0, RUN_LIMIT).await?;

        let copy = world.folder().join("copy");
        for prefix in ["golden", "dead"] {
            world.bucket().download(prefix, &copy).await?;
        }
        let arguments: [&Path; 3] = [&copy.join("golden"), &copy.join("dead"), &corpus];
        let seen = read(Python::Readers, "golden.py", &arguments).await?;
        let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/rows.parquet");
        let by_spark = read(Python::Spark, "spark.py", &[Path::new("same"), arguments[0], &rows]).await?;
        ensure!(by_spark["rows"] == seen["rows"], "Spark sees {by_spark}, DuckDB {seen}");
        let counts = Ledger::read(world.bucket(), "checkpoint").await?.counts;
        let seen = |view: &str| seen[view].as_u64().with_context(|| format!("no count of {view}"));
        ensure!((counts.written, counts.dead) == (seen("rows")?, seen("dead")?), "the ledger counts {counts:?}");
        ensure!(counts.read == RECORDS && counts.written + counts.dead + counts.filtered == RECORDS, "{counts:?}");
        Ok(())
    })
}
