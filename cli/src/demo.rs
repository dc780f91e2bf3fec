//! `sluice demo`: the sample job on an embedded Kafka, from nothing to a table that can be queried.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sluice_crds::plan::JobPlan;
use sluice_worker::pipeline::{self, WorkerOptions};
use sluice_worker::report::Board;
use sluice_worker::source::{EmbeddedKafka, EmbeddedProducer};
use sluice_worker::transform::query;
use sluice_worker::write::read_back;
use tokio::sync::watch;

use crate::{Failure, job, progress};

const MANIFEST: &str = include_str!("../../examples/demo.yaml");
const PARTITIONS: i32 = 8;

/// Records that may lie in a partition and wait. The embedded broker drops what is older than 5 MiB; this is half of that.
const MOST_WAITING: i64 = 10_000;

const QUERY: &str = "SELECT event_type, count(*) AS events, round(sum(amount), 2) AS amount, \
     min(event_timestamp) AS first, max(event_timestamp) AS last FROM transactions GROUP BY event_type ORDER BY events DESC";

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many transactions are produced.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    records: u64,
    /// Where the table goes; must not exist yet, or be empty [default: demo-data/<time> in the current folder].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Seed of the transactions: the same seed gives the same records.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Produces, runs, shows.
pub async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let folder = output_folder(args.out)?;
    let (kafka, producer) =
        EmbeddedKafka::start("transactions", PARTITIONS).context("the embedded Kafka cannot start")?;
    let text = MANIFEST
        .replace("127.0.0.1:9092", &kafka.bootstrap_servers())
        .replace("/tmp/sluice-demo/", &format!("{}/", folder.display()));
    let (plan, secrets) = job::load_text("examples/demo.yaml", &text)?;
    eprintln!("Kafka (embedded): {} with topic transactions, {PARTITIONS} partitions", kafka.bootstrap_servers());
    eprintln!("Table:            {}", folder.join("transactions").display());
    eprintln!("Producing {} transactions while the job runs (seed {})", HumanCount(args.records), args.seed);

    let board = Board::new();
    let (stop, stopped) = watch::channel(false);
    let producer = {
        let board = Arc::clone(&board);
        tokio::task::spawn_blocking(move || produce(&producer, &board, args.records, args.seed))
    };
    let started = Instant::now();
    let shown = progress::show(Arc::clone(&board), Some(args.records));
    let options = WorkerOptions::new(secrets.path());
    let job = tokio::spawn(pipeline::run(plan.clone(), options, Arc::clone(&board), stopped));
    let drain = tokio::spawn(drain_when_read(Arc::clone(&board), producer, args.records, stop));
    let outcome = job.await.context("the job broke off")?;
    let elapsed = started.elapsed();
    drop(shown);
    outcome?;
    drain.await.context("the producer broke off")??;

    let totals = board.report().totals;
    println!("{}", progress::summary(&totals, elapsed));
    show_result(&plan, &folder).await?;
    Ok(())
}

fn output_folder(out: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let stamp = jiff::Zoned::now().strftime("%Y%m%d-%H%M%S").to_string();
    let folder = out.unwrap_or_else(|| Path::new("demo-data").join(stamp));
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::config(format!("--out {}: {error}", folder.display())))?;
    let mut entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    if entries.next().is_some() {
        return Err(Failure::config(format!("--out {} is not empty: name another folder", folder.display())));
    }
    let folder = folder.canonicalize().with_context(|| format!("resolving {}", folder.display()))?;
    Ok(folder)
}

/// Produces as fast as the job reads: never more than [`MOST_WAITING`] ahead in a partition.
fn produce(
    kafka: &EmbeddedProducer,
    board: &Board,
    records: u64,
    seed: u64,
) -> Result<(), sluice_worker::source::SourceError> {
    let mut transactions = Transactions::new(seed, records);
    let mut value = Vec::with_capacity(512);
    for number in 0..records {
        if number % 1000 == 0 {
            wait_for_the_job(board, number);
        }
        value.clear();
        transactions.write(&mut value);
        kafka.produce("transactions", (number % PARTITIONS as u64) as i32, &value)?;
    }
    kafka.flush()
}

