//! `sluice-operator`: starts, takes the lease, reconciles, and leaves when asked to. `sluice-operator check` asks one that runs.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use sluice_operator::check::Check;
use sluice_operator::controllers;
use sluice_operator::http::{self, Health};
use sluice_operator::leader::Leadership;
use sluice_operator::settings::{LogFormat, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

// One thread: what is done here is little beside waiting for others, and each thread of a large node would have a heap of its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    // First of all: kube's TLS asks for the process's provider. It fails only when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The one thing that this program does besides operating.
    if std::env::args_os().nth(1).is_some_and(|word| word == "check") {
        let outcome = Check::parse_from(std::env::args_os().skip(1)).run().await;
        // A person reads this, by `helm test`: the words, and no backtrace.
        return Ok(outcome.map_or_else(
            |error| {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        ));
    }
    let settings = Settings::parse();
    log(settings.log_format);
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    let health = Arc::new(Health::default());
    http::serve(settings.listen, Arc::clone(&health))
        .await
        .with_context(|| format!("cannot listen on {}", settings.listen))?;
    let client = Client::try_default().await.context("there is no way to the API server")?;
    let cluster = cluster_uid(&client, &settings).await?;
    if !settings.leader_election {
        health.metrics.leads(true);
        controllers::run(client, &settings, &cluster, &health, stop).await?;
        return Ok(ExitCode::SUCCESS);
    }
    // Standing by is being ready: else a rollout of several replicas would wait for ever.
    health.ready(true);
    let mut leadership = tokio::select! {
        leadership = Leadership::acquire(client.clone(), &settings) => leadership.context("cannot take the lease")?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    // From here on, it is what this operator does that counts.
    health.ready(false);
    health.metrics.leads(true);
    tokio::select! {
        ended = controllers::run(client, &settings, &cluster, &health, stop) => {
            leadership.leave().await;
            ended?;
        }
        () = leadership.lost() => anyhow::bail!("the lease {} is lost; starting again", settings.lease_name),
    }
    Ok(ExitCode::SUCCESS)
}

/// Whose ledgers these are: the UID of `kube-system` stays as long as the cluster does.
async fn cluster_uid(client: &Client, settings: &Settings) -> anyhow::Result<String> {
    if let Some(uid) = &settings.cluster_uid {
        return Ok(uid.clone());
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let system = namespaces.get_metadata("kube-system").await;
    let system = system.context("cannot read the namespace kube-system: allow it, or give --cluster-uid")?;
    system.uid().context("the namespace kube-system has no UID")
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,sluice_operator=info,kube_lease_manager=info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Json => logs.json().flatten_event(true).init(),
        LogFormat::Text => logs.with_target(false).init(),
    }
}

fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("leaving: what is under way is finished");
        stop.cancel();
    });
    Ok(())
}
