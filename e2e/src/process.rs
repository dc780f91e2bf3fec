//! Child processes that never outlive the test run.
//!
//! A dropped [`Process`] is killed. Should the test process itself be killed, the kernel kills its children: `setpriv` asks
//! for that. The kernel watches the *thread* that started a child, so all of them are started by one thread that never ends.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::watch;

/// A signal that tests send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ends the process at once, whatever it is doing.
    Kill,
    /// Asks it to end.
    Term,
    /// Freezes it.
    Stop,
    /// Lets it go on.
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Term => "TERM",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    exit: watch::Receiver<Option<ExitStatus>>,
}

/// A command that [`Process::start`] can run.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Process {
    /// Starts what [`command`] made. What it prints is appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot open the log {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = launch(command).with_context(|| format!("cannot start {name}"))?;
        let pid = child.id();
        let (sender, exit) = watch::channel(None);
        std::thread::spawn(move || reap(child, &sender));
        Ok(Self { name: name.to_owned(), pid, log: log.to_owned(), exit })
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended; `None` while it lives.
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Sends a signal; does nothing when the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.exited().is_some() {
            return Ok(());
        }
        let script = format!("kill -s {} {}", signal.name(), self.pid);
        let status = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status()?;
        // It may have ended between the two lines above.
        if !status.success() && self.exited().is_none() && Path::new(&format!("/proc/{}", self.pid)).exists() {
            bail!("cannot send {} to {} (pid {})", signal.name(), self.name, self.pid);
        }
        Ok(())
    }

    /// Waits for the end.
    pub async fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let mut exit = self.exit.clone();
        let ended = tokio::time::timeout(limit, exit.wait_for(Option::is_some)).await;
        let Ok(ended) = ended else {
            bail!("{} (pid {}) did not end within {limit:?}; its log: {}", self.name, self.pid, self.log.display());
        };
        (*ended?).context("it ended without a status")
    }

    /// Kills it and waits until it is gone: a port or a lock file of it is free then.
    pub async fn kill(&self) -> Result<()> {
        self.signal(Signal::Kill)?;
        self.wait(Duration::from_secs(30)).await.map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nobody is left to hear about an error; the kernel kills the child with this process at the latest.
        let _ = self.signal(Signal::Kill);
    }
}

fn reap(mut child: Child, sender: &watch::Sender<Option<ExitStatus>>) {
    // A status that cannot be read closes the channel, which `wait` reports.
    if let Ok(status) = child.wait() {
        sender.send_replace(Some(status));
    }
}

type Launch = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Starts a command on the thread that never ends.
fn launch(command: Command) -> Result<Child> {
    static LAUNCHER: OnceLock<Mutex<mpsc::Sender<Launch>>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Launch>();
        std::thread::spawn(move || {
            for (mut command, reply) in receiver {
                // The one who asked may be gone; the child is then dropped unused, which the kernel cleans up at the end.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    match launcher.lock() {
        Ok(sender) => sender.send((command, reply))?,
        Err(_) => bail!("the launching thread is gone"),
    }
    Ok(answer.recv()??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_frozen_woken_and_killed() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut sleeper = command("sleep");
        sleeper.arg("60");
        let process = Process::start("sleeper", sleeper, &dir.path().join("log"))?;
        process.signal(Signal::Stop)?;
        assert!(process.wait(Duration::from_millis(50)).await.is_err());
        process.signal(Signal::Cont)?;
        process.kill().await?;
        assert!(process.exited().is_some_and(|status| status.code().is_none()));
        process.signal(Signal::Term)
    }

    #[tokio::test]
    async fn a_dropped_process_is_gone() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let mut sleeper = command("sleep");
        sleeper.arg("60");
        let process = Process::start("sleeper", sleeper, &dir.path().join("log"))?;
        let mut exit = process.exit.clone();
        drop(process);
        assert!(exit.wait_for(Option::is_some).await.is_ok());
        Ok(())
    }
}
