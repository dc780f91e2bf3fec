//! `sluice agent`: the agent of one namespace, in a pod. This part knows Kubernetes; what is looked at, and how, is the worker library's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use kube::Client;
use sluice_crds::resolve::ResolveContext;
use sluice_worker::agent::{Agent, Desk};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::{Failure, run};

mod objects;

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The namespace whose objects are looked at.
    #[arg(long, value_name = "NAME")]
    namespace: String,
    /// Folder of mounted secrets: <folder>/<secret name>/<key>.
    #[arg(long, value_name = "FOLDER")]
    secrets: PathBuf,
    /// Serve /report, /metrics, /healthz and /readyz at this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The identity of the cluster in ledgers, as the operator knows it: without it no plan is the operator's.
    #[arg(long, env = "SLUICE_CLUSTER_UID", value_name = "UID")]
    cluster_uid: String,
}

/// Runs until a signal asks to leave. There is nothing to finish: an agent writes nothing.
pub async fn agent(args: AgentArgs) -> Result<(), Failure> {
    let desk = Desk::new(&args.namespace);
    run::serve("--listen", args.listen, Arc::clone(&desk)).await?;
    let client = Client::try_default().await.map_err(|error| {
        let words = sluice_worker::error::chain(&error);
        Failure::config(format!(
            "there is no way to the API server: {words}; run the agent in a pod, or with a kubeconfig"
        ))
    })?;
    let (tell, worlds) = watch::channel(None);
    let context = ResolveContext::Cluster { uid: args.cluster_uid };
    tokio::select! {
        () = objects::follow(&client, &args.namespace, &context, &tell) => {
            Err(Failure { code: 70, message: "Internal: the watch of the objects ended".to_owned() })
        }
        () = Agent::new(desk, args.secrets).run(worlds) => {
            Err(Failure { code: 70, message: "Internal: the agent ended".to_owned() })
        }
        asked = asked_to_leave() => Ok(asked?),
    }
}

async fn asked_to_leave() -> Result<(), anyhow::Error> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
