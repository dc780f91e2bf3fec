//! Many at once on one ledger.

use super::*;

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
