//! What the runs of the pipeline gave, and the page that shows it. Pure.

pub mod page;

pub use page::page;

use serde::{Deserialize, Serialize};

/// One run of one program over one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Records read.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Seconds by the clock.
    pub wall: f64,
    /// Processor seconds, user and system, of all processes of the program; not those of broker and S3 server.
    pub cpu: f64,
    /// The most memory that was resident, in bytes.
    pub peak: u64,
    /// Files in the table.
    pub files: u64,
    /// Records of the ledger that commit; of programs without a ledger 0.
    pub commits: u64,
    /// Processor seconds that the broker used meanwhile.
    pub broker: f64,
}

impl Run {
    /// Records for each processor second.
    pub fn rate(&self) -> f64 {
        self.records as f64 / self.cpu.max(1e-9)
    }
}

/// All runs of one program over one topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// What it is, in words.
    pub about: String,
    /// The runs, in the order in which they were made.
    pub runs: Vec<Run>,
}

/// The middle one of the values; of two in the middle their mean, of none zero.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.len() % 2) {
        (0, _) => 0.0,
        (_, 1) => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

impl Series {
    /// The median of a figure of its runs.
    pub fn median(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(figure))
    }

    /// The median of the records for each processor second.
    pub fn rate(&self) -> f64 {
        self.median(Run::rate)
    }

    /// The largest peak of its runs, in mebibytes: a limit must hold always.
    pub fn peak_mib(&self) -> f64 {
        self.runs.iter().map(|run| run.peak).max().unwrap_or_default() as f64 / f64::from(1 << 20)
    }

    /// The median of megabytes of values for each processor second.
    pub fn megabytes_rate(&self) -> f64 {
        self.median(|run| run.bytes as f64 / 1e6 / run.cpu.max(1e-9))
    }
}

/// One way to decode, on one kind of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decoded {
    /// The records.
    pub records: String,
    /// Nanoseconds for each record: ours, the median of the rounds.
    pub ours: f64,
    /// The same of arrow-json.
    pub arrow_json: f64,
    /// Bytes of a record, on average.
    pub bytes: f64,
}

/// Everything, and where it was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Processor, cores, memory, kernel.
    pub machine: String,
    /// `YYYY-MM-DD`
    pub date: String,
    /// Programs and their versions.
    pub versions: Vec<String>,
    /// Of the records.
    pub seed: u64,
    /// The sample job, by all programs.
    pub sample: Vec<Series>,
    /// Sluice on more records of the sample job, in windows of different lengths.
    #[serde(default)]
    pub windows: Vec<Series>,
    /// Sluice on each shape of records.
    pub shapes: Vec<Series>,
    /// Decoding alone.
    pub decode: Vec<Decoded>,
}

impl Results {
    /// The series of the sample job with this name.
    pub fn of(&self, name: &str) -> Option<&Series> {
        named(&self.sample, name)
    }
}

/// The series with this name.
pub fn named<'s>(all: &'s [Series], name: &str) -> Option<&'s Series> {
    all.iter().find(|series| series.name == name)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn a_rate_is_by_processor_seconds_and_a_peak_is_the_worst_run() {
        let run = |cpu, peak| Run { records: 1000, bytes: 2_000_000, cpu, peak, ..Run::default() };
        let series =
            Series { runs: vec![run(1.0, 1 << 20), run(2.0, 3 << 20), run(4.0, 2 << 20)], ..Series::default() };
        assert_eq!((series.rate(), series.megabytes_rate(), series.peak_mib()), (500.0, 1.0, 3.0));
    }
}
