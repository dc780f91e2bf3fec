//! `pipeline`: what a record costs, in Sluice and in others, on the same topics of a real broker.

mod load;
mod machine;
mod manifest;
mod meter;
mod peers;
mod profile;
mod sluice;
mod stand;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use sluice_bench::results::{Results, Run, Series, page};
use sluice_bench::shapes::{self, Shape};

use load::Topic;
use peers::Peers;
use stand::Stand;

/// What a record costs in Sluice and in others.
#[derive(Debug, Parser)]
#[command(name = "pipeline", max_term_width = 100)]
struct Flags {
    /// Runs of each program on the sample job.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Runs on each other shape.
    #[arg(long, default_value_t = 3)]
    shape_runs: usize,
    /// Records, as a part of what each shape has by itself.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only programs whose names contain one of these.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only shapes whose names contain one of these; `none` for none.
    #[arg(long, value_delimiter = ',')]
    shapes: Vec<String>,
    /// Leave out the programs that are not ours.
    #[arg(long)]
    no_peers: bool,
    /// Leave out decoding alone.
    #[arg(long)]
    no_decode: bool,
    /// Of all records.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// The folder of the programs `sluice`, `floor` and `decode`.
    #[arg(long)]
    programs: PathBuf,
    /// The page to write; without it, it is printed.
    #[arg(long)]
    page: Option<PathBuf>,
    /// A folder for profiles: each shape is run once more under `perf`, and `<shape>.txt` says where the time went.
    #[arg(long)]
    profiles: Option<PathBuf>,
    /// Everything that was measured, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// The longest that one run may take.
const LIMIT: Duration = Duration::from_mins(10);

#[tokio::main]
async fn main() -> Result<()> {
    // It fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let flags = Flags::parse();
    let stand = Stand::start(&flags.programs).await?;
    let peers = (!flags.no_peers).then(Peers::find).transpose()?;
    let mut results = Results {
        machine: machine::describe()?,
        date: jiff::Zoned::now().date().to_string(),
        versions: machine::versions(peers.as_ref()),
        seed: flags.seed,
        ..Results::default()
    };
    if !flags.no_decode {
        tell("decoding alone");
        results.decode = stand.decode().await?;
    }
    let scaled = |shape: Shape| {
        let records = (shape.records as f64 * flags.scale) as u64;
        shape.with_records(records)
    };
    results.sample = sample(&stand, peers.as_ref(), &flags, &scaled(shapes::sample())).await?;
    results.windows = windows(&stand, &flags, &scaled(shapes::long_sample())).await?;
    for shape in shapes::all().into_iter().map(scaled).filter(|shape| wanted(&flags.shapes, shape.name)) {
        results.shapes.push(one_shape(&stand, &flags, &shape).await?);
    }
    if let Some(path) = &flags.json {
        std::fs::write(path, serde_json::to_string_pretty(&results)? + "\n")?;
    }
    let text = page(&results);
    match &flags.page {
        Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    stand.clear()
}

fn wanted(only: &[String], name: &str) -> bool {
    only.is_empty() || only.iter().any(|part| name.contains(part.as_str()))
}

/// The sample job by all programs, in alternation: what the machine does beside it meets all of them.
async fn sample(stand: &Stand, peers: Option<&Peers>, flags: &Flags, shape: &Shape) -> Result<Vec<Series>> {
    let mut programs = Stand::programs();
    programs.extend(peers.into_iter().flat_map(Peers::programs));
    in_turn(stand, flags, shape, programs).await
}

/// Windows of different lengths. The records last for many windows of a second.
async fn windows(stand: &Stand, flags: &Flags, shape: &Shape) -> Result<Vec<Series>> {
    in_turn(stand, flags, shape, sluice::WINDOWS.iter().map(Program::Ours).collect()).await
}

async fn in_turn(stand: &Stand, flags: &Flags, shape: &Shape, mut programs: Vec<Program>) -> Result<Vec<Series>> {
    programs.retain(|program| wanted(&flags.only, program.name()));
    if programs.is_empty() || flags.runs == 0 {
        return Ok(Vec::new());
    }
    let topic = fill(stand, flags, shape).await?;
    let series = |program: &Program| Series {
        name: program.name().to_owned(),
        about: program.about().to_owned(),
        runs: Vec::new(),
    };
    let mut all: Vec<Series> = programs.iter().map(series).collect();
    for round in 1..=flags.runs {
        for (program, series) in programs.iter().zip(&mut all) {
            let run = match program {
                Program::Ours(job) => stand.run(job, shape, &topic).await,
                Program::Floor(floor) => stand.floor(floor, &topic).await,
                Program::Peer(peer) => stand.peer(peer, &topic).await,
            };
            let run = run.with_context(|| format!("{}, run {round}", series.name))?;
            told(&series.name, &run);
            series.runs.push(run);
        }
    }
    stand.kafka().delete_topic(&topic.name).await?;
    Ok(all)
}

async fn one_shape(stand: &Stand, flags: &Flags, shape: &Shape) -> Result<Series> {
    let topic = fill(stand, flags, shape).await?;
    let mut series = Series { name: shape.name.to_owned(), about: shape.about.to_owned(), runs: Vec::new() };
    for _ in 0..flags.shape_runs {
        let run = stand.run(&sluice::DISK, shape, &topic).await.with_context(|| format!("the shape {}", shape.name))?;
        told(shape.name, &run);
        series.runs.push(run);
    }
    if let Some(folder) = &flags.profiles {
        stand.profile(shape, &topic, folder).await.with_context(|| format!("the profile of {}", shape.name))?;
    }
    stand.kafka().delete_topic(&topic.name).await?;
    Ok(series)
}

async fn fill(stand: &Stand, flags: &Flags, shape: &Shape) -> Result<Topic> {
    tell(&format!("{} records of the shape {}", shape.records, shape.name));
    load::fill(&stand.kafka(), shape, flags.seed).await
}

/// A program that reads the topic of the sample job.
enum Program {
    Ours(&'static sluice::Variant),
    Floor(&'static stand::Floor),
    Peer(peers::Peer),
}

impl Program {
    fn name(&self) -> &str {
        match self {
            Self::Ours(variant) => variant.name,
            Self::Floor(floor) => floor.name,
            Self::Peer(peer) => peer.name,
        }
    }

    fn about(&self) -> &str {
        match self {
            Self::Ours(variant) => variant.about,
            Self::Floor(floor) => floor.about,
            Self::Peer(peer) => peer.about,
        }
    }
}

fn told(name: &str, run: &Run) {
    tell(&format!(
        "{name}: {:.0} k records per CPU second, {:.2} CPU s, {:.2} s, {} MiB, {} files",
        run.rate() / 1000.0,
        run.cpu,
        run.wall,
        run.peak >> 20,
        run.files
    ));
}

/// What is under way, beside the result.
fn tell(what: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}
