//! The stand: a broker, an S3 server, a folder; and how each program is run on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use sluice_bench::results::page::names;
use sluice_bench::results::{Decoded, Run};
use sluice_bench::shapes::Shape;
use sluice_e2e::broker::Broker;
use sluice_e2e::bucket::Bucket;
use sluice_e2e::cluster::fresh_folder;
use sluice_e2e::kafka::Kafka;
use sluice_e2e::s3::{Kind, S3Server};
use sluice_e2e::usage;

use super::load::Topic;
use super::manifest::{Place, manifests};
use super::meter::{self, Cost, Job};
use super::peers::Peer;
use super::sluice::{self, VARIANTS, Variant};
use super::{LIMIT, Program, profile};

/// A program without anything that makes a product of it.
#[derive(Debug)]
pub struct Floor {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How far it goes.
    stage: &'static str,
}

const FLOORS: [Floor; 3] = [
    Floor {
        name: names::FLOOR_CONSUME,
        about: "librdkafka, polled record by record, and nothing else",
        stage: "consume",
    },
    Floor { name: names::FLOOR_DECODE, about: "arrow-json, batches of 8192", stage: "decode" },
    Floor {
        name: names::FLOOR,
        about: "the filter, a file for each hour with the writer's defaults and snappy; no ledger, no commits",
        stage: "write",
    },
];

/// Everything that programs are run on.
pub struct Stand {
    folder: PathBuf,
    programs: PathBuf,
    broker: Broker,
    s3: S3Server,
    /// Runs so far: each has a folder or a bucket of its own.
    runs: AtomicU64,
}

impl Stand {
    /// Starts broker and S3 server.
    pub async fn start(programs: &Path) -> Result<Self> {
        let folder = fresh_folder("bench")?;
        let (kafka, s3) = (folder.join("kafka"), folder.join("s3"));
        let (broker, s3) = tokio::try_join!(Broker::start(&kafka), S3Server::start(Kind::Versitygw, &s3))?;
        Ok(Self { folder, programs: programs.to_owned(), broker, s3, runs: AtomicU64::new(0) })
    }

    /// A client of the broker.
    pub fn kafka(&self) -> Kafka {
        Kafka::new(self.broker.plaintext())
    }

    /// Our own programs.
    pub fn programs() -> Vec<Program> {
        VARIANTS.iter().map(Program::Ours).chain(FLOORS.iter().map(Program::Floor)).collect()
    }

    /// Removes what the runs have left; to be called after a good end.
    pub fn clear(self) -> Result<()> {
        let folder = self.folder.clone();
        drop(self);
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
    }

    fn fresh(&self) -> Result<(String, PathBuf)> {
        let name = format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.join(&name);
        fs::create_dir_all(&folder)?;
        Ok((name, folder))
    }

    /// Runs programs at once, and adds up what they cost.
    async fn measure(&self, jobs: &[Job], topic: &Topic) -> Result<(Run, Vec<String>)> {
        let before = self.broker_cpu()?;
        let done = try_join_all(jobs.iter().map(|job| meter::run(job, &self.folder, LIMIT))).await?;
        let mut run = Run {
            records: topic.counts.read,
            bytes: topic.bytes,
            broker: self.broker_cpu()? - before,
            ..Run::default()
        };
        let mut outputs = Vec::new();
        for (Cost { wall, cpu, peak }, output) in done {
            run.wall = run.wall.max(wall);
            run.cpu += cpu;
            // A limit is one for each process.
            run.peak = run.peak.max(peak);
            outputs.push(output);
        }
        Ok((run, outputs))
    }

    fn broker_cpu(&self) -> Result<f64> {
        usage::cpu(self.broker.pid().context("the broker is not running")?)
    }

