//! A broker, a folder and a job, for one test.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::util::display::array_value_to_string;
use sluice_crds::manifest;
use sluice_crds::plan::JobPlan;
use sluice_crds::report::WorkerReport;
use sluice_crds::resolve::{ResolveContext, resolve};
use sluice_worker::error::Stop;
use sluice_worker::ledger::record::Body;
use sluice_worker::ledger::{Ledger, LedgerError, verify};
use sluice_worker::pipeline::stores::Stores;
use sluice_worker::pipeline::{self, WorkerOptions};
use sluice_worker::report::Board;
use sluice_worker::source::{EmbeddedKafka, EmbeddedProducer};
use sluice_worker::write::read_back;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Nothing here takes longer on any machine that works.
const PATIENCE: Duration = Duration::from_mins(2);

const MANIFEST: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka}
spec: {kafka: {bootstrapServers: ["BROKER"], config: {session.timeout.ms: "6000"}}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders}
spec:
  mode: UntilCaughtUp
  source:
    table:
      database: test
      location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
      format: {json: {}}
      columns:
      - {name: id, type: string}
      - {name: amount, type: double}
      - {name: at, type: bigint}
  window: {period: 1h}
  parameters: {least: "0"}
  transforms: TRANSFORMS
  sink:
    table:
      database: test
      location: {objectStore: {url: "file://FOLDER/orders/"}}
      format: {parquet: {}}
      partitionKeys: KEYS
  deadLetter: {objectStore: {url: "file://FOLDER/dead/"}}
  retries: {perWindow: 1, backoff: 100ms}
"#;

const USUAL: &str = r#"[{filter: "amount > ${least}"}, {derive: {day: "CAST(to_timestamp_millis(at) AS DATE)"}}]"#;

/// A broker, a folder and a job.
pub struct World {
    kafka: EmbeddedKafka,
    producer: EmbeddedProducer,
    partitions: i32,
    folder: TempDir,
}

impl World {
    pub fn new(partitions: i32) -> Self {
        let (kafka, producer) = EmbeddedKafka::start("orders", partitions).expect("an embedded Kafka");
        Self { kafka, producer, partitions, folder: TempDir::new().expect("a folder") }
    }

    /// Spreads the records over the partitions.
    pub fn produce(&self, records: &[String]) {
        for (partition, record) in (0..self.partitions).cycle().zip(records) {
            self.producer.produce("orders", partition, record.as_bytes()).expect("produces");
        }
        self.producer.flush().expect("arrives");
    }

    fn resolve(&self, transforms: &str, keys: &str) -> JobPlan {
        let text = MANIFEST
            .replace("BROKER", &self.kafka.bootstrap_servers())
            .replace("FOLDER", &self.folder.path().display().to_string())
            .replace("TRANSFORMS", transforms)
            .replace("KEYS", keys);
        let manifests = manifest::parse([("job.yaml", text.as_str())]).expect("valid manifests");
        let job = manifests.jobs.values().next().expect("one job");
        resolve(job, &manifests.tables, &manifests.connections, &ResolveContext::Local).expect("a plan")
    }

    /// The usual job: filter, derive, by day. Other steps instead, when given.
    pub fn plan(&self, transforms: &str) -> JobPlan {
        self.resolve(if transforms.is_empty() { USUAL } else { transforms }, "[{name: day, type: date}]")
    }

    /// How many amounts are above zero, and how many are not.
    pub fn aggregating_plan(&self) -> JobPlan {
        let step = r#"[{aggregate: {groupBy: ["amount > 0 AS good"], select: {n: "count(*)"}, scope: Batch}}]"#;
        self.resolve(step, "[]")
    }

    pub fn start(&self, plan: JobPlan) -> Running {
        let board = Board::new();
        let (stop, stopped) = watch::channel(false);
        let options = WorkerOptions {
            lanes: Some(2),
            lost_after: Duration::ZERO,
            ..WorkerOptions::new(self.folder.path().join("secrets"))
        };
        let task = tokio::spawn(pipeline::run(plan, options, Arc::clone(&board), stopped));
        Running { board, stop, task }
    }

    pub async fn run_to_the_end(&self, plan: &JobPlan) -> Result<WorkerReport, Stop> {
        self.start(plan.clone()).ended().await
    }

    fn table(&self) -> PathBuf {
        self.folder.path().join("orders")
    }

