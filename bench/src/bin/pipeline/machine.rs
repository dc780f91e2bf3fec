//! Where it was measured, and with what.

use std::fs;
use std::process::Command;

use anyhow::Result;

use super::peers::Peers;

/// Processor, cores, memory, kernel.
pub fn describe() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kilobytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!(
        "{}, {cores} cores, {} GiB, Linux {}",
        model.trim_start_matches([':', ' ', '\t']).trim(),
        kilobytes.div_ceil(1 << 20),
        kernel.trim()
    ))
}

/// Names and versions of what takes part.
pub fn versions(peers: Option<&Peers>) -> Vec<String> {
    let mut versions = vec![
        format!("Sluice {}", env!("CARGO_PKG_VERSION")),
        format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1),
        "Kafka 4.3.1".to_owned(),
    ];
    versions.extend(first_line("rustc", &["--version"]));
    versions.extend(first_line("java", &["-version"]));
    versions.extend(peers.into_iter().flat_map(Peers::versions));
    versions
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    // Java says its version on the error stream.
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
}
