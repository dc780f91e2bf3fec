//! Commits and publishes of a store that answers badly.

use std::path::PathBuf;

use object_store::path::Path;
use tokio::runtime::Handle;

use super::*;
use crate::budget::Budget;
use crate::ledger::record::{FileRole, PlanChange, SourceRange, Start};
use crate::ledger::{Owner, Tuning};
use crate::store::Store;
use crate::testing::failing_store::{FailingStore, Fault, Op};

const TRIES: u32 = 3;

async fn ledger(objects: &Arc<FailingStore>) -> Ledger {
    let owner = Owner { cluster: "uid".into(), namespace: "ns".into(), name: "job".into(), kafka_cluster: "k".into() };
    let backoff = Duration::from_micros(100);
    let tuning = Tuning { request: Duration::from_secs(10), tries: TRIES, backoff, snapshot_every: 100 };
    let objects = Arc::clone(objects) as Arc<dyn object_store::ObjectStore>;
    Ledger::open_with(objects, Path::from("c"), "s3://lake/c/", &owner, tuning).await.unwrap()
}

/// A ledger with a plan and a start, and a table.
async fn begun() -> (Arc<FailingStore>, Arc<Stores>) {
    let objects = Arc::new(FailingStore::default());
    let mut ledger = ledger(&objects).await;
    let start = Start { topic: "t".into(), topic_id: "id".into(), earliest: false, positions: [(0, 0)].into() };
    for body in [Body::Start(start), Body::Plan(PlanChange { generation: 1, hash: "p".into() })] {
        let record = ledger.record(body);
        assert!(matches!(ledger.decide(&record).await.unwrap(), Decision::Decided { .. }));
    }
    let store = Arc::new(Store::memory());
    (objects, Arc::new(Stores { table: Arc::clone(&store), dead: None, checkpoint: store }))
}

async fn committer(objects: &Arc<FailingStore>, stores: &Arc<Stores>, retries: u32) -> Committer {
    let ledger = Arc::new(Mutex::new(ledger(objects).await));
    let repairer =
        Repairer { ledger: Arc::clone(&ledger), stores: Arc::clone(stores), secrets: PathBuf::from("/nonexistent") };
    Committer {
        ledger,
        stores: Arc::clone(stores),
        worker: "w".into(),
        plan: "p".into(),
        retries: (retries, Duration::from_millis(1)),
        repairer,
        lost_after: Duration::from_millis(100),
        visible: std::sync::Mutex::default(),
    }
}

/// A batch of one file that is staged, over the first five offsets.
async fn staged(stores: &Stores) -> Staged {
    let mut staging = stores.table.begin("part-1.parquet", &Handle::current(), &Budget::new(u64::MAX));
    staging.push("rows".into());
    let StagedUpload { url, bytes, upload } = staging.finish().await.unwrap();
    let sources = vec![SourceRange { partition: 0, from: 0, to: 5 }];
    let file = FileRecord { role: FileRole::Table, url, rows: 5, bytes, partition: Vec::new(), sources, upload };
    let range = OffsetRange { topic: "t".into(), topic_id: "id".into(), partition: 0, from: 0, to: 5 };
    Staged {
        batch: "b".into(),
        window: (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH),
        ranges: vec![range],
        files: vec![file],
        counts: Counts { read: 5, written: 5, ..Counts::default() },
    }
}

/// The next record takes effect, and nobody can see that for as long as one call tries.
fn hide_the_next_record(objects: &FailingStore) {
    for _ in 0..TRIES {
        objects.fail(Op::Put, "ledger/", Fault::After);
        objects.fail(Op::Get, "ledger/", Fault::Before);
    }
}

#[tokio::test]
async fn a_batch_is_one_record_however_often_it_is_tried() {
    let (objects, stores) = begun().await;
    let committer = committer(&objects, &stores, 1).await;
    hide_the_next_record(&objects);
    let outcome = committer.commit(staged(&stores).await).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed(Committed { seq: 2, .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_batch_whose_fate_is_unknown_keeps_its_uploads_for_whoever_finds_the_record() {
    let (objects, stores) = begun().await;
    let dying = committer(&objects, &stores, 0).await;
    let batch = staged(&stores).await;
    let url = batch.files[0].url.clone();
    hide_the_next_record(&objects);
    let stop = dying.commit(batch).await.unwrap_err();
    assert!(!stop.retry, "the worker ends: {stop}");
    committer(&objects, &stores, 0).await.publish_all().await.unwrap();
    assert!(stores.table.exists(&url).await.unwrap());
}

#[tokio::test]
async fn a_missing_file_is_looked_for_again_before_it_counts_as_lost() {
    let (objects, stores) = begun().await;
    let slow = committer(&objects, &stores, 0).await;
    let batch = staged(&stores).await;
    let file = batch.files[0].clone();
    let Outcome::Committed(committed) = slow.commit(batch).await.unwrap() else { panic!("nobody else is there") };
    // Another worker publishes, compaction takes the file away, and this worker does not know yet.
    let other = committer(&objects, &stores, 0).await;
    other.publish_all().await.unwrap();
    other.note_published().await.unwrap();
    let (table, key) = (stores.table.objects().0, Path::from(stores.table.relative(&file.url).unwrap()));
    object_store::ObjectStoreExt::delete(&table, &key).await.unwrap();
    slow.publish(&committed).await.unwrap();
    assert!(!stores.table.exists(&file.url).await.unwrap(), "a published file is never made again");
}
