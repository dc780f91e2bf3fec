//! Whose ledger it is, and whether the store can keep one.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::error::LedgerError;
use super::objects::{ObjectError, Objects, Settled};
use super::random_id;
use crate::error::Classified;

/// The format of the whole checkpoint. A program that meets another one refuses to run.
const VERSION: u32 = 1;

const NAME: &str = "job.json";

/// Who a ledger belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// UID of the Kubernetes cluster, or `local`.
    pub cluster: String,
    /// The job's namespace.
    pub namespace: String,
    /// The job's name.
    pub name: String,
    /// Cluster id of the Kafka cluster: offsets of another one mean other records.
    pub kafka_cluster: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, namespace, name, kafka_cluster } = self;
        write!(f, "job {namespace}/{name} of cluster {cluster} reading Kafka cluster {kafka_cluster}")
    }
}

#[derive(Serialize, Deserialize)]
struct Job {
    version: u32,
    owner: Owner,
}

/// The owner that the checkpoint names; `None`: there is no checkpoint yet.
pub(super) async fn read(objects: &Objects) -> Result<Option<Owner>, LedgerError> {
    objects.get_patiently(NAME).await?.map(|bytes| parse(objects, &bytes)).transpose()
}

fn parse(objects: &Objects, bytes: &[u8]) -> Result<Owner, LedgerError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let corrupt = |source| LedgerError::Corrupt { object: objects.url(NAME), source };
    let head: Head = serde_json::from_slice(bytes).map_err(corrupt)?;
    if head.version != VERSION {
        let what = format!("checkpoint version {}", head.version);
        return Err(LedgerError::UnknownFormat { object: objects.url(NAME), what });
    }
    serde_json::from_slice::<Job>(bytes).map(|job| job.owner).map_err(corrupt)
}

/// Makes the checkpoint this owner's, or refuses it.
pub(super) async fn claim(objects: &Objects, owner: &Owner) -> Result<(), LedgerError> {
    // It is read first, so that even a store that ignores conditions never loses somebody else's.
    let found = match read(objects).await? {
        Some(found) => found,
        None => create(objects, owner).await?,
    };
    if found == *owner {
        return Ok(());
    }
    Err(LedgerError::Foreign { url: objects.url(""), found: found.to_string(), ours: owner.to_string() })
}

async fn create(objects: &Objects, owner: &Owner) -> Result<Owner, LedgerError> {
    let encode = |source| LedgerError::Encode { object: objects.url(NAME), source };
    let bytes = serde_json::to_vec_pretty(&Job { version: VERSION, owner: owner.clone() }).map_err(encode)?;
    match objects.settle(NAME, &Bytes::from(bytes), ["job.put.before", "job.put.after"]).await? {
        Settled::Created => Ok(owner.clone()),
        Settled::Found(found) => parse(objects, &found),
    }
}

/// Proves that the store creates an object only once: the second create must fail.
pub(super) async fn probe(objects: &Objects) -> Result<(), LedgerError> {
    let name = format!("probe-{}.json", random_id());
    let verdict = create_twice(objects, &name).await;
    if let Err(error) = objects.delete(&name).await {
        tracing::debug!(error = crate::error::chain(&error), "the probe object was not deleted");
    }
    match verdict {
        Ok(true) => Ok(()),
        Ok(false) | Err(ObjectError::Unsupported { .. }) => {
            Err(LedgerError::ConditionalWritesUnsupported { url: objects.url("") })
        }
        Err(error) => Err(error.into()),
    }
}

/// Did the second create fail as it must?
async fn create_twice(objects: &Objects, name: &str) -> Result<bool, ObjectError> {
    let body = Bytes::from_static(b"{}");
    objects.settle(name, &body, ["probe.put.before", "probe.put.after"]).await?;
    let mut turn = 0;
    loop {
        turn += 1;
        match objects.create(name, body.clone()).await {
            Ok(()) => return Ok(false),
            Err(error) if error.says_exists() => return Ok(true),
            Err(error) if !error.retry() || turn >= objects.tuning().tries => return Err(error),
            Err(_) => objects.tuning().pause(turn).await,
        }
    }
}
