//! What a worker costs the machine: read from `/proc` while it lives, because afterwards nobody can.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::worker::Worker;

/// Between two looks. What happens after the last look is not seen; the peak only ever grows.
const EVERY: Duration = Duration::from_millis(10);
/// Of the numbers in `/proc/<pid>/stat`: a hundred for each second, on every Linux.
const TICKS: f64 = 100.0;

/// What a worker has cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// The most memory that it ever had resident, in bytes.
    pub peak: u64,
    /// Processor seconds of all its threads, the kernel's work for it included.
    pub cpu: f64,
    /// Seconds from the first look to its end.
    pub wall: f64,
}

/// Watches a worker to its end.
pub async fn until_the_end(worker: &Worker, limit: Duration) -> Result<Usage> {
    let start = Instant::now();
    let mut usage = Usage::default();
    while !worker.exited() && start.elapsed() < limit {
        // It may end between the two lines.
        if let Ok((peak, cpu)) = look(worker.pid()) {
            usage = Usage { peak, cpu, wall: start.elapsed().as_secs_f64() };
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(usage)
}

fn look(pid: u32) -> Result<(u64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse()?;
    Ok((peak * 1024, cpu(pid)?))
}

/// Processor seconds of all threads of a process since its start, the kernel's work for it included.
pub fn cpu(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in the second field may hold anything, also spaces; it ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).context("a short stat")?.parse::<f64>().context("no number");
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_uses_the_processor() -> Result<()> {
        let (peak, before) = look(std::process::id())?;
        let block = vec![1_u8; 64 << 20];
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(100) {
            std::hint::black_box(block.iter().map(|&byte| u64::from(byte)).sum::<u64>());
        }
        let (higher, after) = look(std::process::id())?;
        assert!(higher >= peak && higher >= 64 << 20 && after > before, "{peak} {higher}, {before} {after}");
        Ok(())
    }
}
