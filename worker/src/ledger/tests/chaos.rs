//! A store that fails at random.

use super::*;

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
