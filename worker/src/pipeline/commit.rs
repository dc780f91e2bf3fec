//! From staged files to visible ones: the ledger decides, then the files are published.
//!
//! Order is a type here. [`Staged`] can only be committed, [`Committed`] can only be published; nothing else makes a file visible.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use tokio::sync::Mutex;

use sluice_crds::condition::Reason;

use super::repair::Repairer;
use super::stores::FileStores;
use super::tries::Tries;
use crate::error::{Stop, chain};
use crate::fault;
use crate::ledger::Illegal;
use crate::ledger::record::{Body, Commit, Counts, FileRecord, OffsetRange, Published, Record, Repair, Upload};
use crate::ledger::{Decision, Ledger};
use crate::store::{Publication, StagedUpload};

/// How often a missing file is looked for before it counts as lost.
const LOOK_FOR_LOST: Duration = Duration::from_secs(5);

/// Files of a commit that are published at the same time.
const PUBLISH_AT_ONCE: usize = 16;

/// One batch whose files are staged. Not committing it costs nothing but the work.
#[derive(Debug)]
pub struct Staged {
    /// Id of the batch.
    pub batch: String,
    /// Its window.
    pub window: (Timestamp, Timestamp),
    /// What was read.
    pub ranges: Vec<OffsetRange>,
    /// What was staged.
    pub files: Vec<FileRecord>,
    /// What became of the records.
    pub counts: Counts,
}

/// One batch that the ledger has decided.
#[derive(Debug)]
pub struct Committed {
    /// Its sequence number.
    pub seq: u64,
    /// What was decided.
    pub commit: Commit,
}

/// How a commit ended.
#[derive(Debug)]
pub enum Outcome {
    /// It is decided.
    Committed(Committed),
    /// The ledger refuses it, and holds other records in every slot that was tried: its uploads may be dropped.
    Void(Vec<FileRecord>, Illegal),
}

/// What commits and publishes for one worker.
pub struct Committer {
    /// The ledger.
    pub ledger: Arc<Mutex<Ledger>>,
    /// Where files lie.
    pub stores: Arc<FileStores>,
    /// Identity of the worker.
    pub worker: String,
    /// Hash of its plan.
    pub plan: String,
    /// Tries after the first, and the first wait.
    pub retries: (u32, Duration),
    /// What makes lost files again.
    pub repairer: Repairer,
    /// How long a decided upload must be missing before it counts as lost.
    pub lost_after: Duration,
    /// Commits whose files are visible, as far as this worker knows, and that the ledger does not say so of yet.
    pub visible: std::sync::Mutex<Vec<u64>>,
}

impl Committer {
    /// Decides a batch. A store that does not answer is asked again with the **same** record, because the first answer may
    /// have been lost after the effect; after the last try the worker stops, and its uploads stay for whoever finds the record.
    pub async fn commit(&self, staged: Staged) -> Result<Outcome, Stop> {
        fault::point("commit.before");
        let published = self.unsaid();
        let commit = Commit {
            worker: self.worker.clone(),
            batch: staged.batch,
            plan: self.plan.clone(),
            window_start: staged.window.0,
            window_end: staged.window.1,
            ranges: staged.ranges,
            files: staged.files,
            counts: staged.counts,
            published: published.clone(),
        };
        let record = self.ledger.lock().await.record(Body::Commit(commit.clone()));
        let decision = self.decide(&record).await?;
        fault::point("commit.after");
        Ok(match decision {
            Decision::Decided { seq } => {
                self.said(&published);
                Outcome::Committed(Committed { seq, commit })
            }
            Decision::Void(illegal) => Outcome::Void(commit.files, illegal),
        })
    }

    /// Decides a record, with the same record again as long as it is not known what became of it. The lock is free while
    /// this waits for the next try: others look at the ledger meanwhile.
    pub async fn decide(&self, record: &Record) -> Result<Decision, Stop> {
        self.decide_within(record, self.retries).await
    }

