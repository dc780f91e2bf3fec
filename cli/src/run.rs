//! `sluice run`: a job from its manifests, on this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use sluice_crds::plan::Mode;
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
        let at = sluice_worker::http::serve(address, Arc::clone(&board))
            .await
            .map_err(|error| Failure::config(format!("--http {address}: {error}")))?;
        tracing::info!(address = %at, "serving /report, /metrics, /healthz, /readyz");
    }
    let options = WorkerOptions { lanes: args.lanes, ..WorkerOptions::new(loaded.secrets.path()) };
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(stop_on_signal(stop));
    let started = Instant::now();
    let shown = progress::show(Arc::clone(&board), None);
    let outcome = pipeline::run(loaded.plan, options, Arc::clone(&board), stopped).await;
    drop(shown);
    let report = board.report();
    if report.totals.batches > 0 || outcome.is_ok() {
        println!("{}", progress::summary(&report.totals, started.elapsed()));
    }
    Ok(outcome?)
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
