//! The program under test, as a process.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::target;
use crate::process::{Process, Signal, command};

/// How a `sluice run` is started.
#[derive(Debug, Clone)]
pub struct Run {
    name: String,
    manifests: PathBuf,
    bounded: bool,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Run {
    /// `sluice run -f manifests`, with a name for its log.
    pub fn new(name: &str, manifests: &Path) -> Self {
        let (arguments, environment) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), manifests: manifests.to_owned(), bounded: false, arguments, environment }
    }

    /// Ends when the topic is read up to the ends that it has at the start.
    #[must_use]
    pub fn until_caught_up(mut self) -> Self {
        self.bounded = true;
        self
    }

    /// A further argument.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of its environment, as `FAILPOINTS`.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it; its log is `<folder>/<name>.log`.
    pub fn start(&self, folder: &Path) -> Result<Worker> {
        let mut sluice = command(binary()?);
        sluice.arg("run").arg("-f").arg(&self.manifests).args(&self.arguments);
        if self.bounded {
            sluice.arg("--until-caught-up");
        }
        sluice.env("RUST_LOG", "info").env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
        sluice.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(&self.name, sluice, &folder.join(format!("{}.log", self.name)))?;
        Ok(Worker { process })
    }
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    process: Process,
}

impl Worker {
    /// What it is called in messages, and its log.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it as a power cut would, and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Freezes it.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::Stop)
    }

    /// Lets it go on.
    pub fn wake(&self) -> Result<()> {
        self.process.signal(Signal::Cont)
    }

    /// Asks it to drain.
    pub fn terminate(&self) -> Result<()> {
        self.process.signal(Signal::Term)
    }

    /// Asks it to drain and waits until it has done so well.
    pub async fn drain(&self) -> Result<()> {
        self.terminate()?;
        self.expect(0, Duration::from_mins(1)).await
    }

    /// Has it ended?
    pub fn exited(&self) -> bool {
        self.process.exited().is_some()
    }

    /// Waits for its end; answers the exit code.
    pub async fn code(&self, limit: Duration) -> Result<i32> {
        let status = self.process.wait(limit).await?;
        status.code().with_context(|| format!("{} ended by a signal: {status}", self.name()))
    }

    /// Waits for its sudden end. False: it lives on. An orderly end is an error: nobody asked for it.
    pub async fn dies(&self, limit: Duration) -> Result<bool> {
        let Ok(status) = self.process.wait(limit).await else { return Ok(false) };
        ensure!(
            status.code().is_none(),
            "{} ended by itself, {status}; the end of its log:\n{}",
            self.name(),
            self.tail()?
        );
        Ok(true)
    }

    /// Waits for its end with this exit code.
    pub async fn expect(&self, code: i32, limit: Duration) -> Result<()> {
        let found = self.code(limit).await?;
        ensure!(found == code, "{} ended with {found}, not {code}; the end of its log:\n{}", self.name(), self.tail()?);
        Ok(())
    }

    /// What it printed so far.
    pub fn output(&self) -> Result<String> {
        let log = self.process.log();
        let bytes = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits until it has printed this.
    pub async fn says(&self, text: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.output()?.contains(text) {
            ensure!(
                !self.exited() && start.elapsed() < limit,
                "{} did not say `{text}`:\n{}",
                self.name(),
                self.tail()?
            );
            // A log tells nobody that it grows.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The last lines of what it printed.
    pub fn tail(&self) -> Result<String> {
        let output = self.output()?;
        let lines: Vec<&str> = output.lines().collect();
        Ok(lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}

/// Runs `sluice` with these arguments to its end; answers the exit code and what it printed.
pub async fn sluice(folder: &Path, name: &str, arguments: &[&str]) -> Result<(i32, String)> {
    let mut sluice = command(binary()?);
    sluice.args(arguments).env("NO_COLOR", "1");
    let worker = Worker { process: Process::start(name, sluice, &folder.join(format!("{name}.log")))? };
    let code = worker.code(Duration::from_mins(2)).await?;
    Ok((code, worker.output()?))
}

/// `$SLUICE_BIN`, or the program beside the tests.
fn binary() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("SLUICE_BIN") {
        return Ok(binary.into());
    }
    let binary = target()?.join("release/sluice");
    if !binary.is_file() {
        bail!("no {}: run `cargo build --release --workspace --bins`, or set SLUICE_BIN", binary.display());
    }
    Ok(binary)
}
