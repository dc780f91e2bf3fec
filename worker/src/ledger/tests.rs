use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sluice_crds::condition::Reason;
use tokio::task::JoinSet;

use super::position::Refused;
use super::record::{Move, Published, Reset, Run};
use super::testing::*;
use super::*;
use crate::error::Classified;
use crate::testing::failing_store::{FailingStore, Fault, Op};

mod chaos;
mod job;
mod killed;
mod objects;
mod race;
mod slots;

fn memory() -> Arc<FailingStore> {
    Arc::new(FailingStore::default())
}

/// A ledger of partitions 0 to 15, all at 0, with plan `p1`.
async fn begun(store: &Arc<FailingStore>) -> Ledger {
    let mut ledger = open(store).await.unwrap();
    let positions: Vec<_> = (0..16).map(|partition| (partition, 0)).collect();
    for (seq, body) in [start(false, &positions), plan(1, "p1")].into_iter().enumerate() {
        let record = ledger.record(body);
        assert_eq!(ledger.decide(&record).await.unwrap(), Decision::Decided { seq: seq as u64 });
    }
    ledger
}

async fn decide(ledger: &mut Ledger, body: Body) -> Decision {
    let record = ledger.record(body);
    ledger.decide(&record).await.unwrap()
}

fn stale(partition: i32, next: i64, from: i64) -> Decision {
    Decision::Void(Illegal::Position { partition, refused: Refused::NotNext { next, from } })
}

/// The promises that every history keeps: sound books, no id twice, and the state that this reader has.
async fn assert_sound(store: &Arc<FailingStore>) -> Vec<Entry> {
    let ledger = open(store).await.unwrap();
    let history = ledger.history().await.unwrap();
    let report = verify::verify(&history, &BTreeSet::new());
    assert_eq!(report.problems, Vec::<String>::new());
    let mut state = State::default();
    for (seq, record, verdict) in &history {
        assert_eq!(state::apply(&mut state, *seq, record), *verdict);
    }
    assert_eq!(*ledger.state(), state, "a reader that starts at a snapshot has the same state");
    history
}
