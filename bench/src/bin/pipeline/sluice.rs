//! Our own runs: which there are, and what must be true of their ledgers.

use std::path::Path;

use anyhow::{Result, ensure};
use sluice_bench::results::page::names;
use sluice_bench::shapes::Shape;
use sluice_e2e::bucket::Bucket;
use sluice_e2e::ledger::{Counts, Ledger};

use super::load::Topic;
use super::manifest::CHECKPOINT;
use super::meter::Job;

/// One way to run a job.
#[derive(Debug)]
pub struct Variant {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// `spec.window`
    pub window: &'static str,
    /// To the S3 server, or into a folder.
    pub s3: bool,
    /// `workers.resources.limits.memory`; none: it has the default budget.
    pub memory: Option<&'static str>,
    /// The core of each worker; none: one worker, on all cores.
    pub cores: &'static [u32],
}

const MANY: &str = "{period: 100s, maxRecords: 250000}";
const LONG: &str = "{period: 100s}";
const SHORT: &str = "{period: 1s}";

const fn variant(name: &'static str, about: &'static str, window: &'static str, s3: bool) -> Variant {
    Variant { name, about, window, s3, memory: None, cores: &[] }
}

/// With memory for a window of any length: with the default budget, windows end early when a topic is read as fast as it can be.
const fn roomy(name: &'static str, window: &'static str, s3: bool) -> Variant {
    Variant { memory: Some("4Gi"), ..variant(name, "", window, s3) }
}

/// What the others are compared with.
pub const DISK: Variant = variant(
    names::DISK,
    "`sluice run` with ledger, staging and commits, a window for every 250,000 records",
    MANY,
    false,
);

/// On the sample job, beside the others.
pub const VARIANTS: [Variant; 8] = [
    DISK,
    variant(names::S3, "the same to an S3 server on the same machine, whose work is not counted", MANY, true),
    variant(names::LONG, "as few windows as the memory allows", LONG, false),
    variant(names::SHORT, "as many windows as seconds pass", SHORT, false),
    variant(names::S3_LONG, "", LONG, true),
    variant(names::S3_SHORT, "", SHORT, true),
    Variant { name: names::ONE, about: "`taskset`, one lane", cores: &[0], ..DISK },
    Variant { name: names::TWO, about: "members of one consumer group", cores: &[0, 1], ..DISK },
];

/// On more records of the sample job: windows of different lengths.
pub const WINDOWS: [Variant; 6] = [
    roomy(names::LONG, LONG, false),
    roomy(names::DISK, MANY, false),
    roomy(names::SHORT, SHORT, false),
    roomy(names::S3_LONG, LONG, true),
    roomy(names::S3, MANY, true),
    roomy(names::S3_SHORT, SHORT, true),
];

impl Variant {
    /// The processes that are to be run at once.
    pub fn jobs(&self, program: &Path, manifests: &Path) -> Vec<Job> {
        let run = ["run", "-f", &manifests.display().to_string(), "--until-caught-up"].map(str::to_owned);
        let words = std::iter::once(program.display().to_string()).chain(run);
        let environment = vec![("RUST_LOG".to_owned(), "info".to_owned()), ("NO_COLOR".to_owned(), "1".to_owned())];
        if self.cores.is_empty() {
            return vec![Job { environment, ..Job::new("sluice", words) }];
        }
        let bound = self.cores.iter().map(|core| {
            let bound = ["taskset", "--cpu-list"].map(str::to_owned).into_iter().chain([core.to_string()]);
            Job { environment: environment.clone(), ..Job::new(format!("sluice-{core}"), bound.chain(words.clone())) }
        });
        bound.collect()
    }
}

/// Every record of the topic must be accounted for, and every file visible. Answers the commits, and the files of the table.
pub async fn check(bucket: &Bucket, shape: &Shape, topic: &Topic) -> Result<(u64, u64)> {
    let ledger = Ledger::read(bucket, CHECKPOINT).await?;
    let mut expected = topic.counts;
    if shape.transforms.iter().any(|line| line.contains("scope: Batch")) {
        // How many groups there are depends on the windows; filters are part of the statement.
        expected = Counts { written: ledger.counts.written, filtered: ledger.counts.filtered, ..expected };
        ensure!(ledger.counts.written > 0, "the aggregate has no rows");
    }
    ensure!(ledger.counts == expected, "the ledger counts {:?}, not {expected:?}", ledger.counts);
    ensure!(ledger.unpublished.is_empty(), "not all files are visible");
    let tables = ledger.commits.values().flatten().filter(|file| file.role == "Table").count();
    Ok((ledger.commits.len() as u64, tables as u64))
}