fn wait_for_the_job(board: &Board, produced: u64) {
    let each = (produced / PARTITIONS as u64) as i64;
    loop {
        let report = board.report();
        let slowest = report.partitions.iter().map(|partition| partition.committed).min();
        let slowest = if report.partitions.len() < PARTITIONS as usize { 0 } else { slowest.unwrap_or(0) };
        if each - slowest < MOST_WAITING {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Drains the job once everything that was produced is committed.
async fn drain_when_read(
    board: Arc<Board>,
    producer: tokio::task::JoinHandle<Result<(), sluice_worker::source::SourceError>>,
    records: u64,
    stop: watch::Sender<bool>,
) -> anyhow::Result<()> {
    let outcome = producer.await?;
    if outcome.is_ok() {
        while committed(&board) < records && !stop.is_closed() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let _ = stop.send(true);
    Ok(outcome?)
}

fn committed(board: &Board) -> u64 {
    board.report().partitions.iter().map(|partition| partition.committed.max(0) as u64).sum()
}

async fn show_result(plan: &JobPlan, folder: &Path) -> Result<(), Failure> {
    let table = folder.join("transactions");
    let rows = read_back::parquet_folder(&table).with_context(|| format!("reading {}", table.display()))?;
    let count: usize = rows.iter().map(read_back::rows).sum();
    let size = read_back::folder_bytes(&table).with_context(|| format!("reading {}", table.display()))?;
    println!("\nThe table holds {} rows in {}.", HumanCount(count as u64), HumanBytes(size));
    println!("{QUERY}");
    println!("{}", query("transactions", rows, QUERY).await.context("the query failed")?);
    println!("\nFiles:        {}", table.display());
    println!("Dead letters: {}", folder.join("dead-letter").display());
    println!("Ledger:       {}", plan.checkpoint.url);
    println!(
        "Try:          duckdb -c \"select count(*) from read_parquet('{}/**/*.parquet', hive_partitioning=true)\"",
        table.display()
    );
    Ok(())
}

/// Deterministic transactions of about 250 bytes over six hours: one in a hundred without id, two in a hundred with an
/// amount that is not positive (both are filtered out), one in a thousand broken in one of several ways (dead letters).
struct Transactions {
    random: StdRng,
    records: u64,
    number: u64,
}

impl Transactions {
    const START_MS: u64 = 1_767_225_600_000;
    const SPAN_MS: u64 = 6 * 3_600_000;
    const TYPES: [&'static str; 6] = ["purchase", "refund", "view", "add_to_cart", "checkout", "signup"];
    const CURRENCIES: [&'static str; 6] = ["USD", "EUR", "GBP", "INR", "JPY", "BRL"];
    const SOURCES: [&'static str; 4] = ["mobile", "web", "partner", "pos"];

    fn new(seed: u64, records: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), records: records.max(1), number: 0 }
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        use std::io::Write;
        let random = &mut self.random;
        let (id, user) = (random.random::<u128>(), random.random_range(0..100_000));
        let kind: u32 = random.random();
        let chance: f64 = random.random();
        let cents = random.random_range(1..50_000);
        let negative = (0.01..0.03).contains(&chance);
        let time = Self::START_MS + self.number * Self::SPAN_MS / self.records;
        let event_id = if chance < 0.01 { "null".to_owned() } else { format!("\"{id:032x}\"") };
        // Writing into a Vec cannot fail.
        let _ = write!(
            out,
            "{{\"event_id\":{event_id},\"user_id\":\"user-{user:06}\",\"event_type\":\"{}\",\"amount\":{}{}.{:02},\
             \"currency\":\"{}\",\"event_time\":{time},\"metadata\":{{\"source\":\"{}\",\"ip\":\"10.{}.{}.{}\",\
             \"campaign\":\"c-{}\",\"app_version\":\"4.{}.{}\"}}}}",
            Self::TYPES[kind as usize % 6],
            if negative { "-" } else { "" },
            cents / 100,
            cents % 100,
            Self::CURRENCIES[(kind >> 8) as usize % 6],
            Self::SOURCES[(kind >> 12) as usize % 4],
            kind & 255,
            (kind >> 8) & 255,
            (kind >> 16) & 255,
            kind % 997,
            kind % 30,
            kind % 7,
        );
        self.number += 1;
        if chance > 0.999 {
            self.spoil(out);
        }
    }

    fn spoil(&mut self, out: &mut Vec<u8>) {
        match self.random.random_range(0..4) {
            0 => out.truncate(out.len() / 2),
            1 => out[20] = 0xff,
            2 => *out = br#"{"event_id":"x","amount":"a lot"}"#.to_vec(),
            _ => out.extend_from_slice(br#"{"event_id":"second"}"#),
        }
    }
}
