//! The metrics of a worker. Names, labels and units are an interface: docs/metrics.md lists them, and tests read them.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::ledger::record::{Counts, FileRecord};

/// A stage of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// Why a record was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeadLabel {
    stage: &'static str,
    code: &'static str,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    topic: String,
    partition: i32,
}

type Seconds = Counter<f64, AtomicU64>;

/// All metrics of a worker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    records: Family<ResultLabel, Counter>,
    dead_letters: Family<DeadLabel, Counter>,
    bytes_read: Counter,
    bytes_written: Counter,
    files: Counter,
    commits: Counter,
    voids: Counter,
    retries: Counter,
    stage_seconds: Family<StageLabel, Seconds>,
    batch_seconds: Family<StageLabel, Histogram>,
    lag: Family<PartitionLabel, Gauge>,
    memory_used: Gauge,
    memory_budget: Gauge,
}

impl Metrics {
    /// Fresh metrics, all zero.
    #[allow(clippy::too_many_lines, reason = "one list, without a decision in it")]
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("sluice");
        let records = Family::<ResultLabel, Counter>::default();
        registry.register(
            "records",
            "Records of committed batches by what became of them: written, filtered, dead",
            records.clone(),
        );
        let dead_letters = Family::<DeadLabel, Counter>::default();
        registry.register(
            "dead_letters",
            "Refused records of committed batches by stage and code",
            dead_letters.clone(),
        );
        let bytes_read = Counter::default();
        registry.register_with_unit(
            "read",
            "Keys, values and headers of committed batches",
            Unit::Bytes,
            bytes_read.clone(),
        );
        let bytes_written = Counter::default();
        registry.register_with_unit("written", "Files of committed batches", Unit::Bytes, bytes_written.clone());
        let files = Counter::default();
        registry.register("files", "Files of committed batches", files.clone());
        let commits = Counter::default();
        registry.register("commits", "Batches that the ledger decided", commits.clone());
        let voids = Counter::default();
        registry.register("voids", "Batches that the ledger refused; they were read again", voids.clone());
        let retries = Counter::default();
        registry.register("window_retries", "Windows that failed and were tried again", retries.clone());
        let stage_seconds = Family::<StageLabel, Seconds>::default();
        registry.register_with_unit(
            "stage",
            "Time of the lanes by stage: decode, transform, write",
            Unit::Seconds,
            stage_seconds.clone(),
        );
        let batch_seconds = Family::<StageLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 4.0, 9))
        });
        registry.register_with_unit(
            "batch",
            "Time of a batch by step: stage, commit, publish",
            Unit::Seconds,
            batch_seconds.clone(),
        );
        let lag = Family::<PartitionLabel, Gauge>::default();
        registry.register("lag_records", "End offset minus committed position of the owned partitions", lag.clone());
        let memory_used = Gauge::default();
        registry.register_with_unit(
            "memory_used",
            "Bytes of the memory budget in use",
            Unit::Bytes,
            memory_used.clone(),
        );
        let memory_budget = Gauge::default();
        registry.register_with_unit("memory_budget", "The memory budget", Unit::Bytes, memory_budget.clone());
        Arc::new(Self {
            registry,
            records,
            dead_letters,
            bytes_read,
            bytes_written,
            files,
            commits,
            voids,
            retries,
            stage_seconds,
            batch_seconds,
            lag,
            memory_used,
            memory_budget,
        })
    }

    /// Adds the time that a lane spent on one batch of records.
    pub fn stage_seconds(&self, decode: Duration, transform: Duration, write: Duration) {
        for (stage, time) in [("decode", decode), ("transform", transform), ("write", write)] {
            self.stage_seconds.get_or_create(&StageLabel { stage }).inc_by(time.as_secs_f64());
        }
    }

    /// Adds the time that one batch took after its window closed.
    pub fn batch_seconds(&self, stage: Duration, commit: Duration, publish: Duration) {
        for (name, time) in [("stage", stage), ("commit", commit), ("publish", publish)] {
            self.batch_seconds.get_or_create(&StageLabel { stage: name }).observe(time.as_secs_f64());
        }
    }

    /// Counts a batch that is visible.
    pub fn committed<'a>(
        &self,
        counts: &Counts,
        files: &[FileRecord],
        dead: impl IntoIterator<Item = (&'a (&'static str, &'static str), &'a u64)>,
    ) {
        for (result, count) in [("written", counts.written), ("filtered", counts.filtered), ("dead", counts.dead)] {
            self.records.get_or_create(&ResultLabel { result }).inc_by(count);
        }
        for (&(stage, code), &count) in dead {
            self.dead_letters.get_or_create(&DeadLabel { stage, code }).inc_by(count);
        }
        self.bytes_read.inc_by(counts.bytes);
        self.bytes_written.inc_by(files.iter().map(|file| file.bytes).sum());
        self.files.inc_by(files.len() as u64);
        self.commits.inc();
    }

    /// Counts a batch that the ledger refused.
    pub fn voided(&self) {
        self.voids.inc();
    }

    /// Counts a window that is tried again.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// The text of `GET /metrics`. Gauges are set now.
    pub fn render(&self, topic: &str, lags: &[(i32, i64)], memory: (u64, u64)) -> String {
        // Partitions that left are not owned any more: their lag is somebody else's to tell.
        self.lag.clear();
        for &(partition, lag) in lags {
            self.lag.get_or_create(&PartitionLabel { topic: topic.to_owned(), partition }).set(lag);
        }
        self.memory_used.set(memory.0 as i64);
        self.memory_budget.set(memory.1 as i64);
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
