//! A record is in one slot at most, whatever was answered.

use super::*;

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
