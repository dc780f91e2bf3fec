use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::runtime::Handle;

use super::*;
use crate::budget::Budget;
use crate::error::STORE;
use crate::ledger::record::{FileRole, PlanChange, SourceRange, Start};
use crate::ledger::{Owner, Tuning};
use crate::pipeline::stores::Stores;
use crate::pipeline::testing;
use crate::store::Store;
use crate::testing::failing_store::{FailingStore, Fault, Op};

/// Nothing here takes longer on any machine that works.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    /// Where the ledger lies. It sends each request once, so each fault reaches the committer.
    objects: Arc<FailingStore>,
    table: Arc<Store>,
    committer: Arc<Committer>,
}

async fn ledger(objects: &Arc<FailingStore>) -> Ledger {
    let name = String::from;
    let owner = Owner { cluster: name("c"), namespace: name("n"), name: name("j"), kafka_cluster: name("k") };
    let tuning = Tuning { tries: 1, ..Tuning::default() };
    let store = Arc::clone(objects) as Arc<dyn ObjectStore>;
    Ledger::open_with(store, Path::from("c"), "s3://lake/c/", &owner, tuning).await.unwrap()
}

async fn committer(objects: &Arc<FailingStore>, table: &Arc<Store>, retries: (u32, Duration)) -> Arc<Committer> {
    let ledger = Arc::new(Mutex::new(ledger(objects).await));
    let stores = Arc::new(Stores { table: Arc::clone(table), dead: None, checkpoint: Arc::clone(table) });
    let current = ("p".to_owned(), Arc::new(testing::plan("kafka:9092", std::path::Path::new("/t"))));
    let stores = Arc::new(FileStores::new(current, stores, Arc::clone(&ledger), PathBuf::new()));
    let repairer = Repairer::new(Arc::clone(&stores), PathBuf::new());
    Arc::new(Committer {
        ledger,
        stores,
        worker: "w".into(),
        plan: "p".into(),
        retries,
        repairer,
        lost_after: Duration::from_millis(20),
        visible: std::sync::Mutex::default(),
    })
}

/// A worker in a ledger with a plan and a start.
async fn world(retries: (u32, Duration)) -> World {
    let objects = Arc::new(FailingStore::default());
    let mut ledger = ledger(&objects).await;
    let name = String::from;
    let start = Start { topic: name("t"), topic_id: name("id"), earliest: false, positions: BTreeMap::from([(0, 0)]) };
    for body in [Body::Start(start), Body::Plan(PlanChange { generation: 1, hash: name("p") })] {
        let record = ledger.record(body);
        ledger.decide(&record).await.unwrap();
    }
    let table = Arc::new(Store::memory());
    let committer = committer(&objects, &table, retries).await;
    World { objects, table, committer }
}

impl World {
    /// Another worker, which reads the ledger now.
    async fn another(&self) -> Arc<Committer> {
        committer(&self.objects, &self.table, (0, Duration::ZERO)).await
    }

    /// The next record takes effect, and nobody can see that at first.
    fn hide_the_next_record(&self) {
        self.objects.fail(Op::Put, "ledger/", Fault::After);
        self.objects.fail(Op::Get, "ledger/", Fault::Before);
    }

    async fn upload(&self) -> StagedUpload {
        let mut staging = self.table.begin("part.parquet", &Handle::current(), &Budget::new(u64::MAX));
        staging.push(Bytes::from_static(b"rows"));
        staging.finish().await.unwrap()
    }

    /// One file with the rows of offset 0.
    async fn staged(&self) -> Staged {
        let StagedUpload { url, bytes, upload } = self.upload().await;
        let sources = vec![SourceRange { partition: 0, from: 0, to: 1 }];
        let file = FileRecord { role: FileRole::Table, url, rows: 1, bytes, partition: Vec::new(), sources, upload };
        Staged {
            batch: "b".into(),
            window: (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH),
            ranges: vec![OffsetRange { topic: "t".into(), topic_id: "id".into(), partition: 0, from: 0, to: 1 }],
            files: vec![file],
            counts: Counts::default(),
        }
    }

