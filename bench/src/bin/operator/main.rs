//! `operator`: what the operator of Sluice costs with a thousand jobs. `bench/operator.sh` starts an API server for it.
//!
//! etcd, API server, controller manager and operator are the real programs. Kubelets, workers and agents are played from here: pods run as
//! soon as they are made, and what they tell follows from the clock.

mod audit_log;
mod kubelet;
mod pods;
mod process;
mod program;
mod sample;
mod sights;
mod stage;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use kube::Client;
use sluice_bench::figures::{Figures, Phase, Setting, Waits, Writes};

use audit_log::AuditLog;
use program::Program;
use stage::Stage;

/// What the operator of Sluice costs with a thousand jobs.
#[derive(Debug, Parser)]
#[command(name = "operator", max_term_width = 100)]
struct Flags {
    /// StreamingJobs.
    #[arg(long, default_value_t = 1000)]
    jobs: usize,
    /// Workers of each.
    #[arg(long, default_value_t = 1)]
    workers: i32,
    /// Namespaces that they are spread over.
    #[arg(long, default_value_t = 20)]
    namespaces: usize,
    /// Jobs that are applied in a second.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
    /// How long it is measured at rest, and then while lag moves: minutes.
    #[arg(long, default_value_t = 3.0)]
    minutes: f64,
    /// Repeats a run with the same positions and phases.
    #[arg(long)]
    seed: Option<u64>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    program: program::Settings,
    /// The audit log of the API server, with one line for each request of the operator.
    #[arg(long)]
    audit_log: PathBuf,
    /// Other programs whose processor time is measured: name=pid.
    #[arg(long, value_parser = named)]
    beside: Vec<(String, u32)>,
}

fn named(text: &str) -> Result<(String, u32)> {
    let (name, pid) = text.split_once('=').context("name=pid")?;
    Ok((name.to_owned(), pid.parse()?))
}

/// The longest that anything may take that is waited for.
const PATIENCE: Duration = Duration::from_mins(10);

#[tokio::main]
async fn main() -> Result<()> {
    // It fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let flags = Flags::parse();
    let seed = flags.seed.unwrap_or_else(rand::random);
    tell(&format!("seed {seed}"));
    let client = Client::try_default().await.context("there is no way to the API server")?;
    let stage = Stage::new(client, &flags, seed).await?;
    let mut played = stage.play();
    let figures = tokio::select! {
        figures = measure(&stage, &flags, seed) => figures?,
        Some(ended) = played.join_next() => return ended?.context("what is played has ended"),
    };
    let text = if flags.json { serde_json::to_string_pretty(&figures)? + "\n" } else { figures.table() };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// All of it, in order.
async fn measure(stage: &Stage, flags: &Flags, seed: u64) -> Result<Figures> {
    tell("connections and tables are made");
    stage.furnish().await?;
    let mut meter = Meter { stage, log: AuditLog::open(&flags.audit_log)?, beside: &flags.beside };
    let mut program = Program::start(&flags.program)?;
    program.meanwhile(stage.until_furnished(PATIENCE)).await?;

    tell("jobs come");
    let start = meter.start(&program)?;
    let applied = stage.apply(flags.rate).await?;
    program.meanwhile(stage.until_ready(PATIENCE)).await?;
    let coming = meter.stop(&start, &program)?;
    let after_apply = process::memory(program.pid)?;

    tell("another operator takes over");
    program.stop().await?;
    let mut program = Program::start(&flags.program)?;
    let start = meter.start(&program)?;
    program.meanwhile(stage.pods.until_asked(2, PATIENCE)).await?;
    let restart = meter.stop(&start, &program)?;
    let after_restart = process::memory(program.pid)?;

    tell("at rest");
    let rest = meter.during(&mut program, flags.minutes).await?;
    tell("lag moves");
    stage.pods.move_lag();
    program.meanwhile(stage.pods.until_asked(2, PATIENCE)).await?;
    let moving = meter.during(&mut program, flags.minutes).await?;
    let at_end = process::memory(program.pid)?;
    program.stop().await?;
    let setting =
        Setting { jobs: flags.jobs, workers: flags.workers, namespaces: flags.namespaces, rate: flags.rate, seed };
    let (stateful_set, ready) = stage.waits(&applied);
    let apply = Waits::of(applied.values().map(|applied| applied.took).collect());
    Ok(Figures {
        setting,
        stateful_set,
        ready,
        apply,
        after_apply,
        after_restart,
        at_end,
        coming,
        restart,
        rest,
        moving,
    })
}

/// Where the counters stood.
struct Start {
    at: Instant,
    cpu: f64,
    beside: Vec<f64>,
    writes: Writes,
}

/// Counts what happens between two moments.
struct Meter<'a> {
    stage: &'a Stage,
    log: AuditLog,
    beside: &'a [(String, u32)],
}

impl Meter<'_> {
    fn start(&mut self, program: &Program) -> Result<Start> {
        // What was before is nobody's.
        self.log.look()?;
        Ok(Start {
            at: Instant::now(),
            cpu: process::cpu(program.pid)?,
            beside: self.beside()?,
            writes: self.stage.sights.writes(),
        })
    }

    fn stop(&mut self, start: &Start, program: &Program) -> Result<Phase> {
        let names = self.beside.iter().map(|(name, _)| name.clone());
        Ok(Phase {
            seconds: start.at.elapsed().as_secs_f64(),
            cpu: process::cpu(program.pid)? - start.cpu,
            beside: names.zip(self.beside()?.into_iter().zip(&start.beside).map(|(now, then)| now - then)).collect(),
            requests: self.log.look()?,
            writes: self.stage.sights.writes().since(start.writes),
        })
    }

    fn beside(&self) -> Result<Vec<f64>> {
        self.beside.iter().map(|(_, pid)| process::cpu(*pid)).collect()
    }

    async fn during(&mut self, program: &mut Program, minutes: f64) -> Result<Phase> {
        let start = self.start(program)?;
        let time = Duration::try_from_secs_f64(minutes * 60.0)?;
        let pause = async {
            tokio::time::sleep(time).await;
            Ok(())
        };
        program.meanwhile(pause).await?;
        self.stop(&start, program)
    }
}

/// What is under way, beside the result.
fn tell(what: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}
