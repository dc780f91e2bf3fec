//! What all reconciles share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::runtime::events::Reporter;
use sluice_crds::reference::ObjectKey;

use crate::caches::Caches;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::names::MANAGER;
use crate::reports::Reports;
use crate::settings::{PodSettings, Settings};

/// See the module.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches show.
    pub caches: Caches,
    /// What the operator made.
    pub live: Arc<Live>,
    /// Asks pods.
    pub reports: Reports,
    /// Who writes events.
    pub reporter: Reporter,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// What pods run.
    pub pods: PodSettings,
    /// UID of the namespace `kube-system`: whose ledgers these are.
    pub cluster: String,
    failures: Mutex<HashMap<(&'static str, ObjectKey), u32>>,
    written: Mutex<HashMap<String, (String, Instant)>>,
    caught_up: Mutex<HashMap<String, Timestamp>>,
    settled: Mutex<HashMap<String, Settled>>,
    let_through: Mutex<HashMap<String, String>>,
    untold: Mutex<HashMap<String, Timestamp>>,
    starting: AtomicUsize,
}

/// The lag when a commit was first seen. Between two commits it grows however fast a job catches up, so lags are compared from one
/// commit to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The commit, by its number in the ledger.
    pub seq: i64,
    /// Records that were not committed then.
    pub records: i64,
}

/// So many jobs that start at the same time are many.
pub const MANY: usize = 8;
/// What may wait waits no longer than this.
const LONGEST_UNTOLD: SignedDuration = SignedDuration::from_secs(30);

/// Nobody waits longer for a watch to show what was written.
const LONGEST_BEHIND: Duration = Duration::from_secs(10);

/// A job that starts. See [`Context::starts`].
pub struct Starting<'a>(&'a AtomicUsize);

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is remembered of objects that are long gone is forgotten when there is this much of it. All it costs is an event told twice.
const MOST_REMEMBERED: usize = 10_000;

impl Context {
    /// A context.
    pub fn new(
        client: Client,
        settings: &Settings,
        cluster: String,
        metrics: Arc<Metrics>,
        caches: Caches,
        live: Arc<Live>,
    ) -> Self {
        Self {
            reporter: Reporter { controller: MANAGER.to_owned(), instance: Some(settings.pod_name.clone()) },
            client,
            caches,
            live,
            reports: Reports::default(),
            metrics,
            pods: settings.pods.clone(),
            cluster,
            failures: Mutex::default(),
            written: Mutex::default(),
            caught_up: Mutex::default(),
            settled: Mutex::default(),
            let_through: Mutex::default(),
            untold: Mutex::default(),
            starting: AtomicUsize::default(),
        }
    }

    /// Counts a failure; the answer is how many there were in a row before.
    pub fn failed(&self, kind: &'static str, key: ObjectKey) -> u32 {
        let mut failures = locked(&self.failures);
        let count = failures.entry((kind, key)).or_default();
        *count += 1;
        *count - 1
    }

    /// Ends a row of failures.
    pub fn succeeded(&self, kind: &'static str, key: &ObjectKey) {
        locked(&self.failures).remove(&(kind, key.clone()));
    }

    /// Notes that a job had nothing left to read at this time.
    pub fn is_caught_up(&self, uid: &str, now: Timestamp) {
        remember(&self.caught_up, uid, now);
    }

    /// When a job was last seen to have nothing left to read.
    pub fn caught_up(&self, uid: &str) -> Option<Timestamp> {
        locked(&self.caught_up).get(uid).copied()
    }

    /// Notes how far behind a job was when a commit of it was first seen.
    pub fn has_settled(&self, uid: &str, settled: Settled) {
        remember(&self.settled, uid, settled);
    }

    /// How far behind a job was after its last commit.
    pub fn settled(&self, uid: &str) -> Option<Settled> {
        locked(&self.settled).get(uid).copied()
    }

    /// Notes that a job may start this plan.
    pub fn lets_through(&self, uid: &str, plan_hash: &str) {
        remember(&self.let_through, uid, plan_hash.to_owned());
    }

    /// May a job start this plan, by what was found before?
    pub fn has_let_through(&self, uid: &str, plan_hash: &str) -> bool {
        locked(&self.let_through).get(uid).is_some_and(|hash| hash == plan_hash)
    }

    /// Counts a job whose first objects are being made, as long as the answer lives.
    pub fn starts(&self) -> Starting<'_> {
        self.starting.fetch_add(1, Ordering::Relaxed);
        Starting(&self.starting)
    }

    /// Has this object, which has something to tell now, had it for a shorter time than this?
    pub fn is_untold_for_less_than(&self, uid: &str, now: Timestamp, limit: SignedDuration) -> bool {
        let since = locked(&self.untold).get(uid).copied();
        let since = since.unwrap_or_else(|| {
            remember(&self.untold, uid, now);
            now
        });
        now.duration_since(since) < limit
    }

    /// May what this object has to tell wait? An API server that has many jobs to start starts them first.
    pub fn may_wait(&self, uid: &str, now: Timestamp) -> bool {
        self.starting.load(Ordering::Relaxed) >= MANY && self.is_untold_for_less_than(uid, now, LONGEST_UNTOLD)
    }

    /// Notes that a status was written over this version of an object.
    pub fn wrote(&self, uid: &str, version: String) {
        locked(&self.untold).remove(uid);
        remember(&self.written, uid, (version, Instant::now()));
    }

    /// Is this version of an object the one that a status was written over? Then the cache does not show that status yet, and whoever
    /// goes on from here would tell of the same transition again. That is the lesser evil when the watch is late for long.
    pub fn is_behind(&self, uid: &str, version: Option<&str>) -> bool {
        let mut written = locked(&self.written);
        let behind =
            written.get(uid).is_some_and(|(base, at)| Some(base.as_str()) == version && at.elapsed() < LONGEST_BEHIND);
        if !behind {
            written.remove(uid);
        }
        behind
    }
}

fn remember<T>(memory: &Mutex<HashMap<String, T>>, uid: &str, what: T) {
    let mut memory = locked(memory);
    if memory.len() >= MOST_REMEMBERED {
        memory.clear();
    }
    memory.insert(uid.to_owned(), what);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Stage};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[tokio::test]
    async fn what_may_wait_waits_while_many_jobs_start_and_never_for_long() {
        let context = Stage::new(&testing::manifests()).context;
        let mut crowd: Vec<_> = (1..MANY).map(|_| context.starts()).collect();
        assert!(!context.may_wait("a", at(0)), "not many yet");
        crowd.push(context.starts());
        assert!(context.may_wait("a", at(0)));
        assert!(context.may_wait("a", at(29)) && !context.may_wait("a", at(30)));
        context.wrote("a", "1".to_owned());
        assert!(context.may_wait("a", at(31)), "this is something new");
        crowd.pop();
        assert!(!context.may_wait("a", at(31)));
    }

    #[tokio::test]
    async fn a_cache_is_behind_until_it_shows_another_version_than_the_one_that_was_written_over() {
        let context = Stage::new(&testing::manifests()).context;
        assert!(!context.is_behind("a", Some("7")));
        context.wrote("a", "7".to_owned());
        assert!(context.is_behind("a", Some("7")) && context.is_behind("a", Some("7")));
        assert!(!context.is_behind("b", Some("7")));
        assert!(!context.is_behind("a", Some("8")));
        assert!(!context.is_behind("a", Some("7")), "a cluster that was set back is believed");
    }
}
