//! The stores of a plan, opened: the table's, the dead letters' and the ledger's; and those of earlier plans, as long as
//! something of them is not visible.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;
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

    /// The store that a file lies in, if it is one of these.
    fn of(&self, file: &FileRecord) -> Option<&Arc<Store>> {
        let store = match file.role {
            FileRole::Table => Some(&self.table),
            FileRole::DeadLetter => self.dead.as_ref(),
        };
        store.filter(|store| store.relative(&file.url).is_some())
    }
}

/// Where the files lie that a ledger names. A job's sink may have moved since a file was decided: it belongs where the plan
/// of its commit wanted it, and the ledger has that plan.
pub struct FileStores {
    own: Arc<Stores>,
    ledger: Arc<Mutex<Ledger>>,
    secrets: PathBuf,
    /// By the hash of their plan.
    earlier: Mutex<BTreeMap<String, Arc<Stores>>>,
}

impl FileStores {
    /// `own` are the stores of the plan at work; `secrets` is the folder of secrets, for the others.
    pub fn new(own: Arc<Stores>, ledger: Arc<Mutex<Ledger>>, secrets: PathBuf) -> Self {
        Self { own, ledger, secrets, earlier: Mutex::default() }
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
    ///
    /// A file below the job's present locations is reached by its present plan: its secrets are the newer ones.
    pub async fn of(&self, plan: &str, file: &FileRecord) -> Result<Arc<Store>, Stop> {
        if let Some(store) = self.own.of(file) {
            return Ok(Arc::clone(store));
        }
        let mut earlier = self.earlier.lock().await;
        if !earlier.contains_key(plan) {
            earlier.insert(plan.to_owned(), Arc::new(self.open(plan, file).await?));
        }
        let stores = earlier.get(plan).and_then(|stores| stores.of(file));
        stores.cloned().ok_or_else(|| {
            let message = format!("the ledger names the file {}, which lies below no location of its plan", file.url);
            Stop::new(Reason::DataLossRisk, message)
        })
    }

    async fn open(&self, plan: &str, file: &FileRecord) -> Result<Stores, Stop> {
        let plan = self.plan(plan).await?;
        Stores::open(&plan, &self.secrets).map_err(|stop| {
            let message = format!(
                "{} (an earlier plan of the job wrote {}: keep what it needs to get there until the ledger says that it is \
                 published)",
                stop.message, file.url
            );
            Stop { message, ..stop }
        })
    }
}

fn tell(finding: &Finding) {
    match finding {
        Finding::LedgerExpires { .. } => tracing::error!("{finding}"),
        Finding::NeverAborted { .. } | Finding::AbortedEarly { .. } => tracing::warn!("{finding}"),
        Finding::ServerAborts { .. } => tracing::info!("{finding}"),
        Finding::Unknown { why, .. } => tracing::info!(why = %chain(why), "{finding}"),
    }
}
