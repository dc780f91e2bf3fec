//! The programs of others on the same job: `bench/peers/` has them, and `bench/peers/setup.sh` installs what they need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_bench::results::page::names;
use sluice_e2e::broker::cache;

use super::Program;
use super::meter::Job;

/// Where everything of them is.
#[derive(Debug, Clone)]
pub struct Peers {
    scripts: PathBuf,
    installed: PathBuf,
}

/// One of them, run in one way.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// How often it does its work in one process.
    pub repeats: u32,
    kind: Kind,
    at: Peers,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// With so many records in a micro-batch; none: all of them.
    Spark(Option<u32>),
    Flink,
    Python,
}

const ALL: [(&str, &str, u32, Kind); 6] = [
    (
        names::SPARK_COLD,
        "Structured Streaming, `local[2]`, everything in one micro-batch; with the start of its JVM",
        1,
        Kind::Spark(None),
    ),
    (names::SPARK_WARM, "the third time in one JVM; CPU and wall time of that run alone", 3, Kind::Spark(None)),
    (names::SPARK_BATCHES, "the same in micro-batches of 250,000 records", 3, Kind::Spark(Some(250_000))),
    (
        names::FLINK_COLD,
        "Flink SQL, two slots, exactly-once file sink, checkpoints every 10 s; with the start of its JVM",
        1,
        Kind::Flink,
    ),
    (names::FLINK_WARM, "the third time in one JVM; CPU and wall time of that run alone", 3, Kind::Flink),
    (
        names::PYTHON,
        "confluent-kafka and pyarrow in a few dozen lines, files every 400,000 records; at least once: a kill doubles rows",
        1,
        Kind::Python,
    ),
];

impl Peers {
    /// Finds what was installed.
    pub fn find() -> Result<Self> {
        let installed = cache()?.join("peers");
        ensure!(
            installed.is_dir(),
            "no {}: run bench/peers/setup.sh first, or leave them out with --no-peers",
            installed.display()
        );
        Ok(Self { scripts: Path::new(env!("CARGO_MANIFEST_DIR")).join("peers"), installed })
    }

    /// All of them.
    pub fn programs(&self) -> Vec<Program> {
        let peer = |(name, about, repeats, kind)| Program::Peer(Peer { name, about, repeats, kind, at: self.clone() });
        ALL.into_iter().map(peer).collect()
    }

    /// Their versions.
    pub fn versions(&self) -> Vec<String> {
        let ask = |python: PathBuf, package: &str| {
            let line = format!("import importlib.metadata as m; print('{package}', m.version('{package}'))");
            let output = Command::new(python).args(["-c", &line]).output().ok()?;
            String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let plain = self.installed.join("plain/bin/python");
        let spark = ask(self.installed.join("spark/venv/bin/python"), "pyspark");
        let flink = Some("Flink 2.3.0".to_owned());
        [spark, flink, ask(plain.clone(), "pyarrow"), ask(plain, "confluent-kafka")].into_iter().flatten().collect()
    }
}

impl Peer {
    /// How it is run: on a topic with so many records, into `<folder>/out…`. `group` is a consumer group that nobody had before.
    pub fn job(&self, broker: &str, topic: &str, folder: &Path, records: u64, group: &str) -> Job {
        let installed = |path: &str| self.at.installed.join(path).display().to_string();
        let script = |path: &str| self.at.scripts.join(path).display().to_string();
        let (out, repeats) = (folder.join("out").display().to_string(), self.repeats.to_string());
        let words = match self.kind {
            Kind::Spark(batch) => {
                let mut words = vec![installed("spark/venv/bin/python"), script("spark_job.py")];
                let flags = [("--brokers", broker), ("--topic", topic), ("--out", &out), ("--repeats", &repeats)];
                words.extend(flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]));
                words.extend(["--jars".to_owned(), installed("spark/jars")]);
                words.extend(batch.into_iter().flat_map(|records| ["--max-offsets".to_owned(), records.to_string()]));
                words
            }
            Kind::Flink => {
                let checkpoints = folder.join("checkpoints").display().to_string();
                vec![
                    script("flink.sh"),
                    broker.to_owned(),
                    topic.to_owned(),
                    out,
                    checkpoints,
                    "10000".to_owned(),
                    repeats,
                ]
            }
            Kind::Python => {
                let (flush, stop) = ("400000".to_owned(), records.to_string());
                let python = installed("plain/bin/python");
                vec![
                    python,
                    script("plain.py"),
                    broker.to_owned(),
                    topic.to_owned(),
                    out,
                    flush,
                    stop,
                    group.to_owned(),
                ]
            }
        };
        let name = match self.kind {
            Kind::Spark(_) => "spark",
            Kind::Flink => "flink",
            Kind::Python => "python",
        };
        Job { environment: vec![("SPARK_LOCAL_IP".to_owned(), "127.0.0.1".to_owned())], ..Job::new(name, words) }
    }

    /// The folder of the last time that it did its work, below its own.
    pub fn last_folder(&self) -> String {
        match self.kind {
            Kind::Python => "out".to_owned(),
            _ => format!("out-{}", self.repeats),
        }
    }

    /// What lies in a folder that it wrote.
    pub async fn count(&self, out: &Path) -> Result<Value> {
        let mut python = Command::new(cache()?.join("venv/bin/python"));
        python.arg(self.at.scripts.join("count.py")).arg(out);
        let output = tokio::task::spawn_blocking(move || python.output()).await??;
        ensure!(output.status.success(), "cannot count {}: {}", out.display(), String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("count.py did not print JSON")
    }
}
