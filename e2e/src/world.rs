//! The world of one test: its bucket, its folder of logs, its seed; and the judgement at the end.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use futures::FutureExt as _;

use crate::bucket::Bucket;
use crate::cluster::{Cluster, fresh_folder};
use crate::job::{CHECKPOINT, DEAD, Job, TABLE};
use crate::kafka::Kafka;
use crate::ledger::{Counts, Ledger};
use crate::produce::{Book, Place};
use crate::table::{all_places, dead_letters, place_of};
use crate::watcher::Watcher;
use crate::worker::{Run, Worker, sluice};

/// How long a bounded run of test size may take.
pub const RUN_LIMIT: Duration = Duration::from_mins(2);

/// What one test works with.
#[derive(Debug, Clone)]
pub struct World {
    name: String,
    folder: PathBuf,
    seed: u64,
    cluster: &'static Cluster,
    endpoint: String,
    bucket: Bucket,
}

/// Runs one test in a world of its own. When it fails, what is needed to understand it stays in a folder whose name is printed.
pub fn promise<F>(name: &str, test: impl FnOnce(World) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    runtime()?.block_on(async {
        let cluster = Cluster::shared().await?;
        run(World::new(name, cluster, cluster.s3()).await?, test).await
    })
}

/// As [`promise`], with an S3 server of the caller's choice.
pub fn promise_on<F>(name: &str, kind: crate::s3::Kind, test: impl FnOnce(World) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    runtime()?.block_on(async {
        let cluster = Cluster::shared().await?;
        let server = crate::s3::S3Server::start(kind, &fresh_folder(&format!("{name}-store"))?).await?;
        run(World::new(name, cluster, server.endpoint()).await?, test).await
    })
}

/// All tests share one runtime: the shared cluster's state belongs to it.
fn runtime() -> Result<&'static tokio::runtime::Runtime> {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Runtime::new()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

