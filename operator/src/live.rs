//! A trace of everything that the operator made, as its watches see it, and what it applied last.
//!
//! With both, an object that is as it should be costs no request: a thousand jobs at rest are silent.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::object::{Address, Mark, Trace};

/// See the module.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Address, Known>,
    /// What a list that is under way has shown so far, by kind.
    listing: HashMap<String, HashSet<Address>>,
}

#[derive(Debug)]
struct Known {
    seen: Trace,
    /// Hash of what was applied, and the mark of what the API server made of it.
    applied: Option<(Box<str>, Mark)>,
}

impl Live {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list of this kind begins.
    pub fn list_begins(&self, kind: &str) {
        self.state().listing.insert(kind.to_owned(), HashSet::new());
    }

    /// The list is complete: what it did not show is gone.
    pub fn list_ends(&self, kind: &str) {
        let mut state = self.state();
        if let Some(shown) = state.listing.remove(kind) {
            state.objects.retain(|address, _| address.kind != kind || shown.contains(address));
        }
    }

    /// The watch shows an object. True: it is not as we left it.
    pub fn show(&self, address: Address, metadata: &ObjectMeta) -> bool {
        let mut state = self.state();
        let (seen, state) = (Trace::of(metadata), &mut *state);
        let known = state.objects.get_mut(&address);
        if let Some(shown) = state.listing.get_mut(&address.kind) {
            shown.insert(address.clone());
        } else if known.as_ref().is_some_and(|known| known.seen.mark.is_later_state_of(&seen.mark)) {
            // The watch tells late of what we wrote ourselves. A list is believed whatever it says.
            return false;
        }
        if let Some(known) = known {
            known.seen = seen;
            return known.applied.as_ref().is_none_or(|(_, ours)| *ours != known.seen.mark);
        }
        state.objects.insert(address, Known { seen, applied: None });
        true
    }

    /// The watch says that an object is gone.
    pub fn gone(&self, address: &Address) {
        self.state().objects.remove(address);
    }

    /// An object.
    pub fn get(&self, address: &Address) -> Option<Trace> {
        self.state().objects.get(address).map(|known| known.seen.clone())
    }

    /// Is this object there just as it would be applied now?
    pub fn is_applied(&self, address: &Address, hash: &str) -> bool {
        self.state().objects.get(address).is_some_and(|known| {
            let as_left =
                known.applied.as_ref().is_some_and(|(ours, mark)| **ours == *hash && known.seen.mark == *mark);
            as_left && !known.seen.leaving
        })
    }

    /// Notes what was applied, and what the API server made of it.
    pub fn applied(&self, address: Address, hash: String, metadata: &ObjectMeta) {
        let seen = Trace::of(metadata);
        let applied = Some((hash.into(), seen.mark.clone()));
        self.state().objects.insert(address, Known { seen, applied });
    }

    /// Forgets what was applied, so that the next apply is made for sure.
    pub fn forget(&self, address: &Address) {
        if let Some(known) = self.state().objects.get_mut(address) {
            known.applied = None;
        }
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
        assert!(!live.show(set(), &metadata("u", 1, "9")), "the watch tells of what was before");
        assert!(live.is_applied(&set(), "h"));
        assert!(!live.show(set(), &metadata("u", 2, "12")), "a change of status is none");
        assert!(live.is_applied(&set(), "h"));
        assert!(live.show(set(), &metadata("u", 3, "13")));
        assert!(!live.is_applied(&set(), "h"), "somebody changed the spec");
    }

    #[test]
    fn a_list_is_believed_also_when_the_cluster_was_set_back() {
        let live = Live::default();
        live.applied(set(), "h".to_owned(), &metadata("u", 5, "10"));
        live.list_begins("StatefulSet");
        assert!(live.show(set(), &metadata("u", 1, "2")));
        live.list_ends("StatefulSet");
        assert!(!live.is_applied(&set(), "h"));
    }

    #[test]
    fn what_is_gone_is_made_again() {
        for gone in [
            |live: &Live| live.gone(&set()),
            |live: &Live| (live.list_begins("StatefulSet"), live.list_ends("StatefulSet")).1,
        ] {
            let live = Live::default();
            live.applied(set(), "h".to_owned(), &metadata("u", 1, "1"));
            live.show(set(), &metadata("u", 1, "1"));
            gone(&live);
            assert!(!live.is_applied(&set(), "h"));
            assert_eq!(live.get(&set()), None);
        }
    }

    #[test]
    fn an_object_that_was_made_again_or_is_going_is_not_the_one_that_was_applied() {
        let live = Live::default();
        live.applied(set(), "h".to_owned(), &metadata("u", 1, "1"));
        live.show(set(), &metadata("v", 1, "1"));
        assert!(!live.is_applied(&set(), "h"));
        let mut going = metadata("u", 1, "1");
        going.deletion_timestamp = serde_json::from_value(json!("2026-01-31T00:00:00Z")).expect("a time");
        live.show(set(), &going);
        assert!(!live.is_applied(&set(), "h"));
    }

    #[test]
    fn a_list_that_is_under_way_hides_nothing() {
        let live = Live::default();
        live.show(set(), &metadata("u", 1, "1"));
        live.list_begins("StatefulSet");
        assert!(live.get(&set()).is_some());
        live.list_ends("Service");
        assert!(live.get(&set()).is_some());
    }
}
