//! Whose checkpoint it is, and whether its store creates once.

use super::*;

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
