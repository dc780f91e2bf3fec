//! One batch on its way: its files are staged, the ledger decides, the files become visible.
//!
//! Runs beside the loop, one at a time, so that reading goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sluice_crds::plan::JobPlan;

use super::commit::{Committed, Committer, Outcome, Staged};
use super::lane::{self, OpenWindow};
use super::start;
use super::window::{Failure, check_dead_letter_rate, is_worth_a_commit};
use crate::error::Stop;
use crate::ledger::Illegal;
use crate::ledger::record::{Counts, FileRecord, OffsetRange};
use crate::metrics::Metrics;
use crate::source::TopicClient;
use crate::write::{DeadCodes, LaneFiles, LaneWriter, PendingFiles, WriteContext};

/// A closed window.
pub struct Batch {
    /// The window.
    pub window: Arc<OpenWindow>,
    /// When it was closed.
    pub closed: Timestamp,
    /// What was read.
    pub ranges: Vec<OffsetRange>,
    /// What the lanes wrote; a lane to which nothing came has none.
    pub files: Vec<PendingFiles>,
}

/// How a batch ended.
pub enum BatchEnd {
    /// Decided and visible; the positions are the ledger's now.
    Published(Committed, DeadCodes),
    /// Nothing came that is worth a commit: the next batch takes these ranges along.
    Nothing(Vec<OffsetRange>),
    /// The ledger refused it.
    Void(Illegal),
    /// It could not be staged. Nothing of it is decided.
    Failed(Failure),
}

/// What carries one batch from its lanes to the readers of the table.
pub struct BatchTask {
    /// The plan.
    pub plan: Arc<JobPlan>,
    /// The topic.
    pub topic: Arc<TopicClient>,
    /// Its id when the worker started.
    pub topic_id: String,
    /// What commits and publishes.
    pub committer: Arc<Committer>,
    /// What writing needs, for the rows of aggregates.
    pub write: Arc<WriteContext>,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Since the last commit of this worker.
    pub since_last: Duration,
    /// Is this the last batch of a bounded run?
    pub last_of_run: bool,
}

/// The files of a batch, what its records came to, and its dead letters by code.
type StagedFiles = (Vec<FileRecord>, Counts, DeadCodes);

impl BatchTask {
    /// Stages, commits and publishes. An error stops the worker; [`BatchEnd::Failed`] lets it try the window again.
    pub async fn carry_out(self, batch: Batch) -> Result<BatchEnd, Stop> {
        let started = Instant::now();
        let (window, closed, ranges) = (Arc::clone(&batch.window), batch.closed, batch.ranges.clone());
        let (files, counts, codes) = match self.stage(batch).await {
            Ok(staged) => staged,
            Err(stop) => return Ok(BatchEnd::Failed(Failure::of_closed(&window.batch, &ranges, stop))),
        };
        if !is_worth_a_commit(&ranges, &counts, self.since_last, self.last_of_run) {
            self.committer.discard(&files).await;
            return Ok(BatchEnd::Nothing(ranges));
        }
        if let Err(stop) = self.check(&counts).await {
            self.committer.discard(&files).await;
            if !stop.retry {
                return Err(stop);
            }
            return Ok(BatchEnd::Failed(Failure::of_closed(&window.batch, &ranges, stop)));
        }
        let staged = Staged { batch: window.batch.clone(), window: (window.start, closed), ranges, files, counts };
        let staged_at = Instant::now();
        let committed = match self.committer.commit(staged).await? {
            Outcome::Committed(committed) => committed,
            Outcome::Void(files, illegal) => {
                self.committer.discard(&files).await;
                return Ok(BatchEnd::Void(illegal));
            }
        };
        let committed_at = Instant::now();
        self.committer.publish(&committed).await?;
        self.metrics.batch_seconds(staged_at - started, committed_at - staged_at, committed_at.elapsed());
        Ok(BatchEnd::Published(committed, codes))
    }

    /// The last look before the commit: not too many refused, and after the last record was read the topic is still the same one.
    async fn check(&self, counts: &Counts) -> Result<(), Stop> {
        check_dead_letter_rate(self.plan.dead_letter.as_ref(), counts)?;
        let info = start::describe(&self.topic).await?;
        start::check_topic_id(&self.plan, Some(&self.topic_id), &info)
    }

    async fn stage(&self, batch: Batch) -> Result<StagedFiles, Stop> {
        let mut pending = batch.files;
        if let Some(run) = batch.window.take_batch_run()
            && !pending.is_empty()
        {
            pending.push(self.write_aggregates(run.finish().await?, &batch.window, &batch.ranges)?);
        }
        let mut staged = StagedFiles::default();
        let mut failed = None;
        for files in pending {
            if failed.is_some() {
                files.abandon();
                continue;
            }
            match files.staged().await {
                Ok(LaneFiles { files, counts, dead_codes }) => {
                    staged.0.extend(files);
                    staged.1 = sum(staged.1, counts);
                    for (code, count) in dead_codes {
                        *staged.2.entry(code).or_default() += count;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let Some(error) = failed else { return Ok(staged) };
        self.committer.discard(&staged.0).await;
        Err(error.into())
    }

    /// What an aggregating plan yields comes from the whole batch.
    fn write_aggregates(
        &self,
        rows: Vec<arrow::record_batch::RecordBatch>,
        window: &OpenWindow,
        ranges: &[OffsetRange],
    ) -> Result<PendingFiles, Stop> {
        let mut writer = LaneWriter::new(Arc::clone(&self.write), &window.batch, lane::AGGREGATES, window.start);
        let sources = lane::sources_of(ranges);
        for rows in rows {
            writer.write_rows(rows, &sources)?;
        }
        Ok(writer.finish())
    }
}

fn sum(a: Counts, b: Counts) -> Counts {
    Counts {
        read: a.read + b.read,
        written: a.written + b.written,
        filtered: a.filtered + b.filtered,
        dead: a.dead + b.dead,
        bytes: a.bytes + b.bytes,
    }
}
