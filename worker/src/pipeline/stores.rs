//! The stores of a plan, opened: the table's, the dead letters' and the ledger's; and those of earlier plans, as long as
//! something of them is not visible.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use sluice_crds::condition::Reason;
use sluice_crds::plan::{JobPlan, Location};
use tokio::sync::Mutex;

use crate::error::{Stop, chain};
use crate::ledger::Ledger;
use crate::ledger::record::{FileRecord, FileRole};
use crate::store::{Finding, Holds, Store};

/// The opened stores of a plan.
#[derive(Debug)]
pub struct Stores {
    /// The sink table's.
    pub table: Arc<Store>,
    /// The dead letters', when the plan has them.
    pub dead: Option<Arc<Store>>,
    /// The ledger's.
    pub checkpoint: Arc<Store>,
}

impl Stores {
    /// Opens all of them. Does not reach out yet.
    pub fn open(plan: &JobPlan, secrets: &Path) -> Result<Self, Stop> {
        let dead = match &plan.dead_letter {
            Some(dead) => Some(Arc::new(Store::open(&dead.location, secrets)?)),
            None => None,
        };
        Ok(Self {
            table: Arc::new(Store::open(&plan.sink.location, secrets)?),
            dead,
            checkpoint: Arc::new(Store::open(&plan.checkpoint, secrets)?),
        })
    }

    /// Asks each of them whether it can be reached and written, so that a wrong key is known before a record is read.
    pub async fn probe(&self) -> Result<(), Stop> {
        self.table.probe().await?;
        if let Some(dead) = &self.dead {
            dead.probe().await?;
        }
        Ok(())
    }

    /// Tells in the log where the lifecycle rules of a bucket do not suit what lies there. Takes a few seconds at most, and
    /// stops nothing: with other rules the job is as right, only less safe or more costly.
    pub async fn look_at_lifecycles(&self) {
        let staged = [Some(&self.table), self.dead.as_ref()].into_iter().flatten();
        let asked = staged.map(|store| (store, Holds::Uploads)).chain([(&self.checkpoint, Holds::Ledger)]);
        let found = join_all(asked.map(|(store, holds)| store.lifecycle(holds))).await;
        // As a rule they all lie in one bucket: what is true of it is said once.
        let mut said = BTreeSet::new();
        for finding in found.iter().flatten() {
            if said.insert(finding.to_string()) {
                tell(finding);
            }
        }
    }

    /// The store for files of this role.
    fn of(&self, role: FileRole) -> Option<&Arc<Store>> {
        match role {
            FileRole::Table => Some(&self.table),
            FileRole::DeadLetter => self.dead.as_ref(),
        }
    }
}

/// Where the files lie that a ledger names. A job's sink may have moved since a file was decided: it belongs where the plan
/// of its commit wanted it, and the ledger has that plan.
pub struct FileStores {
    hash: String,
    plan: Arc<JobPlan>,
    own: Arc<Stores>,
    ledger: Arc<Mutex<Ledger>>,
    secrets: PathBuf,
    /// Of earlier plans, by hash and role.
    earlier: Mutex<BTreeMap<(String, FileRole), Arc<Store>>>,
}

impl FileStores {
    /// The plan at work with its hash and its stores; `secrets` is the folder of secrets, for earlier plans.
    pub fn new(
        (hash, plan): (String, Arc<JobPlan>),
        own: Arc<Stores>,
        ledger: Arc<Mutex<Ledger>>,
        secrets: PathBuf,
    ) -> Self {
        Self { hash, plan, own, ledger, secrets, earlier: Mutex::default() }
    }

    /// The plan that a commit names.
    pub async fn plan(&self, hash: &str) -> Result<JobPlan, Stop> {
        let json = self.ledger.lock().await.plan(hash).await?;
        serde_json::from_slice(&json).map_err(|error| {
            let message = format!("the plan {hash}, which commits of the ledger name, cannot be read: {error}");
            Stop::new(Reason::DataLossRisk, message)
        })
    }

