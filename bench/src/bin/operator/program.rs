//! The operator as a process: the program that ships, with the settings of the chart.

use std::fs::OpenOptions;
use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use tokio::process::{Child, Command};

/// What it runs with.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The program `sluice-operator`.
    #[arg(long)]
    program: PathBuf,
    /// The kubeconfig of its `ServiceAccount`.
    #[arg(long)]
    program_kubeconfig: PathBuf,
    /// Folder of its log.
    #[arg(long)]
    logs: PathBuf,
}

/// It finishes what is under way, and gives the lease back.
const LEAVES_WITHIN: Duration = Duration::from_secs(30);

/// A running operator. Dropping it kills it.
pub struct Program {
    child: Child,
    /// Its number.
    pub pid: u32,
}

impl Program {
    /// Starts one.
    pub fn start(settings: &Settings) -> Result<Self> {
        let log = settings.logs.join("sluice-operator.log");
        let log = OpenOptions::new().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
        let child = Command::new(&settings.program)
            .env("KUBECONFIG", &settings.program_kubeconfig)
            .env("POD_NAMESPACE", "sluice-system")
            // Port 8080 is that of the pods.
            .args(["--image", "localhost/sluice:bench", "--listen", "127.0.0.1:8081"])
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", settings.program.display()))?;
        let pid = child.id().context("the operator ended at once")?;
        Ok(Self { child, pid })
    }

    /// Waits for something that it brings about: in vain, when it ends.
    pub async fn meanwhile<T>(&mut self, what: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            result = what => result,
            ended = self.child.wait() => bail!("the operator has ended ({}): its log says why", ended?),
        }
    }

    /// Asks it to leave, as a kubelet does, and waits.
    pub async fn stop(mut self) -> Result<()> {
        let asked = Command::new("kill").args(["-s", "TERM", &self.pid.to_string()]).status().await?;
        ensure!(asked.success(), "the operator has ended: its log says why");
        let ended =
            tokio::time::timeout(LEAVES_WITHIN, self.child.wait()).await.context("the operator does not leave")?;
        ensure!(ended?.success(), "the operator did not end well: its log says why");
        Ok(())
    }
}
