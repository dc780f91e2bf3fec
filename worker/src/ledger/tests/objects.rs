//! What lies beside the records: plans and snapshots, and where it may lie.

use super::*;

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
