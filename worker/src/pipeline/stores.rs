//! The stores of a plan, opened: the table's, the dead letters' and the ledger's.

use std::path::Path;
use std::sync::Arc;

use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;

use crate::error::Stop;
use crate::ledger::record::FileRole;
use crate::store::Store;

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
