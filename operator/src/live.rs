//! The metadata of everything that the operator made, as its watches see them, and what it applied last.
//!
//! With both, an object that is as it should be costs no request: a thousand jobs at rest are silent.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::object::{Address, Mark};

/// A watch may be this late before its silence about an object that we just made means anything.
const WATCH_LAG: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<Address, ObjectMeta>,
    applied: HashMap<Address, Applied>,
    /// What a list that is under way has shown so far, by kind.
    listing: HashMap<String, HashSet<Address>>,
}

#[derive(Debug, Clone)]
struct Applied {
    hash: String,
    mark: Mark,
    at: Instant,
}

impl Live {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list of this kind begins.
    pub fn list_begins(&self, kind: &str) {
        self.state().listing.insert(kind.to_owned(), HashSet::new());
    }

    /// The list is complete: what it did not show and was seen before is gone.
    pub fn list_ends(&self, kind: &str) {
        let mut state = self.state();
        let Some(shown) = state.listing.remove(kind) else { return };
        let State { seen, applied, .. } = &mut *state;
        seen.retain(|address, _| {
            let stays = address.kind != kind || shown.contains(address);
            if !stays {
                applied.remove(address);
            }
            stays
        });
    }

    /// The watch shows an object. True: it is not as we left it.
    pub fn show(&self, address: Address, metadata: ObjectMeta) -> bool {
        let mut state = self.state();
        if let Some(shown) = state.listing.get_mut(&address.kind) {
            shown.insert(address.clone());
        }
        let foreign = state.applied.get(&address).is_none_or(|applied| applied.mark != Mark::of(&metadata));
        state.seen.insert(address, metadata);
        foreign
    }

    /// The watch says that an object is gone.
    pub fn gone(&self, address: &Address) {
        let mut state = self.state();
        state.seen.remove(address);
        state.applied.remove(address);
    }

    /// The metadata of an object.
    pub fn get(&self, address: &Address) -> Option<ObjectMeta> {
        self.state().seen.get(address).cloned()
    }

    /// Is this object there just as it would be applied now?
    pub fn is_applied(&self, address: &Address, hash: &str) -> bool {
        let state = self.state();
        state.applied.get(address).is_some_and(|applied| {
            let untouched = match state.seen.get(address) {
                Some(metadata) => metadata.deletion_timestamp.is_none() && Mark::of(metadata) == applied.mark,
                None => false,
            };
            applied.hash == hash
                && (untouched || applied.at.elapsed() < WATCH_LAG && !state.contradicts(address, applied))
        })
    }

    /// Notes what was applied, and what the API server made of it.
    pub fn applied(&self, address: Address, hash: String, metadata: &ObjectMeta) {
        let applied = Applied { hash, mark: Mark::of(metadata), at: Instant::now() };
        self.state().applied.insert(address, applied);
    }

    /// Forgets what was applied, so that the next apply is made for sure.
    pub fn forget(&self, address: &Address) {
        self.state().applied.remove(address);
    }
}

impl State {
    /// Does the watch show something else than what we left? An older state of the same object is no contradiction.
    fn contradicts(&self, address: &Address, applied: &Applied) -> bool {
        self.seen.get(address).is_some_and(|metadata| {
            metadata.deletion_timestamp.is_some() || Mark::of(metadata).is_later_than(&applied.mark)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sluice_crds::reference::ObjectKey;

    use super::*;

    fn set() -> Address {
        Address { kind: "StatefulSet".to_owned(), key: ObjectKey::new("etl", "a") }
    }

    fn metadata(uid: &str, generation: i64, version: &str) -> ObjectMeta {
        serde_json::from_value(json!({"name": "a", "namespace": "etl", "uid": uid, "generation": generation,
            "resourceVersion": version}))
        .expect("metadata")
    }

    #[test]
    fn what_was_applied_stands_until_somebody_changes_it() {
        let live = Live::default();
        live.applied(set(), "h".to_owned(), &metadata("u", 2, "10"));
        assert!(live.is_applied(&set(), "h"), "the watch is late");
        assert!(!live.is_applied(&set(), "other"), "something else is wanted now");
        assert!(live.show(set(), metadata("u", 1, "9")), "an older state is not what we left");
        assert!(live.is_applied(&set(), "h"), "and no reason to apply again: the newer one is on its way");
        assert!(!live.show(set(), metadata("u", 2, "12")), "a change of status is none");
        assert!(live.is_applied(&set(), "h"));
        assert!(live.show(set(), metadata("u", 3, "13")));
        assert!(!live.is_applied(&set(), "h"), "somebody changed the spec");
    }

    #[test]
    fn what_is_gone_is_made_again() {
        for gone in [
            |live: &Live| live.gone(&set()),
            |live: &Live| (live.list_begins("StatefulSet"), live.list_ends("StatefulSet")).1,
        ] {
            let live = Live::default();
            live.applied(set(), "h".to_owned(), &metadata("u", 1, "1"));
            live.show(set(), metadata("u", 1, "1"));
            gone(&live);
            assert!(!live.is_applied(&set(), "h"));
            assert_eq!(live.get(&set()), None);
        }
    }

    #[test]
    fn an_object_that_was_made_again_or_is_going_is_not_the_one_that_was_applied() {
        let live = Live::default();
        live.applied(set(), "h".to_owned(), &metadata("u", 1, "1"));
        live.show(set(), metadata("v", 1, "1"));
        assert!(!live.is_applied(&set(), "h"));
        let mut going = metadata("u", 1, "1");
        going.deletion_timestamp = serde_json::from_value(json!("2026-01-31T00:00:00Z")).expect("a time");
        live.show(set(), going);
        assert!(!live.is_applied(&set(), "h"));
    }

    #[test]
    fn a_list_that_is_under_way_hides_nothing() {
        let live = Live::default();
        live.show(set(), metadata("u", 1, "1"));
        live.list_begins("StatefulSet");
        assert!(live.get(&set()).is_some());
        live.list_ends("Service");
        assert!(live.get(&set()).is_some());
    }
}