    async fn decide_within(&self, record: &Record, retries: (u32, Duration)) -> Result<Decision, Stop> {
        let mut tries = Tries::new("the ledger could not be written", retries);
        loop {
            let tried = self.ledger.lock().await.decide(record).await;
            match tried {
                Ok(decision) => return Ok(decision),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Reads the ledger to its tail, as patiently.
    pub async fn sync(&self) -> Result<(), Stop> {
        let mut tries = Tries::new("the ledger could not be read", self.retries);
        loop {
            let tried = self.ledger.lock().await.sync().await;
            match tried {
                Ok(()) => return Ok(()),
                Err(error) => tries.again(error).await?,
            }
        }
    }

    /// Makes the files of a commit visible. May be done by several workers at once, and again.
    pub async fn publish(&self, committed: &Committed) -> Result<(), Stop> {
        self.publish_commit(committed.seq, &committed.commit).await
    }

    /// Makes everything visible that is decided and not known to be published, whoever decided it.
    pub async fn publish_all(&self) -> Result<(), Stop> {
        let open: BTreeMap<u64, Commit> = {
            let ledger = self.ledger.lock().await;
            let visible = self.unsaid();
            let mut open = ledger.state().unpublished.clone();
            open.retain(|seq, _| !visible.contains(seq));
            open
        };
        for (seq, commit) in open {
            self.publish_commit(seq, &commit).await?;
        }
        Ok(())
    }

    async fn publish_commit(&self, seq: u64, commit: &Commit) -> Result<(), Stop> {
        fault::point("publish.before");
        // Many at once: each takes some round trips, and a file that is lost takes a minute.
        let files = futures::stream::iter(commit.files.clone());
        let published = files.map(|file| self.publish_file(seq, commit, file)).buffer_unordered(PUBLISH_AT_ONCE);
        let mut published = std::pin::pin!(published);
        let mut first = true;
        while let Some(outcome) = published.next().await {
            outcome?;
            if std::mem::take(&mut first) {
                fault::point("publish.between");
            }
        }
        fault::point("publish.after");
        self.visible.lock().unwrap_or_else(PoisonError::into_inner).push(seq);
        Ok(())
    }

    async fn publish_file(&self, seq: u64, commit: &Commit, mut file: FileRecord) -> Result<(), Stop> {
        let mut tries = Tries::new("a file could not be published", self.retries);
        let mut missing_since: Option<Instant> = None;
        loop {
            match self.try_to_publish(seq, commit, &file, &mut missing_since).await {
                Ok(Publication::Visible) => return Ok(()),
                Ok(Publication::Missing) => {}
                Err(stop) => tries.again(stop).await?,
            }
            // Meanwhile another worker may have published the commit, or repaired the file.
            match self.as_in_the_ledger(seq, &file.url).await? {
                Some(current) => file = current,
                None => return Ok(()),
            }
        }
    }

    async fn try_to_publish(
        &self,
        seq: u64,
        commit: &Commit,
        file: &FileRecord,
        missing_since: &mut Option<Instant>,
    ) -> Result<Publication, Stop> {
        let publication = self.stores.of(&commit.plan, file).await?.publish(file).await?;
        if publication == Publication::Missing {
            let since = *missing_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.lost_after {
                self.repair(seq, commit, file).await?;
                *missing_since = None;
            } else {
                tokio::time::sleep(LOOK_FOR_LOST.min(self.lost_after)).await;
            }
        }
        Ok(publication)
    }

    /// Makes a lost file again and has the ledger decide the new upload. Of several workers that do so one wins.
    async fn repair(&self, seq: u64, commit: &Commit, file: &FileRecord) -> Result<(), Stop> {
        let (repaired, current) = {
            let ledger = self.ledger.lock().await;
            let state = ledger.state();
            let files = state.unpublished.get(&seq).map(|commit| commit.files.as_slice()).unwrap_or_default();
            let repaired = state.marks.get(&seq).is_some_and(|mark| mark.repaired.contains(&file.url));
            (repaired, files.contains(file))
        };
        if !current {
            // Another worker has repaired or published it meanwhile.
            return Ok(());
        }
        if repaired {
            let message =
                format!("the upload of {} ({} rows) was made again once and is lost again", file.url, file.rows);
            return Err(Stop::new(Reason::DataLossRisk, message));
        }
        tracing::warn!(seq, url = file.url, "an upload that was decided is lost: the file is made again");
        let StagedUpload { url, bytes, upload } = self.repairer.remake(commit, file).await?;
        let repair = Repair { seq, url, bytes, upload: upload.clone() };
        let record = self.ledger.lock().await.record(Body::Repair(repair));
        let decision = self.decide(&record).await?;
        let unused = if let Decision::Decided { .. } = decision { &file.upload } else { &upload };
        self.discard_upload(&commit.plan, file, unused).await;
        Ok(())
    }

    /// The file as the ledger has it now; `None` when its commit is published.
    async fn as_in_the_ledger(&self, seq: u64, url: &str) -> Result<Option<FileRecord>, Stop> {
        self.sync().await?;
        let ledger = self.ledger.lock().await;
        let commit = ledger.state().unpublished.get(&seq);
        Ok(commit.and_then(|commit| commit.files.iter().find(|file| file.url == url)).cloned())
    }

    /// Says in the ledger which commits are visible, when no further commit will say it soon.
    pub async fn note_published(&self) -> Result<(), Stop> {
        self.note(self.retries).await
    }

    /// The same with one try, for somebody who has better things to do than to wait for the next one.
    pub async fn try_to_note_published(&self) -> Result<(), Stop> {
        self.note((0, Duration::ZERO)).await
    }

    async fn note(&self, retries: (u32, Duration)) -> Result<(), Stop> {
        let seqs = self.unsaid();
        if seqs.is_empty() {
            return Ok(());
        }
        let record = self.ledger.lock().await.record(Body::Published(Published { seqs: seqs.clone() }));
        self.decide_within(&record, retries).await?;
        self.said(&seqs);
        Ok(())
    }

    /// How many decided commits are not visible yet, as far as this worker knows.
    pub async fn unpublished(&self) -> u64 {
        let ledger = self.ledger.lock().await;
        let visible = self.unsaid();
        ledger.state().unpublished.keys().filter(|seq| !visible.contains(seq)).count() as u64
    }

    fn unsaid(&self) -> Vec<u64> {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn said(&self, seqs: &[u64]) {
        self.visible.lock().unwrap_or_else(PoisonError::into_inner).retain(|seq| !seqs.contains(seq));
    }

    /// Drops the uploads of a batch that can never be decided any more.
    pub async fn discard(&self, files: &[FileRecord]) {
        for file in files {
            self.discard_upload(&self.plan, file, &file.upload).await;
        }
    }

    async fn discard_upload(&self, plan: &str, file: &FileRecord, upload: &Upload) {
        let Ok(store) = self.stores.of(plan, file).await else { return };
        if let Err(error) = store.discard(&file.url, upload).await {
            tracing::warn!(url = file.url, error = %chain(&error), "an unused upload was left behind");
        }
    }
}

#[cfg(test)]
mod tests;
