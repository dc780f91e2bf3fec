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
    let report = verify::verify(&history, false);
    assert_eq!(report.problems, Vec::<String>::new());
    let mut state = State::default();
    for (seq, record, verdict) in &history {
        assert_eq!(state::apply(&mut state, *seq, record), *verdict);
    }
    assert_eq!(*ledger.state(), state, "a reader that starts at a snapshot has the same state");
    history
}

#[tokio::test]
async fn what_is_decided_is_what_the_next_reader_sees() {
    let store = memory();
    let mut ledger = begun(&store).await;
    assert_eq!(decide(&mut ledger, commit(&[(0, 0, 5)])).await, Decision::Decided { seq: 2 });
    assert_eq!(open(&store).await.unwrap().state(), ledger.state());
    assert_eq!(ledger.state().next_offset(0), Some(5));
    assert_sound(&store).await;
}

#[tokio::test]
async fn an_illegal_record_is_void_and_takes_no_slot() {
    let store = memory();
    let mut ledger = begun(&store).await;
    let puts = store.puts();
    assert_eq!(decide(&mut ledger, commit(&[(0, 1, 5)])).await, stale(0, 0, 1));
    assert_eq!(store.puts(), puts);
}

#[tokio::test]
async fn a_record_is_judged_at_the_tail_and_not_where_its_writer_last_looked() {
    let store = memory();
    let mut one = begun(&store).await;
    let mut two = open(&store).await.unwrap();
    assert_eq!(decide(&mut one, commit(&[(0, 0, 5)])).await, Decision::Decided { seq: 2 });
    assert_eq!(decide(&mut two, commit(&[(0, 5, 7)])).await, Decision::Decided { seq: 3 }, "legal only at the tail");
    assert_eq!(decide(&mut one, commit(&[(0, 5, 6)])).await, stale(0, 7, 5), "legal only before");
    assert_eq!(decide(&mut one, commit(&[(0, 7, 8)])).await, Decision::Decided { seq: 4 });
    assert_sound(&store).await;
}

#[tokio::test]
async fn a_lost_reply_is_found_again_and_never_written_twice() {
    for fault in [Fault::After, Fault::ExistsAfter, Fault::Before, Fault::Hang] {
        let store = memory();
        let mut ledger = begun(&store).await;
        store.fail(Op::Put, "ledger/", fault);
        assert_eq!(decide(&mut ledger, commit(&[(0, 0, 5)])).await, Decision::Decided { seq: 2 }, "{fault:?}");
        assert_eq!(assert_sound(&store).await.len(), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn a_put_that_lands_long_after_its_time_out_is_the_same_record_in_the_same_slot() {
    let store = memory();
    let mut ledger = begun(&store).await;
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "ledger/", Fault::Late);
    }
    let record = ledger.record(commit(&[(0, 0, 5)]));
    let error = ledger.decide(&record).await.unwrap_err();
    assert!(matches!(error, LedgerError::Undecided { .. }) && error.retry(), "{error:?}");
    // It lands, and nobody tells: a look at the tail, then the same record again.
    let landed = store.land().await;
    assert_eq!(landed.iter().filter(|answer| answer.is_ok()).count(), 1, "one slot, so only one of them can land");
    ledger.sync().await.unwrap();
    assert_eq!(ledger.state().next_offset(0), Some(5));
    assert_eq!(ledger.decide(&record).await.unwrap(), Decision::Decided { seq: 2 }, "it is its own, not void");
    assert_eq!(ledger.decide(&record).await.unwrap(), Decision::Decided { seq: 2 }, "as often as one asks");
    assert_eq!(assert_sound(&store).await.len(), 3);
}

#[tokio::test]
async fn a_late_put_never_gets_a_second_slot_although_others_go_on() {
    let store = memory();
    let (mut one, mut two) = (begun(&store).await, open(&store).await.unwrap());
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "ledger/", Fault::Late);
    }
    let record = one.record(commit(&[(0, 0, 5)]));
    one.decide(&record).await.unwrap_err();
    // Another worker takes the slot before it lands, and the record goes into the next one, once.
    assert_eq!(decide(&mut two, commit(&[(1, 0, 1)])).await, Decision::Decided { seq: 2 });
    assert_eq!(one.decide(&record).await.unwrap(), Decision::Decided { seq: 3 });
    assert!(store.land().await.iter().all(Result::is_err), "the slot is taken for ever");
    let history = assert_sound(&store).await;
    assert_eq!(history.iter().filter(|(_, found, _)| found.id == record.id).count(), 1);
}

