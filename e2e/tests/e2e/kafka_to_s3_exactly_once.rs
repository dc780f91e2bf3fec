//! The sample job: a topic becomes a partitioned Parquet table that any reader can read, every record exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::bucket::Bucket;
use sluice_e2e::job::write_manifests;
use sluice_e2e::ledger::{Counts, Ledger};
use sluice_e2e::produce::{FIRST_TIME, Fate, Recipe, Sender};
use sluice_e2e::readers::read_table;
use sluice_e2e::s3::{ACCESS_KEY, SECRET_KEY};
use sluice_e2e::table::dead_letters;
use sluice_e2e::worker::{Run, sluice};
use sluice_e2e::world::{RUN_LIMIT, World, promise};

const RECORDS: u64 = 60_000;
/// Beside the table, because the manifest does not say where.
pub(crate) const CHECKPOINT: &str = "payments/_sluice/default.transactions";

#[test]
fn the_sample_job_writes_a_table_that_others_can_read() -> Result<()> {
    promise("sample_job", async |world| {
        let topic = world.topic("transactions", 8).await?;
        let recipe = Recipe::new(world.seed());
        let book = Sender::new(&world.kafka(), &topic, 8, recipe)?.send(RECORDS)?;
        let manifests = write_manifests(world.folder(), "transactions", &manifests(&world, &topic))?;
        Run::new("run", &manifests).until_caught_up().start(world.folder())?.expect(0, RUN_LIMIT).await?;

        let ledger = Ledger::read(world.bucket(), CHECKPOINT).await?;
        let (written, filtered, dead) = (book.written.len() as u64, book.filtered.len() as u64, book.dead.len() as u64);
        ensure!(ledger.counts == Counts { read: RECORDS, written, filtered, dead }, "{:?}", ledger.counts);
        ensure!(ledger.unpublished.is_empty() && ledger.run.is_none(), "it left before everything was visible");
        ensure!(ledger.reaches(&world.kafka().ends(&topic)?), "positions {:?}", ledger.positions);
        check_readers(&world, &recipe).await?;
        check_dead_letters(world.bucket(), dead).await?;

        let manifests = manifests.to_str().context("a folder that is not UTF-8")?;
        for (name, arguments) in [("verify", ["ledger", "verify"]), ("show", ["ledger", "show"])] {
            let (code, output) = sluice(world.folder(), name, &[&arguments[..], &["-f", manifests]].concat()).await?;
            ensure!(code == 0, "`sluice ledger {name}` ended with {code}:\n{output}");
        }
        Ok(())
    })
}

#[test]
fn a_second_run_finds_nothing_to_do_and_a_third_goes_on_where_the_first_ended() -> Result<()> {
    promise("run_again", async |world| {
        let topic = world.topic("events", 3).await?;
        let job = world.job(&topic);
        let mut sender = Sender::new(&world.kafka(), &topic, 3, Recipe::new(world.seed()))?;
        let mut book = sender.send(5000)?;
        world.catch_up("first", &job).await?;
        let objects = world.bucket().list(&job.path("lake")).await?.len();
        world.catch_up("second", &job).await?;
        ensure!(world.bucket().list(&job.path("lake")).await?.len() == objects, "the second run wrote files");
        book.add(sender.send(5000)?);
        world.catch_up("third", &job).await?;
        world.judge(&job, &book).await
    })
}

#[test]
fn sigterm_drains_and_the_group_shows_the_positions() -> Result<()> {
    promise("drain", async |world| {
        let topic = world.topic("events", 2).await?;
        let mut job = world.job(&topic);
        // Longer than the test: only the drain closes this window.
        job.period = "10m".to_owned();
        let worker = world.start("worker", &job)?;
        let book = Sender::new(&world.kafka(), &topic, 2, Recipe::new(world.seed()))?.send(4000)?;
        let started = |ledger: &Ledger| !ledger.positions.is_empty();
        world.until("the job has started", &job, Duration::from_secs(30), started).await?;
        // A drain commits what was read; how much that is depends on the moment, and none of it is lost.
        worker.drain().await?;
        let ledger = world.ledger(&job).await?;
        ensure!(ledger.unpublished.is_empty(), "it left before everything was visible");
        world.catch_up("rest", &job).await?;
        world.judge(&job, &book).await?;
        let committed = world.kafka().committed(&job.group(), &topic)?;
        let ends = world.kafka().ends(&topic)?;
        ensure!(committed.len() == 2, "the group shows {committed:?}");
        for (partition, (offset, metadata)) in committed {
            ensure!(offset == ends[&partition], "partition {partition}: the group shows {offset}, the end is {ends:?}");
            ensure!(metadata.starts_with("sluice:"), "metadata {metadata:?}");
        }
        Ok(())
    })
}

