//! The manifests of test jobs: the same files that a cluster takes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bucket::REGION;
use crate::s3::{ACCESS_KEY, SECRET_KEY};

/// The folder of the table in the bucket.
pub const TABLE: &str = "lake/events";
/// The folder of the dead letters in the bucket.
pub const DEAD: &str = "dead";
/// The folder of the checkpoint in the bucket.
pub const CHECKPOINT: &str = "checkpoint";

/// A job that keeps, of the test records, those with an id and an amount, with the partition and offset of each.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its namespace.
    pub namespace: String,
    /// Name of the job.
    pub name: String,
    /// `host:port` of the broker.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// `http://host:port` of the S3 server, or of a proxy in front of it.
    pub endpoint: String,
    /// `s3://bucket`, or `file:///folder`.
    pub root: String,
    /// Folder in the bucket below which everything of this job lies; empty: the bucket itself.
    pub folder: String,
    /// Period of the windows.
    pub period: String,
    /// A constant column of the rows: another value is another plan.
    pub stamp: String,
    /// Milliseconds until the group gives the partitions of a silent worker to another one; without it, what users get.
    pub session_ms: Option<u32>,
    /// Further lines of `spec.source`, as in `onOffsetOutOfRange: Earliest`.
    pub source: Vec<String>,
    /// Further lines of `spec`, as in `workers: {replicas: 2}`.
    pub spec: Vec<String>,
    /// Percent of refused records above which the job stalls.
    pub max_percent: Option<u32>,
    /// How often a window is tried again.
    pub retries: u32,
}

impl Job {
    /// Where something of this job lies in the bucket, without a slash at the end.
    pub fn path(&self, part: &str) -> String {
        if self.folder.is_empty() { part.to_owned() } else { format!("{}/{part}", self.folder) }
    }

    /// Where something of this job lies, as members of a mapping.
    fn place(&self, part: &str) -> String {
        let connection = if self.root.starts_with("s3://") { ", connectionRef: {name: lake}" } else { "" };
        format!("url: \"{}/{}/\"{connection}", self.root, self.path(part))
    }

    /// The consumer group of the job.
    pub fn group(&self) -> String {
        format!("sluice.{}.{}", self.namespace, self.name)
    }

    /// All manifests, the Secret included.
    pub fn manifests(&self) -> String {
        [self.connections(), self.tables(), self.streaming_job()].join("---\n")
    }

    /// Writes the manifests into a folder; answers the file.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        write_manifests(folder, &self.name, &self.manifests())
    }

    /// The Secret and the two connections.
    pub fn connections(&self) -> String {
        let Self { bootstrap, endpoint, session_ms, .. } = self;
        let session =
            session_ms.map(|ms| format!("session.timeout.ms: \"{ms}\", heartbeat.interval.ms: \"{}\"", ms / 5));
        let session = session.unwrap_or_default();
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: lake}}
stringData: {{accessKeyId: {ACCESS_KEY}, secretAccessKey: {SECRET_KEY}}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {{name: kafka}}
spec:
  kafka:
    bootstrapServers: [\"{bootstrap}\"]
    config: {{{session}}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {{name: lake}}
spec:
  s3:
    endpoint: {endpoint}
    region: {REGION}
    accessStyle: Path
    credentials: {{secretName: lake, accessKeyId: accessKeyId, secretAccessKey: secretAccessKey}}
"
        )
    }

    /// The two tables.
    pub fn tables(&self) -> String {
        let (topic, table) = (&self.topic, self.place(TABLE));
        format!(
            "apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {{name: events-raw}}
spec:
  database: e2e
  location: {{kafka: {{connectionRef: {{name: kafka}}, topic: {topic}}}}}
  format: {{json: {{}}}}
  columns:
  - {{name: event_id, type: string}}
  - {{name: event_type, type: string}}
  - {{name: amount, type: double}}
  - {{name: event_time, type: bigint}}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {{name: events}}
spec:
  database: e2e
  location: {{objectStore: {{{table}}}}}
  format: {{parquet: {{compression: SNAPPY}}}}
  columns:
  - {{name: event_id, type: string}}
  - {{name: event_type, type: string}}
  - {{name: amount, type: double}}
  - {{name: p, type: int}}
  - {{name: o, type: bigint}}
  - {{name: stamp, type: string}}
  partitionKeys:
  - {{name: quarter, type: int}}
"
        )
    }

    /// The job itself.
    pub fn streaming_job(&self) -> String {
        let Self { name, period, stamp, retries, .. } = self;
        let (dead, checkpoint) = (self.place(DEAD), self.place(CHECKPOINT));
        let source: String = self.source.iter().flat_map(|line| ["    ", line, "\n"]).collect();
        let spec: String = self.spec.iter().flat_map(|line| ["  ", line, "\n"]).collect();
        let max_percent = self.max_percent.map(|percent| format!("    maxPercent: {percent}\n")).unwrap_or_default();
        format!(
            "apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {{name: {name}}}
spec:
  parameters: {{minAmount: \"0\", stamp: \"{stamp}\"}}
  source:
    tableRef: {{name: events-raw}}
    kafkaMetadata: true
{source}  window: {{period: {period}}}
  transforms:
  - filter: \"event_id IS NOT NULL AND amount > ${{minAmount}}\"
  - derive:
      p: \"_kafka.partition\"
      o: \"_kafka.offset\"
      stamp: \"${{stamp}}\"
      quarter: \"CAST(event_time / 1000 % 4 AS INT)\"
  - drop: [_kafka, event_time]
  sink:
    tableRef: {{name: events}}
  deadLetter:
    objectStore: {{{dead}}}
{max_percent}  checkpoint: {{{checkpoint}}}
  retries: {{perWindow: {retries}, backoff: 1s}}
{spec}"
        )
    }
}

/// Writes manifests into a folder; answers the file. At once: a worker may be reading what was written for another one.
pub fn write_manifests(folder: &Path, name: &str, manifests: &str) -> Result<PathBuf> {
    let file = folder.join(format!("{name}.yaml"));
    let write = || {
        let fresh = tempfile::Builder::new().suffix(".tmp").tempfile_in(folder)?;
        fs::write(fresh.path(), manifests)?;
        fresh.persist(&file).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
