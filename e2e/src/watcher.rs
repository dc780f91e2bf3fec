//! The reader who never looks away.
//!
//! A pass lists the table and reads every file of the list that is new or has changed. The watcher fails when, in one pass, a row is there twice; when
//! a row of an earlier pass is gone; and when a listed file cannot be read whole. Files may appear while a pass is under
//! way: the next one sees them. A row is known by the partition and offset of its record, which the tables of test jobs keep.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::TryStreamExt as _;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::produce::Place;
use crate::table::{is_visible, places};

/// Between two passes. Short, for a wrong state may last for milliseconds; not zero, for the workers need the machine too.
const PAUSE: Duration = Duration::from_millis(20);

/// The rows of one pass: where each of them stands.
type Rows = HashMap<Place, Arc<str>>;

/// A key and its `ETag`.
type FileId = (Key, Option<String>);

/// What one reader has seen so far.
pub struct Eye {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    /// Content by key and `ETag`: a file that did not change is read once.
    files: HashMap<FileId, Arc<[Place]>>,
    /// The files of the last pass.
    listed: HashSet<FileId>,
    rows: Rows,
}

impl Eye {
    /// A reader of the table below a prefix.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Key::from(prefix), files: HashMap::new(), listed: HashSet::new(), rows: Rows::new() }
    }

    /// Lists and reads the table once; answers how many rows there are. An error is a broken promise.
    pub async fn look(&mut self) -> Result<usize> {
        let objects: Vec<ObjectMeta> = self.store.list(Some(&self.prefix)).try_collect().await?;
        let visible = objects.into_iter().filter(|object| is_visible(&object.location));
        let listed: HashSet<FileId> = visible.map(|object| (object.location, object.e_tag)).collect();
        // As long as files only come, what is known of the others stays true; else everything is put together anew.
        let only_new = listed.is_superset(&self.listed);
        let mut rows = if only_new { std::mem::take(&mut self.rows) } else { Rows::with_capacity(self.rows.len()) };
        for id in listed.iter().filter(|id| !only_new || !self.listed.contains(id)) {
            let name: Arc<str> = id.0.as_ref().into();
            for &place in content(&self.store, &mut self.files, id).await?.iter() {
                if let Some(other) = rows.insert(place, Arc::clone(&name)) {
                    bail!("duplicate: the record at {place:?} is in {other} and in {name}");
                }
            }
        }
        if let Some((place, file)) = self.rows.iter().find(|(place, _)| !rows.contains_key(place)) {
            let gone = self.rows.keys().filter(|place| !rows.contains_key(place)).count();
            bail!("disappeared: the record at {place:?} was in {file} and is gone, with {} others", gone - 1);
        }
        (self.rows, self.listed) = (rows, listed);
        Ok(self.rows.len())
    }
}

async fn content(
    store: &Arc<dyn ObjectStore>,
    files: &mut HashMap<FileId, Arc<[Place]>>,
    id: &FileId,
) -> Result<Arc<[Place]>> {
    if let Some(content) = files.get(id) {
        return Ok(Arc::clone(content));
    }
    let key = &id.0;
    let answer = store.get(key).await.with_context(|| format!("disappeared: {key} was listed a moment ago"))?;
    let bytes = answer.bytes().await.with_context(|| format!("{key} cannot be read"))?;
    let content: Arc<[Place]> = places(bytes).with_context(|| format!("half-written: {key}"))?.into();
    files.insert(id.clone(), Arc::clone(&content));
    Ok(content)
}

/// A watcher at work. It stops at the first broken promise and keeps it.
#[derive(Debug)]
pub struct Watcher {
    rows: watch::Receiver<usize>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Seen>>,
}

/// What a watcher saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// How often it read the whole table.
    pub passes: usize,
    /// Rows in the last pass.
    pub rows: usize,
}

impl Watcher {
    /// Starts to watch the table below a prefix.
    pub fn start(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (seen, rows) = watch::channel(0);
        let task = tokio::spawn(watch_table(Eye::new(store, prefix), stopped, seen));
        Self { rows, stop, task }
    }

    /// Waits until a pass has seen at least this many rows, or a promise is broken.
    pub async fn until_rows(&self, wanted: usize, limit: Duration) -> Result<()> {
        let mut rows = self.rows.clone();
        let result = tokio::time::timeout(limit, rows.wait_for(|&rows| rows >= wanted)).await;
        let seen = *self.rows.borrow();
        match result {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => bail!("the watcher stopped at {seen} rows: a promise is broken"),
            Err(_) => bail!("the table has {seen} rows after {limit:?}; {wanted} were expected"),
        }
    }

    /// Looks once more and ends. An error is a broken promise.
    pub async fn finish(self) -> Result<Seen> {
        // It is gone already when a promise was broken.
        let _ = self.stop.send(());
        self.task.await?
    }
}

async fn watch_table(mut eye: Eye, mut stopped: oneshot::Receiver<()>, seen: watch::Sender<usize>) -> Result<Seen> {
    let mut passes = 0;
    loop {
        // Asked before the look: the last pass begins after the end of everything that is watched.
        let last = !matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        let rows = eye.look().await.with_context(|| format!("the watcher's pass {passes}"))?;
        passes += 1;
        seen.send_replace(rows);
        if last {
            return Ok(Seen { passes, rows });
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            // Also when the watcher was dropped: nobody wants to know any more, one more look does no harm.
            _ = &mut stopped => return Ok(Seen { passes: passes + 1, rows: eye.look().await? }),
        }
    }
}

#[cfg(test)]
mod tests;