pub(crate) fn manifests(world: &World, topic: &str) -> String {
    fill_in(include_str!("transactions.yaml"), world, topic)
}

/// Manifests with this world in the places between at signs.
pub(crate) fn fill_in(manifests: &str, world: &World, topic: &str) -> String {
    [
        ("@ACCESS_KEY@", ACCESS_KEY),
        ("@SECRET_KEY@", SECRET_KEY),
        ("@BOOTSTRAP@", world.kafka().bootstrap()),
        ("@ENDPOINT@", world.endpoint()),
        ("@BUCKET@", world.bucket().name()),
        ("@TOPIC@", topic),
    ]
    .iter()
    .fold(manifests.to_owned(), |text, (name, value)| text.replace(name, value))
}

async fn check_readers(world: &World, recipe: &Recipe) -> Result<()> {
    let folder = world.folder().join("copy");
    let seen = read_table(world.endpoint(), world.bucket(), "payments/transactions", &folder).await?;
    let (partitions, rows) = expected(recipe)?;
    for reader in ["pyarrow", "duckdb"] {
        let seen = &seen[reader];
        ensure!(seen["rows"] == rows && seen["ids"] == rows, "{reader}: {} rows, {} ids", seen["rows"], seen["ids"]);
        ensure!(seen["misplaced"] == 0, "{reader}: rows in the wrong folder: {}", seen["misplaced"]);
        ensure!(seen["partitions"] == partitions, "{reader}: {}\nexpected: {partitions}", seen["partitions"]);
    }
    let arrow = json!({
        "event_id": "string", "user_id": "string", "event_type": "string", "amount": "double", "currency": "string",
        "event_timestamp": "timestamp[us, tz=UTC]", "event_date": "date32[day]", "event_hour": "int32",
    });
    ensure!(seen["pyarrow"]["schema"] == arrow, "pyarrow sees {}", seen["pyarrow"]["schema"]);
    let duckdb = json!({
        "event_id": "VARCHAR", "user_id": "VARCHAR", "event_type": "VARCHAR", "amount": "DOUBLE", "currency": "VARCHAR",
        "event_timestamp": "TIMESTAMP WITH TIME ZONE", "event_date": "DATE", "event_hour": "INTEGER",
    });
    ensure!(seen["duckdb"]["schema"] == duckdb, "duckdb sees {}", seen["duckdb"]["schema"]);
    Ok(())
}

/// Day, hour, rows and cents of each partition of the table, and all its rows.
fn expected(recipe: &Recipe) -> Result<(Value, u64)> {
    const HOUR: i64 = 3_600_000;
    let mut hours = BTreeMap::<i64, (u64, i64)>::new();
    let mut rows = 0;
    for (fate, value) in (0..RECORDS).map(|index| recipe.record(index)) {
        if fate == Fate::Written {
            let value: Value = serde_json::from_slice(&value)?;
            let hour = (value["event_time"].as_i64().context("no time")? - FIRST_TIME) / HOUR;
            let cents = (value["amount"].as_f64().context("no amount")? * 100.0).round() as i64;
            let sums = hours.entry(hour).or_default();
            *sums = (sums.0 + 1, sums.1 + cents);
            rows += 1;
        }
    }
    // One second for each record, from the first of January: the day of the month is enough.
    let row = |(hour, (rows, cents)): (i64, (u64, i64))| {
        json!([format!("2026-01-{:02}", hour / 24 + 1), hour % 24, rows, cents])
    };
    Ok((hours.into_iter().map(row).collect(), rows))
}

async fn check_dead_letters(bucket: &Bucket, expected: u64) -> Result<()> {
    let letters = dead_letters(bucket, "dead-letter/transactions").await?;
    ensure!(letters.len() as u64 == expected, "{} dead letters, not {expected}", letters.len());
    for letter in letters {
        for field in ["topic", "partition", "offset", "timestamp", "key", "headers", "stage", "code", "message"] {
            ensure!(!letter[field].is_null(), "a dead letter has no {field}: {letter}");
        }
    }
    Ok(())
}
