//! One client for each bucket of a connection, shared by all locations in it: a thousand ledgers in one bucket need one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sluice_crds::condition::Reason;
use sluice_crds::plan::{Location, S3Plan};

use super::secrets::Secrets;
use super::world::bucket;
use crate::error::Stop;
use crate::store::Store;

/// See the module.
pub struct Lakes {
    secrets: Secrets,
    known: Mutex<BTreeMap<(String, String), Known>>,
}

struct Known {
    plan: S3Plan,
    /// Of its secrets.
    stamp: String,
    store: Store,
}

impl Lakes {
    /// No client yet.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, known: Mutex::default() }
    }

    /// Opens a location. Nothing is sent.
    pub fn open(&self, location: &Location) -> Result<Store, Stop> {
        let Some(plan) = &location.s3 else { return Ok(Store::open(location, self.secrets.folder())?) };
        let files = plan.secret_files();
        if let Some(words) = self.secrets.missing(&files) {
            return Err(Stop::new(Reason::ReferenceNotFound, format!("connection `{}`: {words}", plan.connection)));
        }
        let (key, stamp) = ((plan.connection.clone(), bucket(&location.url).to_owned()), self.secrets.stamp(&files));
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let same = all.get(&key).filter(|known| known.plan == *plan && known.stamp == stamp);
        if let Some(store) = same.and_then(|known| known.store.sibling(&location.url)) {
            return Ok(store);
        }
        let store = Store::open(location, self.secrets.folder())?;
        all.insert(key, Known { plan: plan.clone(), stamp, store: store.clone() });
        Ok(store)
    }
}