    /// Runs Sluice.
    pub async fn run(&self, variant: &Variant, shape: &Shape, topic: &Topic) -> Result<Run> {
        let (name, folder) = self.fresh()?;
        let endpoint = self.s3.endpoint();
        let (place, bucket) = if variant.s3 {
            (Place::S3 { endpoint: &endpoint, bucket: &name }, Bucket::create(&endpoint, &name).await?)
        } else {
            (Place::Disk(&folder), Bucket::folder(&folder)?)
        };
        let text = manifests(shape, &self.broker.plaintext(), &topic.name, &place, variant)?;
        let file = self.folder.join("job.yaml");
        fs::write(&file, text)?;
        let jobs = variant.jobs(&self.programs.join("sluice"), &file);
        let (mut run, _) = self.measure(&jobs, topic).await?;
        (run.commits, run.files) = sluice::check(&bucket, shape, topic).await?;
        if variant.s3 {
            fs::remove_dir_all(self.folder.join("s3/data").join(&name))?;
        }
        fs::remove_dir_all(&folder)?;
        Ok(run)
    }

    /// Runs the job of a shape once more, under `perf`, and writes into the folder where its time went.
    pub async fn profile(&self, shape: &Shape, topic: &Topic, folder: &Path) -> Result<()> {
        let (_, run) = self.fresh()?;
        let text = manifests(shape, &self.broker.plaintext(), &topic.name, &Place::Disk(&run), &sluice::DISK)?;
        let (file, samples) = (self.folder.join("job.yaml"), self.folder.join("perf.data"));
        fs::write(&file, text)?;
        for mut job in sluice::DISK.jobs(&self.programs.join("sluice"), &file) {
            job.words.splice(0..0, profile::record(&samples));
            meter::run(&job, &self.folder, LIMIT).await?;
        }
        fs::create_dir_all(folder)?;
        fs::write(folder.join(format!("{}.txt", topic.name)), profile::report(&samples, shape, topic)?)?;
        Ok(fs::remove_dir_all(&run)?)
    }

    /// Runs the floor.
    pub async fn floor(&self, floor: &Floor, topic: &Topic) -> Result<Run> {
        let (_, folder) = self.fresh()?;
        let program = self.programs.join("floor").display().to_string();
        let (broker, out) = (self.broker.plaintext(), folder.display().to_string());
        let words = [program.as_str(), floor.stage, &broker, &topic.name, &out];
        let (mut run, outputs) = self.measure(&[Job::new("floor", words)], topic).await?;
        let counted = last_object(&outputs)?;
        let expected = if floor.stage == "write" { topic.counts.written } else { topic.counts.read };
        ensure!(counted["rows"] == expected, "{} counts {}, not {expected}", floor.name, counted["rows"]);
        run.files = counted["files"].as_u64().unwrap_or_default();
        fs::remove_dir_all(&folder)?;
        Ok(run)
    }

    /// Runs a program of others. One that works several times in one process tells itself what the last time cost.
    pub async fn peer(&self, peer: &Peer, topic: &Topic) -> Result<Run> {
        let (name, folder) = self.fresh()?;
        let job = peer.job(&self.broker.plaintext(), &topic.name, &folder, topic.counts.read, &name);
        let (mut run, outputs) = self.measure(&[job], topic).await?;
        if peer.repeats > 1 {
            let last = last_object(&outputs)?;
            run.wall = last["wall_s"].as_f64().context("no wall_s")?;
            run.cpu = last["cpu_s"].as_f64().context("no cpu_s")?;
        }
        let counted = peer.count(&folder.join(peer.last_folder())).await?;
        let written = topic.counts.written;
        ensure!(
            counted["rows"] == written && counted["ids"] == written,
            "{} wrote {counted}, not {written} rows",
            peer.name
        );
        ensure!(counted["misplaced"] == 0, "{} has rows in wrong folders: {counted}", peer.name);
        run.files = counted["files"].as_u64().unwrap_or_default();
        fs::remove_dir_all(&folder)?;
        Ok(run)
    }

    /// Decoding alone, in a process of its own.
    pub async fn decode(&self) -> Result<Vec<Decoded>> {
        let program = self.programs.join("decode").display().to_string();
        let (_, output) = meter::run(&Job::new("decode", [program]), &self.folder, LIMIT).await?;
        Ok(serde_json::from_str(&output)?)
    }
}

/// The last line that is a JSON object, of what a program printed.
fn last_object(outputs: &[String]) -> Result<Value> {
    let lines = outputs.iter().flat_map(|output| output.lines().rev());
    let found = lines.filter(|line| line.starts_with('{')).find_map(|line| serde_json::from_str(line).ok());
    found.with_context(|| format!("no figures in {outputs:?}"))
}
