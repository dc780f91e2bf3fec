//! What `/proc` says of a process.

use std::fs;

use anyhow::{Context, Result};
use sluice_bench::figures::Memory;

/// Of the numbers in `/proc/<pid>/stat`: a hundred for each second, on every Linux.
const TICKS: f64 = 100.0;

/// Its memory now.
pub fn memory(pid: u32) -> Result<Memory> {
    let status = read(pid, "status")?;
    let mebibytes = |name: &str| -> Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim_start_matches(':').trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
    };
    Ok(Memory { peak: mebibytes("VmHWM")?, resident: mebibytes("VmRSS")?, anonymous: mebibytes("RssAnon")? })
}

/// Processor seconds of all its threads since its start, the kernel's work for it included.
pub fn cpu(pid: u32) -> Result<f64> {
    let stat = read(pid, "stat")?;
    // The name in the second field may hold anything; it ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).context("a short stat")?.parse::<f64>().context("no number");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

fn read(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .with_context(|| format!("process {pid} has ended: its log says why"))
}
