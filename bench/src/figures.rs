//! What was measured, and how it is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::audit::Requests;

/// The most memory that the operator may need with a thousand jobs, in mebibytes.
const MEMORY_AIM: f64 = 64.0;
/// The longest that 99 of 100 jobs may wait for their StatefulSet, in seconds.
const WAIT_AIM: f64 = 5.0;

/// Everything.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// What was asked for.
    pub setting: Setting,
    /// From the answer to the apply of a job to its StatefulSet in a watch.
    pub stateful_set: Waits,
    /// From the same moment to `Ready`.
    pub ready: Waits,
    /// Of the applies themselves.
    pub apply: Waits,
    /// The operator that saw all jobs come.
    pub after_apply: Memory,
    /// Another one, which found them all there, when it had asked each worker twice.
    pub after_restart: Memory,
    /// The same at the very end.
    pub at_end: Memory,
    /// While jobs came, until all of them were ready.
    pub coming: Phase,
    /// From the start of the other operator until it had asked each worker twice.
    pub restart: Phase,
    /// While nothing happened.
    pub rest: Phase,
    /// While records came in all topics.
    pub moving: Phase,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    /// Jobs.
    pub jobs: usize,
    /// Workers of each.
    pub workers: i32,
    /// Namespaces that they are spread over.
    pub namespaces: usize,
    /// Applies in a second.
    pub rate: f64,
    /// Of all that is random.
    pub seed: u64,
}

/// How long something took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Waits {
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Waits {
    /// The smallest of the measured values that so many of them do not exceed. Of nothing: zeros.
    pub fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort();
        let at = |part: f64| {
            let rank = (part * waits.len() as f64).ceil() as usize;
            waits.get(rank.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// The memory of a process, in mebibytes, as `/proc/<pid>/status` has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// `VmHWM`: the most that was ever resident.
    pub peak: f64,
    /// `VmRSS`: resident now, the pages of the program file among it.
    pub resident: f64,
    /// `RssAnon`: the part of it that no file backs.
    pub anonymous: f64,
}

/// What happened in a stretch of time.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// How long it was.
    pub seconds: f64,
    /// Processor seconds of the operator.
    pub cpu: f64,
    /// Those of the programs of the cluster.
    pub beside: BTreeMap<String, f64>,
    /// Its requests to the API server, by the audit log.
    pub requests: Requests,
    /// Statuses that changed, by watches.
    pub writes: Writes,
}

/// Statuses that changed, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Of `StreamingJob`s.
    pub jobs: u64,
    /// Of `DataCatalogTable`s.
    pub tables: u64,
    /// Of `Connection`s.
    pub connections: u64,
}

impl Writes {
    /// What was written since.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            jobs: self.jobs - before.jobs,
            tables: self.tables - before.tables,
            connections: self.connections - before.connections,
        }
    }
}

impl Phase {
    fn minutes(&self) -> f64 {
        self.seconds / 60.0
    }
}

impl Figures {
    /// For people.
    pub fn table(&self) -> String {
        let Setting { jobs, workers, namespaces, rate, seed } = &self.setting;
        let mut text = format!(
            "{jobs} jobs with {workers} workers each, in {namespaces} namespaces; {rate} applies a second; seed {seed}\n\n"
        );
        let mut row = |name: &str, value: String, aim: &str| {
            // Writing into a text does not fail.
            let _ = writeln!(text, "{name:<46} {value:<34} {aim}");
        };
        let waits = |waits: &Waits| format!("{:.2} s / {:.2} s / {:.2} s", waits.p50, waits.p99, waits.max);
        row(
            "apply → StatefulSet, p50 / p99 / max",
            waits(&self.stateful_set),
            &aim(self.stateful_set.p99, WAIT_AIM, "s"),
        );
        row("apply → Ready, p50 / p99 / max", waits(&self.ready), "");
        row("the API server's answer to an apply", waits(&self.apply), "");
        for (name, memory) in [
            ("memory, peak / at rest, jobs came", &self.after_apply),
            ("memory, peak / at rest, started with all jobs", &self.after_restart),
            ("the same, at the end", &self.at_end),
        ] {
            let value = format!("{:.1} MiB / {:.1} MiB", memory.peak, memory.resident);
            row(name, value, &aim(memory.peak, MEMORY_AIM, "MiB"));
        }
        let phases = [
            ("jobs come", &self.coming),
            ("restart", &self.restart),
            ("at rest", &self.rest),
            ("lag moves", &self.moving),
        ];
        for (name, phase) in phases {
            let requests = phase.requests.total() as f64;
            let value = format!("{:.1} /s, {requests} in {:.0} s", requests / phase.seconds, phase.seconds);
            row(&format!("requests to the API server, {name}"), value, "");
        }
        for (name, phase) in &phases[2..] {
            let writes = phase.writes.jobs as f64 / *jobs as f64 / phase.minutes();
            row(&format!("status writes for each job and minute, {name}"), format!("{writes:.2}"), "");
        }
        for (name, phase) in phases {
            let cluster: f64 = phase.beside.values().sum();
            let value = format!("{:.1} s / {:.1} s a minute", phase.cpu / phase.minutes(), cluster / phase.minutes());
            row(&format!("CPU of operator / cluster, {name}"), value, "");
        }
        text
    }
}

fn aim(value: f64, most: f64, unit: &str) -> String {
    let word = if value < most { "met" } else { "MISSED" };
    format!("aim < {most} {unit}: {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measured_value_that_so_many_do_not_exceed() {
        let waits =
            |millis: std::ops::RangeInclusive<u64>| Waits::of(millis.rev().map(Duration::from_millis).collect());
        assert_eq!(waits(1..=1000), Waits { p50: 0.5, p99: 0.99, max: 1.0 });
        assert_eq!(waits(7..=7), Waits { p50: 0.007, p99: 0.007, max: 0.007 });
        assert_eq!(Waits::of(Vec::new()), Waits { p50: 0.0, p99: 0.0, max: 0.0 });
    }

    #[test]
    fn what_misses_its_aim_is_told() {
        assert_eq!(aim(4.9, 5.0, "s"), "aim < 5 s: met");
        assert_eq!(aim(5.0, 5.0, "s"), "aim < 5 s: MISSED");
    }
}
