//! The operator as a process: the program that ships, with the settings of the chart.

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use sluice_bench::figures::Memory;
use tokio::process::{Child, Command};

/// What it runs with.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// The program `sluice-operator`.
    #[arg(long)]
    program: PathBuf,
    /// The kubeconfig of its ServiceAccount.
    #[arg(long)]
    program_kubeconfig: PathBuf,
    /// Folder of its log.
    #[arg(long)]
    logs: PathBuf,
}

/// Of the numbers in `/proc/<pid>/stat`: a hundred for each second, on every Linux.
const TICKS: f64 = 100.0;
/// It finishes what is under way, and gives the lease back.
const LEAVES_WITHIN: Duration = Duration::from_secs(30);

/// A running operator. Dropping it kills it.
pub struct Program {
    child: Child,
    pid: u32,
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

    /// Its memory now.
    pub fn memory(&self) -> Result<Memory> {
        let status = self.proc("status")?;
        let mebibytes = |name: &str| -> Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.trim_start_matches(':').trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
        };
        Ok(Memory { peak: mebibytes("VmHWM")?, resident: mebibytes("VmRSS")?, anonymous: mebibytes("RssAnon")? })
    }

    /// Processor seconds of all its threads since its start, the kernel's work for it included.
    pub fn cpu(&self) -> Result<f64> {
        let stat = self.proc("stat")?;
        // The name in the second field may hold anything; it ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).context("a short stat")?.parse::<f64>().context("no number");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    fn proc(&self, file: &str) -> Result<String> {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).context("the operator has ended: its log says why")
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
