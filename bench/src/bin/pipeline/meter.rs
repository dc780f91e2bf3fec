//! What a program costs: the processor time of everything that it starts, its time by the clock, its memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sluice_e2e::process::{Process, command};

/// Between two looks at the memory. The kernel keeps the peak of each process, so only what grows after the last look is not seen.
const EVERY: Duration = Duration::from_millis(25);

/// The kernel counts the processor time of children when they have ended, and the shell tells it: nothing is missed, and nothing is
/// sampled. The times go to a file, the program's own words where they went before.
const TIMED: &str =
    "exec 3>\"$1\"; shift; TIMEFORMAT='%R %U %S'; { time setpriv --pdeathsig KILL -- \"$@\" 2>&4; } 4>&2 2>&3";

/// What one run has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Seconds by the clock, from its start to its end.
    pub wall: f64,
    /// Processor seconds of all its processes, the kernel's work for them included.
    pub cpu: f64,
    /// The most memory that its processes had resident, in bytes: of several, the sum of their peaks.
    pub peak: u64,
}

/// A program to be measured.
#[derive(Debug, Clone)]
pub struct Job {
    /// What it is called in messages; its log is `<folder>/<name>.log`.
    pub name: String,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Job {
    /// A program with arguments.
    pub fn new<W: Into<String>>(name: impl Into<String>, words: impl IntoIterator<Item = W>) -> Self {
        Self { name: name.into(), words: words.into_iter().map(Into::into).collect(), environment: Vec::new() }
    }
}

/// Runs a program to its end, which must be a good one, and answers what it cost and what it printed.
pub async fn run(job: &Job, folder: &Path, limit: Duration) -> Result<(Cost, String)> {
    let (log, times) = (folder.join(format!("{}.log", job.name)), folder.join(format!("{}.times", job.name)));
    // Processes append to their logs.
    fs::write(&log, "")?;
    let mut shell = command("bash");
    shell.args(["-c", TIMED, "bash"]).arg(&times).args(&job.words);
    shell.envs(job.environment.iter().map(|(name, value)| (name, value)));
    let process = Process::start(&job.name, shell, &log)?;
    let (start, mut peak) = (Instant::now(), 0);
    while process.exited().is_none() {
        ensure!(start.elapsed() < limit, "{} did not end within {limit:?}; see {}", job.name, log.display());
        peak = peak.max(descendants(process.pid()).into_iter().map(most).sum());
        tokio::time::sleep(EVERY).await;
    }
    let status = process.wait(limit).await?;
    let output = fs::read_to_string(&log)?;
    let tail: Vec<&str> = output.lines().rev().take(20).collect();
    ensure!(
        status.success(),
        "{} ended with {status}:\n{}",
        job.name,
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    );
    let times = fs::read_to_string(&times)?;
    let (wall, cpu) = parse(&times).with_context(|| format!("the times of {}: {times}", job.name))?;
    Ok((Cost { wall, cpu, peak }, output))
}

/// `real user system`, in seconds.
fn parse(times: &str) -> Option<(f64, f64)> {
    let numbers: Vec<f64> = times.lines().last()?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system] = numbers[..] else { return None };
    Some((wall, user + system))
}

/// The processes that a process has started, and theirs; not itself, which is only the shell that takes the time.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![pid];
    while let Some(pid) = left.pop() {
        // Any thread of a process may have started one. What ends meanwhile is no trouble.
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            left.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        found.push(pid);
    }
    found.retain(|found| *found != pid);
    found
}

/// The most that a process ever had resident, in bytes.
fn most(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() * 1024
}
