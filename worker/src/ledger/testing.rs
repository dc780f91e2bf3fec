//! A small world for tests of the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::record::{
    Body, Commit, Counts, FileRecord, FileRole, OffsetRange, PlanChange, RECORD_VERSION, Record, SourceRange, Start,
    Upload,
};
use super::state::{self, State};
use super::{Ledger, LedgerError, Owner, Tuning};

pub(super) const URL: &str = "s3://lake/_sluice/ns.job/";
pub(super) const PREFIX: &str = "_sluice/ns.job";

pub(super) fn owner() -> Owner {
    Owner { cluster: "uid".into(), namespace: "ns".into(), name: "job".into(), kafka_cluster: "kafka".into() }
}

/// A time-out that a busy machine keeps, and waits that nobody notices.
pub(super) fn tuning() -> Tuning {
    Tuning { request: Duration::from_millis(400), tries: 3, backoff: Duration::from_micros(100), snapshot_every: 100 }
}

pub(super) async fn open(store: &Arc<impl ObjectStore>) -> Result<Ledger, LedgerError> {
    open_with(store, tuning()).await
}

pub(super) async fn open_with(store: &Arc<impl ObjectStore>, tuning: Tuning) -> Result<Ledger, LedgerError> {
    Ledger::open_with(Arc::clone(store) as Arc<dyn ObjectStore>, Path::from(PREFIX), URL, &owner(), tuning).await
}

/// Puts an object below the checkpoint, whatever is there.
pub(super) async fn plant(store: &Arc<impl ObjectStore>, name: &str, text: &str) {
    store.put(&Path::from(format!("{PREFIX}/{name}")), Bytes::from(text.to_owned()).into()).await.unwrap();
}

/// Names of all objects whose path contains `part`.
pub(super) async fn names(store: &Arc<impl ObjectStore>, part: &str) -> Vec<String> {
    use futures::TryStreamExt;
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    all.into_iter().map(|meta| meta.location.to_string()).filter(|name| name.contains(part)).collect()
}

fn fresh(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn record(body: Body) -> Record {
    Record { version: RECORD_VERSION, id: fresh("record"), time: Timestamp::UNIX_EPOCH, body }
}

pub(super) fn start(earliest: bool, positions: &[(i32, i64)]) -> Body {
    Body::Start(Start {
        topic: "t".into(),
        topic_id: "t-id".into(),
        earliest,
        positions: positions.iter().copied().collect(),
    })
}

pub(super) fn plan(generation: i64, hash: &str) -> Body {
    Body::Plan(PlanChange { generation, hash: hash.into() })
}

/// A batch of plan `p1` with one file that holds all its rows.
pub(super) fn batch(ranges: &[(i32, i64, i64)]) -> Commit {
    let batch = fresh("batch");
    let read = ranges.iter().map(|(_, from, to)| to.saturating_sub(*from).max(0) as u64).sum();
    let file = FileRecord {
        role: FileRole::Table,
        url: format!("s3://lake/t/{batch}.parquet"),
        rows: read,
        bytes: 10 * read,
        partition: vec![("day".into(), Some("1".into()))],
        sources: ranges.iter().map(|&(partition, from, to)| SourceRange { partition, from, to }).collect(),
        upload: Upload::Multipart { id: fresh("upload"), parts: vec!["etag".into()] },
    };
    let range = |&(partition, from, to): &(i32, i64, i64)| OffsetRange {
        topic: "t".into(),
        topic_id: "t-id".into(),
        partition,
        from,
        to,
    };
    Commit {
        worker: "w".into(),
        batch,
        plan: "p1".into(),
        window_start: Timestamp::UNIX_EPOCH,
        window_end: Timestamp::UNIX_EPOCH,
        ranges: ranges.iter().map(range).collect(),
        files: vec![file],
        counts: Counts { read, written: read, filtered: 0, dead: 0, bytes: 7 * read },
        published: vec![],
    }
}

pub(super) fn commit(ranges: &[(i32, i64, i64)]) -> Body {
    Body::Commit(batch(ranges))
}

/// The state after these records, all of which must be legal.
pub(super) fn fold(bodies: &[Body]) -> State {
    let mut state = State::default();
    for body in bodies {
        let seq = state.next_seq();
        state::apply(&mut state, seq, &record(body.clone())).unwrap();
    }
    state
}
