//! What `/proc` says of a process.

use std::fs;

use anyhow::{Context, Result};
use sluice_bench::figures::Memory;
use sluice_e2e::usage;

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
    usage::cpu(pid).with_context(|| format!("process {pid} has ended: its log says why"))
}

fn read(pid: u32, file: &str) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .with_context(|| format!("process {pid} has ended: its log says why"))
}
