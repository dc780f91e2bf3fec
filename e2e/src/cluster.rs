//! The broker and the S3 server that all tests of a run share. Each test has its own topics, groups and buckets.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::broker::Broker;
use crate::kafka::Kafka;
use crate::s3::{Kind, S3Server};

/// The shared parts. They live until the test process ends.
#[derive(Debug)]
pub struct Cluster {
    broker: Broker,
    s3: S3Server,
}

impl Cluster {
    /// The shared cluster; the first call starts it.
    pub async fn shared() -> Result<&'static Self> {
        static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
        CLUSTER
            .get_or_try_init(|| async {
                let dir = fresh_folder("cluster")?;
                let (kafka_dir, s3_dir) = (dir.join("kafka"), dir.join("s3"));
                let (broker, s3) =
                    tokio::try_join!(Broker::start(&kafka_dir), S3Server::start(Kind::Versitygw, &s3_dir))?;
                Ok(Self { broker, s3 })
            })
            .await
    }

    /// A client of the broker.
    pub fn kafka(&self) -> Kafka {
        Kafka::new(self.broker.plaintext())
    }

    /// The broker, for its other listeners.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Where the S3 server keeps the objects of a bucket: as plain files, whose times are finer than what the protocol tells.
    pub fn files_of(bucket: &str) -> Result<PathBuf> {
        Ok(artifacts()?.join("cluster/s3/data").join(bucket))
    }

    /// `http://host:port` of the S3 server.
    pub fn s3(&self) -> String {
        self.s3.endpoint()
    }
}

/// Where tests keep logs and data: `$SLUICE_ARTIFACTS`, or `e2e` in the target folder.
pub fn artifacts() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("SLUICE_ARTIFACTS") {
        return Ok(dir.into());
    }
    Ok(target()?.join("e2e"))
}

/// The target folder that this program was built in: `<target>/release/deps/<program>`.
pub fn target() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).map(Path::to_owned);
    target.with_context(|| format!("{} is in no target folder", program.display()))
}

/// An empty folder for this name; what an earlier run left in it is removed.
pub fn fresh_folder(name: &str) -> Result<PathBuf> {
    let dir = artifacts()?.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