    async fn committed(&self) -> Committed {
        match self.committer.commit(self.staged().await).await.unwrap() {
            Outcome::Committed(committed) => committed,
            other @ Outcome::Void(..) => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_free_while_a_commit_waits_for_its_next_try() {
    let world = world((1, Duration::from_hours(1))).await;
    let staged = world.staged().await;
    world.objects.fail(Op::Put, "ledger/", Fault::Before);
    let before = world.objects.puts();
    let committer = Arc::clone(&world.committer);
    let commit = tokio::spawn(async move { committer.commit(staged).await });
    while world.objects.puts() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::timeout(PATIENCE, world.committer.sync()).await.expect("the lock is free").unwrap();
    assert!(!commit.is_finished(), "it waits for an hour");
    commit.abort();
}

#[tokio::test]
async fn a_failure_that_passes_ends_no_worker_whatever_it_does_with_the_ledger() {
    let world = world((2, Duration::from_millis(1))).await;
    world.objects.fail(Op::List, "ledger", Fault::Before);
    world.committer.sync().await.expect("reading");
    world.objects.fail(Op::Put, "ledger/", Fault::Before);
    let committed = world.committed().await;
    world.committer.publish(&committed).await.unwrap();
    world.objects.fail(Op::Put, "ledger/", Fault::Before);
    world.committer.note_published().await.expect("saying what is visible");
    assert!(world.committer.ledger.lock().await.state().unpublished.is_empty());
    assert_eq!(world.committer.unsaid(), Vec::<u64>::new());
}

#[tokio::test]
async fn a_failure_that_lasts_ends_the_worker_with_the_number_of_tries() {
    let world = world((2, Duration::from_millis(1))).await;
    for _ in 0..3 {
        world.objects.fail(Op::List, "ledger", Fault::Before);
    }
    let stop = world.committer.sync().await.unwrap_err();
    assert_eq!((stop.reason, stop.exit_code, stop.retry), (Reason::SinkUnavailable, STORE, false));
    assert!(stop.message.starts_with("the ledger could not be read after 3 tries: "), "{stop}");
    world.objects.fail(Op::List, "ledger", Fault::Denied);
    let stop = world.committer.sync().await.unwrap_err();
    assert_eq!(stop.reason, Reason::AuthenticationFailed, "no other try can help: {stop}");
}

#[tokio::test]
async fn what_somebody_else_may_say_of_visible_files_is_tried_once_only() {
    let world = world((2, Duration::from_hours(1))).await;
    let committed = world.committed().await;
    world.committer.publish(&committed).await.unwrap();
    world.objects.fail(Op::Put, "ledger/", Fault::Before);
    assert!(world.committer.try_to_note_published().await.is_err());
    world.committer.try_to_note_published().await.unwrap();
    assert!(world.committer.ledger.lock().await.state().unpublished.is_empty());
}

#[tokio::test]
async fn an_upload_that_is_lost_again_after_its_repair_needs_a_person() {
    let world = world((2, Duration::from_millis(1))).await;
    let Committed { seq, commit } = world.committed().await;
    let file = &commit.files[0];
    let again = world.upload().await;
    let repair = Repair { seq, url: again.url, bytes: again.bytes, upload: again.upload.clone() };
    let record = world.committer.ledger.lock().await.record(Body::Repair(repair));
    assert!(matches!(world.committer.decide(&record).await.unwrap(), Decision::Decided { .. }));
    for upload in [&file.upload, &again.upload] {
        world.table.discard(&file.url, upload).await.unwrap();
    }
    // On the way the ledger is looked at, and does not answer at first.
    world.objects.fail(Op::List, "ledger", Fault::Before);
    let stop = world.committer.publish_all().await.unwrap_err();
    assert_eq!(stop.reason, Reason::DataLossRisk, "{stop}");
    assert!(stop.message.contains("made again once and is lost again"), "{stop}");
}

#[tokio::test]
async fn a_batch_is_one_record_however_often_it_is_tried() {
    let world = world((1, Duration::from_millis(1))).await;
    world.hide_the_next_record();
    assert_eq!(world.committed().await.seq, 2);
}

#[tokio::test]
async fn a_batch_whose_fate_is_unknown_keeps_its_uploads_for_whoever_finds_the_record() {
    let world = world((0, Duration::ZERO)).await;
    let batch = world.staged().await;
    let url = batch.files[0].url.clone();
    world.hide_the_next_record();
    let stop = world.committer.commit(batch).await.unwrap_err();
    assert!(!stop.retry, "the worker ends: {stop}");
    world.another().await.publish_all().await.unwrap();
    assert!(world.table.exists(&url).await.unwrap());
}

#[tokio::test]
async fn a_missing_file_is_looked_for_again_before_it_counts_as_lost() {
    let world = world((0, Duration::ZERO)).await;
    let committed = world.committed().await;
    let url = &committed.commit.files[0].url;
    // Another worker publishes, compaction takes the file away, and this worker does not know yet.
    let other = world.another().await;
    other.publish_all().await.unwrap();
    other.note_published().await.unwrap();
    let (table, key) = (world.table.objects().0, Path::from(world.table.relative(url).unwrap()));
    object_store::ObjectStoreExt::delete(&table, &key).await.unwrap();
    world.committer.publish(&committed).await.unwrap();
    assert!(!world.table.exists(url).await.unwrap(), "a published file is never made again");
}