    /// The texts of one column of the table. A text that is there twice fails the test.
    pub fn column(&self, name: &str) -> BTreeSet<String> {
        column(&self.table(), name)
    }

    /// The same of another folder beside the table.
    pub fn column_in(&self, folder: &str, name: &str) -> BTreeSet<String> {
        column(&self.folder.path().join(folder), name)
    }

    /// The same of the table files that wait to be published.
    pub fn staged_column(&self, name: &str) -> BTreeSet<String> {
        let copies = TempDir::new().expect("a folder");
        let staged = self.staged_files().into_iter().filter(|file| file.starts_with(self.table()));
        for (index, file) in staged.enumerate() {
            std::fs::copy(file, copies.path().join(format!("{index}.parquet"))).expect("copies");
        }
        column(copies.path(), name)
    }

    /// The ids in the table, each once.
    pub fn ids(&self) -> BTreeSet<String> {
        self.column("id")
    }

    pub fn dead_letters(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.folder.path().join("dead"), "jsonl", &mut files);
        let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("text"));
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    pub fn stores(&self) -> Stores {
        Stores::open(&self.plan(""), self.folder.path()).expect("stores")
    }

    pub async fn ledger(&self) -> Ledger {
        self.find_ledger().await.expect("a ledger")
    }

    /// A worker that was just started may not have one yet.
    async fn find_ledger(&self) -> Result<Ledger, LedgerError> {
        let (objects, prefix) = self.stores().checkpoint.objects();
        Ledger::open_existing(objects, prefix, &self.plan("").checkpoint.url).await
    }

    /// Waits until the ledger has this many offsets.
    pub async fn until_committed(&self, offsets: i64) {
        let wait = async {
            loop {
                let ledger = self.find_ledger().await;
                let read = |ledger: Ledger| ledger.state().positions.values().map(|at| at.next).sum::<i64>();
                if ledger.map_or(0, read) >= offsets {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the ledger gets there");
    }

    /// What the ledger says, record by record.
    pub async fn records(&self) -> Vec<Body> {
        let history = self.ledger().await.history().await.expect("a history");
        history.into_iter().map(|(_, record, _)| record.body).collect()
    }

    /// Files that wait to be published.
    pub fn staged_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for root in ["orders", "dead"] {
            collect(&self.folder.path().join(root), "inprogress", &mut files);
        }
        files.sort();
        files
    }

    /// The ledger must be sound, and everything published.
    pub async fn audit(&self) {
        self.audit_of(false).await;
    }

    /// The same of a plan that aggregates, or not.
    pub async fn audit_of(&self, aggregates: bool) {
        let history = self.ledger().await.history().await.expect("a history");
        let commits = history.iter().filter(|_| aggregates);
        let plans = commits
            .filter_map(|(_, record, _)| if let Body::Commit(commit) = &record.body { Some(commit) } else { None });
        let report = verify::verify(&history, &plans.map(|commit| commit.plan.clone()).collect());
        assert_eq!((report.problems, report.unpublished), (Vec::new(), Vec::new()));
    }
}

/// The texts of one column of all files below a folder. A text that is there twice fails the test.
fn column(folder: &Path, name: &str) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    if !folder.exists() {
        return texts;
    }
    for batch in read_back::parquet_folder(folder).expect("sound files") {
        let column = batch.column_by_name(name).expect("the column");
        for row in 0..batch.num_rows() {
            let text = array_value_to_string(column, row).expect("a text");
            assert!(texts.insert(text.clone()), "{text} is there twice");
        }
    }
    texts
}

/// All files below a folder with this extension.
fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, extension, files);
        } else if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
}

/// A worker at work.
pub struct Running {
    board: Arc<Board>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), Stop>>,
}

impl Running {
    pub fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    /// Waits for its end by itself.
    pub async fn ended(self) -> Result<WorkerReport, Stop> {
        let outcome = tokio::time::timeout(PATIENCE, self.task).await.expect("an end").expect("no panic");
        outcome.map(|()| self.board.report())
    }

    /// Asks it to drain and waits for its end.
    pub async fn drain(self) -> Result<WorkerReport, Stop> {
        self.stop.send(true).expect("somebody listens");
        self.ended().await
    }

    /// Waits until its report looks like this.
    pub async fn until(&self, wanted: impl Fn(&WorkerReport) -> bool) {
        let wait = async {
            while !wanted(&self.board.report()) {
                assert!(!self.task.is_finished(), "it ended: {:?}", self.board.report());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the report gets there");
    }
}