#[tokio::test]
async fn an_undecided_record_that_lands_and_is_built_upon_stays_decided() {
    let store = memory();
    let (mut one, mut two) = (begun(&store).await, open(&store).await.unwrap());
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "ledger/", Fault::Late);
    }
    let record = one.record(commit(&[(0, 0, 5)]));
    one.decide(&record).await.unwrap_err();
    store.land().await;
    let mut next = batch(&[(0, 5, 6)]);
    next.published = vec![2];
    assert_eq!(decide(&mut two, commit(&[(1, 0, 1)])).await, Decision::Decided { seq: 3 });
    assert_eq!(decide(&mut two, Body::Commit(next)).await, Decision::Decided { seq: 4 });
    assert_eq!(
        one.decide(&record).await.unwrap(),
        Decision::Decided { seq: 2 },
        "published by somebody else meanwhile"
    );
}

#[tokio::test]
async fn a_frozen_writer_that_wakes_up_is_void_only_after_its_slot_is_seen() {
    let store = memory();
    let (mut frozen, mut other) = (begun(&store).await, open(&store).await.unwrap());
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "ledger/", Fault::Late);
    }
    let record = frozen.record(commit(&[(0, 0, 5)]));
    frozen.decide(&record).await.unwrap_err();
    assert_eq!(decide(&mut other, commit(&[(0, 0, 3)])).await, Decision::Decided { seq: 2 });
    assert_eq!(frozen.decide(&record).await.unwrap(), stale(0, 3, 0));
    assert!(store.land().await.iter().all(Result::is_err), "nothing of it can land any more");
    // A replay makes its ranges fit again: void is void all the same.
    let back = Reset { nonce: Some(1), positions: [(0, Move { expected: 3, to: 0 })].into(), reason: "replay".into() };
    assert!(matches!(decide(&mut frozen, Body::Reset(back)).await, Decision::Decided { .. }));
    assert_eq!(frozen.decide(&record).await.unwrap(), stale(0, 3, 0));
}

#[tokio::test]
async fn a_record_whose_slot_cannot_be_read_goes_into_no_other_slot() {
    let store = memory();
    let mut ledger = begun(&store).await;
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "ledger/", Fault::After);
        store.fail(Op::Get, "ledger/", Fault::Before);
    }
    let record = ledger.record(Body::Published(Published { seqs: vec![] }));
    assert!(matches!(ledger.decide(&record).await.unwrap_err(), LedgerError::Undecided { .. }));
    assert_eq!(ledger.decide(&record).await.unwrap(), Decision::Decided { seq: 2 });
    assert_eq!(assert_sound(&store).await.len(), 3);
}

#[tokio::test]
async fn deciding_may_be_dropped_half_way() {
    let store = memory();
    let mut ledger = begun(&store).await;
    store.fail(Op::Put, "ledger/", Fault::After);
    store.fail(Op::Get, "ledger/", Fault::Hang);
    let record = ledger.record(commit(&[(0, 0, 5)]));
    let dropped = tokio::time::timeout(Duration::from_millis(50), ledger.decide(&record)).await;
    assert!(dropped.is_err());
    assert_eq!(ledger.decide(&record).await.unwrap(), Decision::Decided { seq: 2 });
    assert_eq!(assert_sound(&store).await.len(), 3);
}

#[tokio::test]
async fn an_unpublished_commit_is_recognised_by_a_ledger_that_did_not_send_it() {
    let store = memory();
    let mut ledger = begun(&store).await;
    let record = ledger.record(commit(&[(0, 0, 5)]));
    ledger.decide(&record).await.unwrap();
    let mut other = open(&store).await.unwrap();
    assert_eq!(other.decide(&record).await.unwrap(), Decision::Decided { seq: 2 });
}

#[tokio::test]
async fn a_plan_change_voids_the_batches_of_the_plan_before() {
    let store = memory();
    let (mut old, mut new) = (begun(&store).await, open(&store).await.unwrap());
    assert_eq!(decide(&mut new, plan(2, "p2")).await, Decision::Decided { seq: 2 });
    let void = decide(&mut old, commit(&[(0, 0, 5)])).await;
    assert_eq!(void, Decision::Void(Illegal::OtherPlan { current: Some("p2".into()), found: "p1".into() }));
    let late = decide(&mut old, plan(2, "p3")).await;
    assert_eq!(late, Decision::Void(Illegal::OldGeneration { current: 2, found: 2 }));
}

