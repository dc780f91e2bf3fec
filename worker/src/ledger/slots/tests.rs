use std::sync::Arc;

use object_store::path::Path;

use super::super::objects::Tuning;
use super::super::record::{Body, Published};
use super::super::testing::{PREFIX, URL, plant, record, tuning};
use super::*;
use crate::testing::failing_store::{FailingStore, Fault, Op};
use sluice_crds::condition::Reason;

fn slots(store: &Arc<FailingStore>, tuning: Tuning) -> Slots {
    Slots::new(Objects::new(Arc::clone(store) as _, Path::from(PREFIX), URL, tuning))
}

fn any_record() -> (Record, Bytes) {
    let record = record(Body::Published(Published { seqs: vec![] }));
    let bytes = serde_json::to_vec(&record).unwrap().into();
    (record, bytes)
}

/// A store whose first slots hold these many records.
async fn filled(records: u64) -> (Arc<FailingStore>, Slots) {
    let store = Arc::new(FailingStore::default());
    let slots = slots(&store, tuning());
    for seq in 0..records {
        let (record, bytes) = any_record();
        assert!(matches!(slots.claim(seq, &record, &bytes).await.unwrap(), Claim::Ours));
    }
    (store, slots)
}

#[test]
fn names_sort_as_numbers_do_and_others_are_not_ours() {
    assert_eq!(slot_name(42), "ledger/00000000000000000042.json");
    assert_eq!(parse_name(&file_name(u64::MAX)), Some(u64::MAX));
    for name in ["42.json", "00000000000000000042", "+0000000000000000042.json", "99999999999999999999.json"] {
        assert_eq!(parse_name(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_claim_is_decided_by_the_id_in_the_slot_whatever_the_answer_was() {
    for fault in [Fault::Before, Fault::After, Fault::ExistsAfter, Fault::Hang] {
        let (store, slots) = filled(0).await;
        store.fail(Op::Put, "ledger", fault);
        let (record, bytes) = any_record();
        assert!(matches!(slots.claim(0, &record, &bytes).await.unwrap(), Claim::Ours), "{fault:?}");
        let (late, bytes) = any_record();
        let Claim::Theirs(found) = slots.claim(0, &late, &bytes).await.unwrap() else { panic!("two owners") };
        assert_eq!(*found, record);
    }
}

#[tokio::test]
async fn a_claim_that_nobody_can_see_stays_undecided() {
    let (store, slots) = filled(0).await;
    for _ in 0..tuning().tries {
        store.fail(Op::Put, "ledger", Fault::Late);
    }
    let (record, bytes) = any_record();
    let error = slots.claim(0, &record, &bytes).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Undecided { id, .. } if *id == record.id), "{error:?}");
    assert!(error.retry() && error.reason() == Reason::SinkUnavailable);
    assert_eq!(store.puts(), u64::from(tuning().tries), "tries are bounded");
    store.land().await;
    assert!(matches!(slots.claim(0, &record, &bytes).await.unwrap(), Claim::Ours));
}

#[tokio::test]
async fn a_store_that_refuses_is_not_asked_again() {
    for (fault, reason) in [
        (Fault::Denied, Reason::AuthenticationFailed),
        (Fault::ExpiredToken, Reason::AuthenticationFailed),
        (Fault::NoBucket, Reason::ConfigInvalid),
        (Fault::Unsupported, Reason::ConditionalWritesUnsupported),
    ] {
        let (store, slots) = filled(0).await;
        store.fail(Op::Put, "ledger", fault);
        let (record, bytes) = any_record();
        let error = slots.claim(0, &record, &bytes).await.unwrap_err();
        assert_eq!((error.reason(), error.retry(), store.puts()), (reason, false, 1), "{error:?}");
        assert!(!format!("{error:?} {}", crate::error::chain(&error)).contains("secret"), "what was signed stays away");
    }
}

#[tokio::test]
async fn a_missing_bucket_is_no_empty_ledger() {
    let (store, slots) = filled(1).await;
    store.fail(Op::Get, "ledger", Fault::NoBucket);
    assert_eq!(slots.is_taken(0).await.unwrap_err().reason(), Reason::ConfigInvalid);
}

#[tokio::test]
async fn records_are_read_in_order_from_any_tail_and_any_listing() {
    let (store, slots) = filled(40).await;
    store.list_backwards();
    plant(&store, "ledger/README.txt", "not a record").await;
    for tail in [None, Some(0), Some(20), Some(39), Some(50)] {
        let seqs: Vec<u64> = slots.after(tail).await.unwrap().into_iter().map(|(seq, _)| seq).collect();
        let first = tail.map_or(0, |tail| tail + 1);
        assert_eq!(seqs, (first..40).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn reading_survives_what_passes() {
    let (store, slots) = filled(3).await;
    store.fail(Op::Get, "01.json", Fault::Before);
    store.fail(Op::Get, "02.json", Fault::NotYet);
    store.fail(Op::Get, "00.json", Fault::Hang);
    assert_eq!(slots.after(None).await.unwrap().len(), 3);
    store.fail(Op::List, "ledger", Fault::Before);
    let error = slots.after(None).await.unwrap_err();
    assert!(error.retry() && error.reason() == Reason::SinkUnavailable);
}

#[tokio::test]
async fn a_listing_that_was_too_early_for_a_record_hides_nothing() {
    let (store, slots) = filled(3).await;
    store.fail(Op::List, "ledger", Fault::NotYet);
    assert_eq!(slots.after(None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_missing_record_is_never_stepped_over() {
    let (store, slots) = filled(2).await;
    let (_, bytes) = any_record();
    plant(&store, &slot_name(3), std::str::from_utf8(&bytes).unwrap()).await;
    let error = slots.after(Some(0)).await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::DataLossRisk, false));
    assert!(error.to_string().contains(&slot_name(2)) && error.to_string().contains(&slot_name(3)), "{error}");
}

#[tokio::test]
async fn a_record_of_a_newer_program_stops_the_reader() {
    for text in [
        r#"{"version":1,"id":"a","time":"2026-01-01T00:00:00Z","kind":"Merge","what":{}}"#,
        r#"{"version":2,"id":"a","time":"2026-01-01T00:00:00Z","kind":"Published","seqs":[]}"#,
    ] {
        let (store, slots) = filled(0).await;
        plant(&store, &slot_name(0), text).await;
        let error = slots.after(None).await.unwrap_err();
        assert!(matches!(error, LedgerError::UnknownFormat { .. }), "{error:?}");
        assert!(error.to_string().contains(&slot_name(0)) && error.to_string().contains("newer"), "{error}");
        assert_eq!((error.reason(), error.retry()), (Reason::DataLossRisk, false));
        let (record, bytes) = any_record();
        let claim = slots.claim(0, &record, &bytes).await.unwrap_err();
        assert!(matches!(claim, LedgerError::UnknownFormat { .. }), "nor is it stepped over by a writer");
    }
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    for text in ["", "{\"version\":1,", r#"{"version":1,"id":"a","kind":"Commit"}"#] {
        let (store, slots) = filled(0).await;
        plant(&store, &slot_name(0), text).await;
        let error = slots.after(None).await.unwrap_err();
        assert!(matches!(error, LedgerError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains(&slot_name(0)), "{error}");
    }
}

#[tokio::test]
async fn copies_in_a_folder_below_are_no_records() {
    let (store, slots) = filled(2).await;
    plant(&store, &format!("ledger/copy/{}", file_name(7)), "{}").await;
    assert_eq!(slots.after(None).await.unwrap().len(), 2);
    assert_eq!(slots.after(Some(1)).await.unwrap(), []);
}
