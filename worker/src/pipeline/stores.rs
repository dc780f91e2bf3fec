//! The stores of a plan, opened: the table's, the dead letters' and the ledger's.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;

use crate::error::{Stop, chain};
use crate::ledger::record::FileRole;
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

    /// Where files of this role lie.
    pub fn of(&self, role: FileRole) -> Result<&Store, Stop> {
        match role {
            FileRole::Table => Ok(&self.table),
            FileRole::DeadLetter => self.dead.as_deref().ok_or_else(|| {
                Stop::new(
                    Reason::ConfigInvalid,
                    "the ledger has decided dead letters that are not visible yet, but the job has no spec.deadLetter \
                     any more: put it back until they are published",
                )
            }),
        }
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
