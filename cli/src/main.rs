//! `sluice`: streaming ETL from Kafka to partitioned Parquet, exactly once.
//!
//! The command line runs the worker's own code on the very manifests that a cluster takes.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod agent;
mod demo;
mod job;
mod ledger;
mod progress;
mod run;
mod validate;
mod worker;

/// Streaming ETL from Kafka to partitioned Parquet, exactly once.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a StreamingJob from its manifests, here and now.
    Run(run::RunArgs),
    /// Check manifests without touching the network: schema, references, transforms.
    Validate(validate::ValidateArgs),
    /// Look at the ledger of a job: its commits, and whether everything it says is true.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Run the sample job on an embedded Kafka into a local folder.
    Demo(demo::DemoArgs),
    /// Run a plan that the operator resolved. This is what the pods of a job do.
    Worker(worker::WorkerArgs),
    /// Test connections, check plans and measure lag in a namespace. This is what the pod of an agent does.
    Agent(agent::AgentArgs),
}

impl Command {
    /// Does a pod run it, whose logs machines read?
    fn is_of_a_pod(&self) -> bool {
        matches!(self, Self::Worker(_) | Self::Agent(_))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.command.is_of_a_pod());
    // Fails only when a provider is already there, and then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Err(error) = sluice_worker::fault::arm() {
        eprintln!("error: ConfigInvalid: {error}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: Internal: the runtime cannot start: {error}");
            return ExitCode::from(70);
        }
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(args).await,
            Command::Validate(args) => validate::validate(args).await,
            Command::Ledger(command) => ledger::run(command).await,
            Command::Demo(args) => demo::demo(args).await,
            Command::Worker(args) => worker::worker(args).await,
            Command::Agent(args) => agent::agent(args).await,
        }
    });
    // Threads of libraries that wait for a server that is gone must not hold the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code)
        }
    }
}

/// Logs go to standard error; `RUST_LOG` chooses, by default warnings and what the worker does. In a pod each line is a JSON object.
fn log_to_stderr(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,sluice=info,sluice_worker=info,librdkafka=error"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(progress::LogWriter);
    if json {
        logs.json().flatten_event(true).init();
    } else {
        logs.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_target(false).init();
    }
}

/// How a command ends when it does not succeed.
#[derive(Debug)]
pub struct Failure {
    /// The exit code; docs/exit-codes.md lists them.
    pub code: u8,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<sluice_worker::error::Stop> for Failure {
    fn from(stop: sluice_worker::error::Stop) -> Self {
        Self { code: stop.exit_code, message: stop.to_string() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { code: 70, message: format!("Internal: {error:#}") }
    }
}

impl Failure {
    /// Something that the user gave is wrong.
    pub fn config(message: impl std::fmt::Display) -> Self {
        Self { code: 2, message: format!("ConfigInvalid: {message}") }
    }
}