/// Runs these decisions at once, each by a ledger of its own.
async fn race(store: &Arc<FailingStore>, bodies: Vec<Body>) -> Vec<Decision> {
    let mut tasks = JoinSet::new();
    for body in bodies {
        let mut ledger = open(store).await.unwrap();
        tasks.spawn(async move { decide(&mut ledger, body).await });
    }
    tasks.join_all().await
}

fn decided(decisions: &[Decision]) -> usize {
    decisions.iter().filter(|decision| matches!(decision, Decision::Decided { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_committers_of_their_own_partitions_all_commit_everything_once() {
    const COMMITS: i64 = 12;
    let store = memory();
    begun(&store).await;
    let mut tasks = JoinSet::new();
    for partition in 0..16 {
        let mut ledger = open(&store).await.unwrap();
        tasks.spawn(async move {
            for from in 0..COMMITS {
                let decision = decide(&mut ledger, commit(&[(partition, from, from + 1)])).await;
                assert!(matches!(decision, Decision::Decided { .. }), "partition {partition}, {from}: {decision:?}");
            }
        });
    }
    tasks.join_all().await;
    let history = assert_sound(&store).await;
    assert_eq!(history.len() as i64, 2 + 16 * COMMITS, "no slot is wasted");
    let ledger = open(&store).await.unwrap();
    assert!((0..16).all(|partition| ledger.state().next_offset(partition) == Some(COMMITS)));
    assert_eq!(ledger.state().totals.voids, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_committers_of_one_range_exactly_one_wins() {
    let store = memory();
    begun(&store).await;
    let decisions = race(&store, (0..16).map(|_| commit(&[(0, 0, 5)])).collect()).await;
    assert_eq!(decided(&decisions), 1, "{decisions:?}");
    assert_eq!(decisions.iter().filter(|decision| **decision == stale(0, 5, 0)).count(), 15);
    assert_eq!(assert_sound(&store).await.len(), 3, "the losers are in no slot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_starts_resets_or_runs_at_once_one_wins() {
    let store = memory();
    let decisions = race(&store, vec![start(true, &[(0, 3)]), start(true, &[(0, 4)])]).await;
    assert_eq!(decided(&decisions), 1, "{decisions:?}");
    assert!(decisions.iter().any(|decision| matches!(decision, Decision::Void(Illegal::AlreadyStarted { .. }))));

    let at = open(&store).await.unwrap().state().next_offset(0).unwrap();
    let reset = |to| {
        Body::Reset(Reset { nonce: Some(1), positions: [(0, Move { expected: at, to })].into(), reason: "r".into() })
    };
    let decisions = race(&store, vec![reset(0), reset(1)]).await;
    assert_eq!(decided(&decisions), 1, "{decisions:?}");
    assert!(decisions.contains(&Decision::Void(Illegal::OldNonce { current: 1, found: 1 })));

    let run = |end| Body::Run(Run { id: "r".into(), ends: [(0, end)].into() });
    let decisions = race(&store, vec![run(8), run(9)]).await;
    assert_eq!(decided(&decisions), 1, "{decisions:?}");
    assert_sound(&store).await;
}

#[tokio::test]
async fn a_checkpoint_of_another_job_is_refused_and_both_are_named() {
    let store = memory();
    begun(&store).await;
    let change: [fn(&mut Owner); 4] = [
        |owner| owner.cluster = "elsewhere".into(),
        |owner| owner.namespace = "elsewhere".into(),
        |owner| owner.name = "elsewhere".into(),
        |owner| owner.kafka_cluster = "elsewhere".into(),
    ];
    for change in change {
        let mut other = owner();
        change(&mut other);
        let opened = Ledger::open(Arc::clone(&store) as _, Path::from(PREFIX), URL, &other).await;
        let error = opened.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::CheckpointForeign, false));
        assert!(error.to_string().contains(&owner().to_string()) && error.to_string().contains(&other.to_string()));
    }
    assert_eq!(open(&store).await.unwrap().owner(), &owner());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_jobs_that_begin_on_one_checkpoint_one_is_refused() {
    let store = memory();
    let mut tasks = JoinSet::new();
    for name in ["a", "b"] {
        let (store, owner) = (Arc::clone(&store), Owner { name: name.into(), ..owner() });
        tasks.spawn(async move { Ledger::open(store as _, Path::from(PREFIX), URL, &owner).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|opened| *opened).count(), 1);
}

#[tokio::test]
async fn a_lost_reply_makes_no_stranger_of_the_owner() {
    for fault in [Fault::After, Fault::ExistsAfter, Fault::Before] {
        let store = memory();
        store.fail(Op::Put, "job.json", fault);
        assert!(open(&store).await.is_ok(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_program_or_a_damaged_one_is_refused() {
    let store = memory();
    plant(&store, "job.json", r#"{"version":2,"tenant":{}}"#).await;
    assert!(matches!(open(&store).await.unwrap_err(), LedgerError::UnknownFormat { .. }));
    plant(&store, "job.json", "{").await;
    assert!(matches!(open(&store).await.unwrap_err(), LedgerError::Corrupt { .. }));
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused_and_left_clean() {
    let store = memory();
    store.ignore_conditions();
    let error = open(&store).await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::ConditionalWritesUnsupported, false));
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    let store = memory();
    store.fail(Op::Put, "probe", Fault::Unsupported);
    assert_eq!(open(&store).await.unwrap_err().reason(), Reason::ConditionalWritesUnsupported);
    assert_eq!(names(&store, "probe").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_store_that_ignores_conditions_never_loses_the_owner() {
    let store = memory();
    begun(&store).await;
    store.ignore_conditions();
    let other = Owner { name: "other".into(), ..owner() };
    let opened = Ledger::open(Arc::clone(&store) as _, Path::from(PREFIX), URL, &other).await;
    assert!(matches!(opened.unwrap_err(), LedgerError::Foreign { .. }));
    let look = Ledger::open_existing(Arc::clone(&store) as _, Path::from(PREFIX), URL).await;
    assert_eq!(look.unwrap().owner(), &owner());
}

#[tokio::test]
async fn a_probe_is_not_deceived_by_failures_that_pass() {
    for fault in [Fault::Before, Fault::After, Fault::ExistsAfter] {
        let store = memory();
        store.fail(Op::Put, "probe", fault);
        assert!(open(&store).await.is_ok(), "{fault:?}");
        assert_eq!(names(&store, "probe").await, Vec::<String>::new());
    }
    // The first create works, then the store is down: that says nothing about conditions.
    let store = memory();
    open(&store).await.unwrap();
    store.fail(Op::Put, "probe", Fault::After);
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "probe", Fault::Before);
    }
    assert_eq!(open(&store).await.unwrap_err().reason(), Reason::SinkUnavailable);
}

#[tokio::test]
async fn looking_at_a_ledger_creates_nothing() {
    let store = memory();
    let look = || Ledger::open_existing(Arc::clone(&store) as _, Path::from(PREFIX), URL);
    let error = look().await.unwrap_err();
    assert!(matches!(error, LedgerError::NoLedger { .. }), "{error:?}");
    let ledger = begun(&store).await;
    let puts = store.puts();
    let mut seen = look().await.unwrap();
    assert_eq!((seen.state(), seen.owner()), (ledger.state(), &owner()));
    let record = seen.record(commit(&[(0, 0, 1)]));
    assert!(matches!(seen.decide(&record).await.unwrap_err(), LedgerError::ReadOnly { .. }));
    assert_eq!(store.puts(), puts);
}

#[tokio::test]
async fn plans_are_kept_under_their_hash_and_never_replaced() {
    let store = memory();
    let ledger = open(&store).await.unwrap();
    store.fail(Op::Put, "plans/", Fault::After);
    ledger.put_plan("p1", b"{}").await.unwrap();
    ledger.put_plan("p1", b"{}").await.unwrap();
    assert_eq!(ledger.plan("p1").await.unwrap(), "{}");
    assert!(matches!(ledger.put_plan("p1", b"[]").await.unwrap_err(), LedgerError::PlanDiffers { .. }));
    assert_eq!(ledger.plan("p1").await.unwrap(), "{}");
    let error = ledger.plan("p2").await.unwrap_err();
    assert!(matches!(error, LedgerError::PlanMissing { .. }) && error.to_string().contains("plans/p2.json"), "{error}");
}

#[tokio::test]
async fn snapshots_shorten_the_start_and_change_nothing() {
    let store = memory();
    let often = Tuning { snapshot_every: 4, ..tuning() };
    begun(&store).await;
    let mut ledger = open_with(&store, often).await.unwrap();
    for from in 0..9 {
        decide(&mut ledger, commit(&[(0, from, from + 1)])).await;
    }
    let at = |seq| snapshot::name(seq);
    assert_eq!(names(&store, "snapshots").await, [3, 7].map(|seq| format!("{PREFIX}/{}", at(seq))));
    assert_eq!(open(&store).await.unwrap().state(), ledger.state());

    // Proof that it is used: a record before it is not read at the start, but a history reads it.
    plant(&store, &slot_name(1), "damaged").await;
    let again = open(&store).await.unwrap();
    assert_eq!(again.state(), ledger.state());
    assert!(matches!(again.history().await.unwrap_err(), LedgerError::Corrupt { .. }));
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_ignored() {
    let store = memory();
    let often = Tuning { snapshot_every: 2, ..tuning() };
    let mut ledger = open_with(&store, often).await.unwrap();
    for body in [start(false, &[(0, 0)]), plan(1, "p1"), commit(&[(0, 0, 1)]), commit(&[(0, 1, 2)])] {
        decide(&mut ledger, body).await;
    }
    let mut texts = vec![String::new(), "{}".to_owned()];
    for seq in [1, 3] {
        let name = Path::from(format!("{PREFIX}/{}", snapshot::name(seq)));
        let bytes = store.get(&name).await.unwrap().bytes().await.unwrap();
        texts.push(std::str::from_utf8(&bytes).unwrap().to_owned());
    }
    // The right one, but of another version and with a position that would be seen if it were used.
    let wrong = texts[3].replace("\"next\":2", "\"next\":99");
    texts[3] = wrong.replace("\"version\":1", "\"version\":2");
    for text in texts {
        plant(&store, &snapshot::name(3), &text).await;
        assert_eq!(open(&store).await.unwrap().state(), ledger.state(), "{text}");
    }
    plant(&store, &snapshot::name(3), &wrong).await;
    assert_ne!(open(&store).await.unwrap().state(), ledger.state(), "what the version was for");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_stops_nobody() {
    let store = memory();
    let mut ledger = open_with(&store, Tuning { snapshot_every: 1, ..tuning() }).await.unwrap();
    store.fail(Op::Put, "snapshots", Fault::Before);
    assert_eq!(decide(&mut ledger, start(false, &[(0, 0)])).await, Decision::Decided { seq: 0 });
}

#[tokio::test]
async fn a_record_that_vanished_behind_a_snapshot_is_missed() {
    let store = memory();
    let mut ledger = open_with(&store, Tuning { snapshot_every: 2, ..tuning() }).await.unwrap();
    decide(&mut ledger, start(false, &[(0, 0)])).await;
    decide(&mut ledger, plan(1, "p1")).await;
    store.delete(&Path::from(format!("{PREFIX}/{}", slot_name(1)))).await.unwrap();
    let error = open(&store).await.unwrap_err();
    assert!(matches!(error, LedgerError::Gap { .. }), "{error:?}");
    assert_eq!((error.reason(), error.retry()), (Reason::DataLossRisk, false));
}

#[tokio::test]
async fn refused_credentials_are_told_as_such() {
    let store = memory();
    store.fail(Op::Get, "job.json", Fault::Denied);
    let error = open(&store).await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::AuthenticationFailed, false));
    assert!(error.to_string().contains("s3://lake/_sluice/ns.job/job.json"), "{error}");
}

#[tokio::test]
async fn a_local_folder_keeps_a_ledger_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let mut one = open(&store).await.unwrap();
    let mut two = open(&store).await.unwrap();
    assert_eq!(decide(&mut one, start(true, &[(0, 0)])).await, Decision::Decided { seq: 0 });
    assert_eq!(decide(&mut two, plan(1, "p1")).await, Decision::Decided { seq: 1 });
    assert_eq!(decide(&mut one, commit(&[(0, 0, 1)])).await, Decision::Decided { seq: 2 });
    assert_eq!(decide(&mut two, commit(&[(0, 0, 1)])).await, stale(0, 1, 0));
    assert_eq!(open(&store).await.unwrap().state(), one.state());
}

#[tokio::test]
async fn ids_are_fresh_and_of_128_bits() {
    let ledger = open(&Arc::new(InMemory::new())).await.unwrap();
    let ids: BTreeSet<_> = (0..100).map(|_| ledger.record(Body::Published(Published { seqs: vec![] })).id).collect();
    assert!(ids.len() == 100 && ids.iter().all(|id| id.len() == 32));
}

/// The folder in which the process below works.
const FOLDER: &str = "SLUICE_TEST_LEDGER";

/// Not a test by itself: the process that the next test starts.
#[tokio::test]
#[ignore = "ends its process"]
async fn a_process_that_decides_one_record() {
    let folder = std::env::var(FOLDER).unwrap();
    let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder).unwrap());
    let mut ledger = open(&store).await.unwrap();
    crate::fault::arm().unwrap();
    decide(&mut ledger, start(true, &[(0, 0)])).await;
}

#[tokio::test]
async fn a_process_killed_around_its_put_has_decided_all_or_nothing() {
    for (point, records) in [("ledger.put.before", 0), ("ledger.put.after", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "ledger::tests::a_process_that_decides_one_record"])
            .env(FOLDER, folder.path())
            .env(crate::fault::VARIABLE, format!("{point}=return"))
            .output();
        let child = child.await.unwrap();
        assert!(std::os::unix::process::ExitStatusExt::signal(&child.status).is_some(), "{child:?}");
        let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let mut ledger = open(&store).await.unwrap();
        assert_eq!(ledger.history().await.unwrap().len(), records, "{point}");
        let again = decide(&mut ledger, start(true, &[(0, 0)])).await;
        assert_eq!(matches!(again, Decision::Decided { seq: 0 }), records == 0, "{point}: {again:?}");
    }
}

/// One worker of the chaos below: it decides until it is told, and keeps its own books of what it was told.
async fn chaotic_worker(mut ledger: Ledger, seed: u64, rounds: u32) -> BTreeMap<String, Decision> {
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let mut told = BTreeMap::new();
    for _ in 0..rounds {
        let mut partitions: Vec<i32> = (0..4).collect();
        partitions.shuffle(&mut rng);
        partitions.truncate(rng.random_range(1..3));
        partitions.sort_unstable();
        let next = |partition: &i32| ledger.state().next_offset(*partition).unwrap_or(0);
        let ranges: Vec<_> = partitions.iter().map(|p| (*p, next(p), next(p) + rng.random_range(0..4))).collect();
        let mut commit = batch(&ranges);
        commit.published = ledger.state().unpublished.keys().copied().take(2).collect();
        let record = ledger.record(Body::Commit(commit));
        let decision = loop {
            // The patience of a pipeline, which may also give up waiting and ask again.
            let patience = Duration::from_millis(rng.random_range(1..40));
            match tokio::time::timeout(patience, ledger.decide(&record)).await {
                Ok(Ok(decision)) => break decision,
                Ok(Err(error)) => assert!(error.retry(), "{error:?}"),
                Err(_) => {}
            }
        };
        told.insert(record.id, decision);
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_store_answers_everybody_is_told_the_truth(seed: u64, chance in 0.0f64..0.5) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = memory();
            begun(&store).await;
            let mut workers = JoinSet::new();
            let mut ledgers = Vec::new();
            for _ in 0..4 {
                ledgers.push(open_with(&store, Tuning { snapshot_every: 5, ..tuning() }).await.unwrap());
            }
            store.fail_at_random(seed, chance);
            for (index, ledger) in (0..).zip(ledgers) {
                workers.spawn(chaotic_worker(ledger, seed ^ index, 6));
            }
            let told = workers.join_all().await;
            store.calm();
            store.land().await;
            let history = assert_sound(&store).await;
            let legal: BTreeMap<_, _> =
                history.iter().filter(|(.., verdict)| verdict.is_ok()).map(|(seq, record, _)| (&record.id, *seq)).collect();
            for (id, decision) in told.iter().flatten() {
                match decision {
                    Decision::Decided { seq } => assert_eq!(legal.get(id), Some(seq), "told decided"),
                    Decision::Void(illegal) => assert_eq!(legal.get(id), None, "told void: {illegal}"),
                }
            }
            assert_eq!(legal.len(), 2 + told.iter().flatten().filter(|(_, decision)| matches!(decision, Decision::Decided { .. })).count());
        });
    }
}
