//! Where the time goes: `perf` samples a run of Sluice, and a page of text says which functions it met.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sluice_bench::shapes::Shape;

use super::load::Topic;

/// Functions with less than this part of the time, in percent, are not shown.
const LEAST: f64 = 0.5;

/// The words in front of a program that is to be sampled, 997 times in each second of processor time.
pub fn record(samples: &Path) -> Vec<String> {
    let samples = samples.display().to_string();
    ["perf", "record", "-e", "cpu-clock", "-F", "997", "-o", &samples, "--"].map(str::to_owned).into()
}

/// Threads, and functions, by their part of all samples.
pub fn report(samples: &Path, shape: &Shape, topic: &Topic) -> Result<String> {
    let mut text = format!(
        "Shape: {} ({}). {} records, {} bytes of values.\nSampled by perf with the clock of the processor; percent of all samples.\n",
        shape.name, shape.about, topic.counts.read, topic.bytes
    );
    for (title, key, least) in [("Threads", "comm", 0.1), ("Functions", "dso,symbol", LEAST)] {
        writeln!(text, "\n{title}\n")?;
        let mut perf = Command::new("perf");
        perf.args(["report", "--stdio", "--no-children", "--sort", key, "--percent-limit", &least.to_string(), "-i"]);
        let output = perf.arg(samples).output().context("cannot run perf")?;
        ensure!(output.status.success(), "perf report: {}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if !line.trim().is_empty() && !line.starts_with('#') {
                // Columns of branches that nobody asked for are dashes.
                writeln!(text, "{}", line.trim_end_matches([' ', '-']))?;
            }
        }
    }
    Ok(text)
}