    /// The store of a file that a commit of this plan has decided.
    pub async fn of(&self, plan: &str, file: &FileRecord) -> Result<Arc<Store>, Stop> {
        let store = if plan == self.hash {
            self.own.of(file.role).cloned()
        } else {
            let mut earlier = self.earlier.lock().await;
            let key = (plan.to_owned(), file.role);
            match earlier.get(&key) {
                Some(store) => Some(Arc::clone(store)),
                None => match self.open(plan, file).await? {
                    Some(store) => Some(Arc::clone(earlier.entry(key).or_insert(store))),
                    None => None,
                },
            }
        };
        store.filter(|store| store.relative(&file.url).is_some()).ok_or_else(|| {
            let message = format!("the ledger names the file {}, which lies below no location of its plan", file.url);
            Stop::new(Reason::DataLossRisk, message)
        })
    }

    async fn open(&self, plan: &str, file: &FileRecord) -> Result<Option<Arc<Store>>, Stop> {
        let plan = self.plan(plan).await?;
        let Some(location) = place(&plan, file.role) else { return Ok(None) };
        if place(&self.plan, file.role).is_some_and(|own| is_same(own, location)) {
            // The secrets of the present plan are the newer ones.
            return Ok(self.own.of(file.role).cloned());
        }
        match Store::open(location, &self.secrets) {
            Ok(store) => Ok(Some(Arc::new(store))),
            Err(error) => {
                let stop = Stop::from(error);
                let message = format!(
                    "{} (an earlier plan of the job wrote {}: keep what it needs to get there until the ledger says that \
                     it is published)",
                    stop.message, file.url
                );
                Err(Stop { message, ..stop })
            }
        }
    }
}

/// Where files of this role go.
fn place(plan: &JobPlan, role: FileRole) -> Option<&Location> {
    match role {
        FileRole::Table => Some(&plan.sink.location),
        FileRole::DeadLetter => plan.dead_letter.as_ref().map(|dead| &dead.location),
    }
}

/// Where a file of an earlier plan lies, reached as the present plan reaches the same place: its secrets are the newer ones.
pub fn home<'p>(present: &'p JobPlan, earlier: &'p JobPlan, role: FileRole) -> Option<&'p Location> {
    let location = place(earlier, role)?;
    Some(place(present, role).filter(|own| is_same(own, location)).unwrap_or(location))
}

/// Do the same urls name the same files in both? How one logs in there does not matter.
fn is_same(one: &Location, other: &Location) -> bool {
    let server = |location: &Location| location.s3.as_ref().map(|s3| (s3.endpoint.clone(), s3.region.clone()));
    one.url == other.url && server(one) == server(other)
}

fn tell(finding: &Finding) {
    match finding {
        Finding::LedgerExpires { .. } => tracing::error!("{finding}"),
        Finding::NeverAborted { .. } | Finding::AbortedEarly { .. } => tracing::warn!("{finding}"),
        Finding::ServerAborts { .. } => tracing::info!("{finding}"),
        Finding::Unknown { why, .. } => tracing::info!(why = %chain(why), "{finding}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_crds::plan::S3Plan;

    fn at(url: &str, endpoint: Option<&str>, connection: &str) -> Location {
        let s3 = endpoint.map(|endpoint| S3Plan {
            connection: connection.to_owned(),
            endpoint: Some(endpoint.to_owned()),
            region: "us-east-1".to_owned(),
            path_style: true,
            credentials: None,
            trusted_certificates: Vec::new(),
        });
        Location { url: url.to_owned(), s3 }
    }

    #[test]
    fn the_same_url_on_another_server_is_another_place() {
        let here = at("s3://lake/t/", Some("http://a:9000"), "a");
        assert!(is_same(&here, &at("s3://lake/t/", Some("http://a:9000"), "renamed")));
        assert!(!is_same(&here, &at("s3://lake/t/", Some("http://b:9000"), "a")));
        assert!(!is_same(&here, &at("s3://lake/", Some("http://a:9000"), "a")), "a folder above it");
        assert!(!is_same(&here, &at("s3://lake/t/", None, "a")));
        assert!(is_same(&at("file:///t/", None, ""), &at("file:///t/", None, "")));
    }
}