async fn run<F>(world: World, test: impl FnOnce(World) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let (name, seed, folder, bucket) = (world.name.clone(), world.seed, world.folder.clone(), world.bucket.clone());
    eprintln!("{name}: SLUICE_SEED={seed}");
    let start = Instant::now();
    let outcome = AssertUnwindSafe(test(world)).catch_unwind().await;
    let seconds = start.elapsed().as_secs_f64();
    if let Ok(Ok(())) = outcome {
        eprintln!("{name}: kept in {seconds:.1} s");
        return Ok(());
    }
    eprintln!("{name}: BROKEN after {seconds:.1} s with SLUICE_SEED={seed}; logs and listings: {}", folder.display());
    if let Err(error) = keep_evidence(&bucket, &folder).await {
        eprintln!("{name}: cannot keep everything: {error:#}");
    }
    match outcome {
        Ok(result) => {
            if let Err(error) = &result {
                // The folder may travel without the output of the run.
                std::fs::write(folder.join("failure.txt"), format!("SLUICE_SEED={seed}\n{error:#}\n"))?;
            }
            result
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The list of all objects, and all that is not table data.
async fn keep_evidence(bucket: &Bucket, folder: &Path) -> Result<()> {
    let objects = bucket.list("").await?;
    let lines = objects.iter().map(|o| format!("{} {:>10} {}\n", o.last_modified, o.size, o.location));
    std::fs::write(folder.join("objects.txt"), lines.collect::<String>())?;
    for object in objects.iter().filter(|object| object.location.extension() == Some("json")) {
        let file = folder.join("bucket").join(object.location.as_ref());
        std::fs::create_dir_all(file.parent().context("a key without a folder")?)?;
        std::fs::write(file, bucket.get(&object.location).await?)?;
    }
    Ok(())
}

impl World {
    async fn new(name: &str, cluster: &'static Cluster, endpoint: String) -> Result<Self> {
        let folder = fresh_folder(name)?;
        let bucket = Bucket::create(&endpoint, &name.replace('_', "-")).await?;
        let seed = std::env::var("SLUICE_SEED").ok().map_or_else(|| Ok(rand::random()), |seed| seed.parse())?;
        Ok(Self { name: name.to_owned(), folder, seed, cluster, endpoint, bucket })
    }

    /// The same world with its files elsewhere.
    #[must_use]
    pub fn with_files_in(&self, bucket: Bucket, endpoint: &str) -> Self {
        Self { bucket, endpoint: endpoint.to_owned(), ..self.clone() }
    }

    /// The name of the test.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seed of everything random in this test.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many rounds a test goes that can go on for ever: `$SLUICE_ROUNDS`, or what it says.
    pub fn rounds(&self, default: u64) -> Result<u64> {
        let rounds = std::env::var("SLUICE_ROUNDS").ok();
        rounds.map_or(Ok(default), |rounds| rounds.parse().context("SLUICE_ROUNDS is not a number"))
    }

    /// The folder of this test's logs and manifests.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The shared broker and S3 server.
    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    /// A client of the shared broker.
    pub fn kafka(&self) -> Kafka {
        self.cluster.kafka()
    }

    /// `http://host:port` of this test's S3 server.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// This test's bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// A new topic of the shared broker.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<String> {
        let topic = format!("{}.{name}", self.name);
        self.kafka().create_topic(&topic, partitions).await?;
        Ok(topic)
    }

    /// A job with windows of a second, on the shared broker and this test's bucket.
    pub fn job(&self, topic: &str) -> Job {
        Job {
            // The group's name follows from it, and all tests share one broker.
            namespace: "default".to_owned(),
            name: self.name.replace('_', "-"),
            bootstrap: self.kafka().bootstrap().to_owned(),
            topic: topic.to_owned(),
            endpoint: self.endpoint.clone(),
            root: self.bucket.root().to_owned(),
            folder: String::new(),
            period: "1s".to_owned(),
            stamp: "first".to_owned(),
            // The ten seconds that users get would only make the tests longer.
            session_ms: Some(3000),
            source: Vec::new(),
            spec: Vec::new(),
            max_percent: None,
            retries: 5,
        }
    }

    /// Starts a worker of a job.
    pub fn start(&self, name: &str, job: &Job) -> Result<Worker> {
        Run::new(name, &job.write(&self.folder)?).start(&self.folder)
    }

    /// Runs a job to the ends of its topic.
    pub async fn catch_up(&self, name: &str, job: &Job) -> Result<Worker> {
        let worker = Run::new(name, &job.write(&self.folder)?).until_caught_up().start(&self.folder)?;
        worker.expect(0, RUN_LIMIT).await?;
        Ok(worker)
    }

    /// Watches the table of a job.
    pub fn watch(&self, job: &Job) -> Watcher {
        Watcher::start(self.bucket.store(), &job.path(TABLE))
    }

    /// The ledger of a job, read by ourselves.
    pub async fn ledger(&self, job: &Job) -> Result<Ledger> {
        Ledger::read(&self.bucket, &job.path(CHECKPOINT)).await
    }

    /// Waits until the ledger of a job satisfies a condition. Objects appear without telling, so it is read again and again.
    pub async fn until(
        &self,
        what: &str,
        job: &Job,
        limit: Duration,
        done: impl Fn(&Ledger) -> bool,
    ) -> Result<Ledger> {
        let start = Instant::now();
        loop {
            let ledger = self.ledger(job).await?;
            if done(&ledger) {
                return Ok(ledger);
            }
            ensure!(start.elapsed() < limit, "after {limit:?} not yet: {what}; positions {:?}", ledger.positions);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Judges a job at rest: every record of the book is where it must be, exactly once, and the ledger says the same.
    pub async fn judge(&self, job: &Job, book: &Book) -> Result<()> {
        self.judge_data(job, book).await?;
        self.verify(job).await
    }

    /// As [`judge`](Self::judge), without asking the program.
    pub async fn judge_data(&self, job: &Job, book: &Book) -> Result<()> {
        let rows = all_places(&self.bucket, &job.path(TABLE)).await?;
        let twice: Vec<_> = rows.iter().filter(|(_, times)| **times > 1).take(5).collect();
        ensure!(twice.is_empty(), "rows are there more than once: {twice:?}");
        same("rows of the table", &rows.into_keys().collect(), &book.written)?;
        let letters = dead_letters(&self.bucket, &job.path(DEAD)).await?;
        let places: BTreeSet<Place> = letters.iter().map(place_of).collect::<Result<_>>()?;
        ensure!(places.len() == letters.len(), "{} dead letters name {} records", letters.len(), places.len());
        same("dead letters", &places, &book.dead)?;
        let ledger = self.ledger(job).await?;
        let (written, filtered, dead) = (book.written.len() as u64, book.filtered.len() as u64, book.dead.len() as u64);
        let expected = Counts { read: book.len() as u64, written, filtered, dead };
        ensure!(ledger.counts == expected, "the ledger counts {:?}, not {expected:?}", ledger.counts);
        Ok(())
    }

    /// Asks `sluice ledger verify`.
    pub async fn verify(&self, job: &Job) -> Result<()> {
        let manifests = job.write(&self.folder)?;
        let manifests = manifests.to_str().ok_or_else(|| anyhow!("a folder that is not UTF-8"))?;
        let (code, output) = sluice(&self.folder, "verify", &["ledger", "verify", "-f", manifests]).await?;
        ensure!(code == 0, "`sluice ledger verify` ended with {code}:\n{output}");
        Ok(())
    }
}

fn same(what: &str, found: &BTreeSet<Place>, expected: &BTreeSet<Place>) -> Result<()> {
    let (missing, extra) = (expected.difference(found), found.difference(expected));
    ensure!(
        found == expected,
        "{what}: {} found, {} expected; missing, for example, {:?}; unexpected, for example, {:?}",
        found.len(),
        expected.len(),
        missing.take(5).collect::<Vec<_>>(),
        extra.take(5).collect::<Vec<_>>()
    );
    Ok(())
}
