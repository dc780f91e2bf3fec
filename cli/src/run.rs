//! `sluice run`: a job from its manifests, on this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use sluice_crds::plan::{JobPlan, Mode};
use sluice_worker::error::Stop;
use sluice_worker::http::{self, Served};
use sluice_worker::pipeline::{self, WorkerOptions};
use sluice_worker::report::Board;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::job::{JobArgs, load};
use crate::{Failure, progress};

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Read to the end offsets seen at the start, then end, whatever spec.mode says.
    #[arg(long)]
    until_caught_up: bool,
    /// Serve /report, /metrics, /healthz and /readyz at this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Threads that decode, transform and encode [default: one for each core].
    #[arg(long, value_name = "N")]
    lanes: Option<usize>,
}

/// Runs until the job completes, a signal asks to drain, or it cannot go on.
pub async fn run(args: RunArgs) -> Result<(), Failure> {
    let mut loaded = load(&args.job)?;
    if args.until_caught_up {
        loaded.plan.mode = Mode::UntilCaughtUp;
    }
    let board = Board::new();
    if let Some(address) = args.http {
        serve("--http", address, Arc::clone(&board)).await?;
    }
    let started = Instant::now();
    let shown = progress::show(Arc::clone(&board), None);
    let outcome = work(loaded.plan, loaded.secrets.path(), args.lanes, Arc::clone(&board)).await;
    drop(shown);
    let report = board.report();
    if report.totals.batches > 0 || outcome.is_ok() {
        println!("{}", progress::summary(&report.totals, started.elapsed()));
    }
    Ok(outcome?)
}

/// Works on a plan until it completes, a signal asks to drain, or it cannot go on.
pub async fn work(plan: JobPlan, secrets: &Path, lanes: Option<usize>, board: Arc<Board>) -> Result<(), Stop> {
    let options = WorkerOptions { lanes, ..WorkerOptions::new(secrets) };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(stop_on_signal(stop));
    pipeline::run(plan, options, board, stopped).await
}

/// Serves what can be asked at the address that a flag gives.
pub async fn serve<S: Served>(flag: &str, address: SocketAddr, served: Arc<S>) -> Result<(), Failure> {
    let at = http::serve(address, served).await;
    let at = at.map_err(|error| Failure::config(format!("{flag} {address}: {error}")))?;
    tracing::info!(address = %at, "serving /report, /metrics, /healthz, /readyz");
    Ok(())
}

/// SIGTERM and Ctrl-C drain; a second one ends the process at once.
async fn stop_on_signal(stop: watch::Sender<bool>) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be received; the worker can only be killed");
        return;
    };
    for times in 1.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if times == 2 {
            std::process::exit(130);
        }
        tracing::info!("draining: the open window is committed first");
        let _ = stop.send(true);
    }
}
