//! The writer of one lane and one window: table files and dead letters, within the memory budget.
//!
//! When the budget is used up, the largest open file is closed and its upload goes on in the background; a later row of
//! its partition begins another file. So memory is bounded by what is open, and only the number of files suffers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::UInt32Array;
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use super::file::Finished;
use super::route::Split;
use super::table::TableWriter;
use super::{WriteContext, WriteError};
use crate::batch::{OutputBatch, RecordError, Refused, Stage};
use crate::dead_letter::DeadLetters;
use crate::ledger::record::{Counts, FileRecord, FileRole, SourceRange};
use crate::store::{StagedUpload, StoreError};

/// Dead letters by stage and code.
pub type DeadCodes = BTreeMap<(&'static str, &'static str), u64>;

/// How memory is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relief {
    /// Close files.
    Close,
    /// End row groups: the rows of one aggregate have the same sources, so a partition must stay one file.
    Flush,
}

/// Writes the output of one lane during one window.
pub struct LaneWriter {
    context: Arc<WriteContext>,
    batch: String,
    lane: usize,
    /// Made with the first rows: a lane that only sees refused or filtered records has none.
    table: Option<TableWriter>,
    dead: DeadLetters,
    closed: Vec<ClosedFile>,
    /// Bytes of closed files that are still on their way: closing more files would not make them leave sooner.
    leaving: Arc<AtomicU64>,
    counts: Counts,
    pressure: bool,
}

impl LaneWriter {
    /// A writer for one lane's share of a batch. `batch` is the batch's id in hex; it is part of every file name.
    pub fn new(context: Arc<WriteContext>, batch: &str, lane: usize, window_start: Timestamp) -> Self {
        Self {
            dead: DeadLetters::new(Arc::clone(&context), batch, lane, window_start),
            context,
            batch: batch.to_owned(),
            lane,
            table: None,
            closed: Vec::new(),
            leaving: Arc::default(),
            counts: Counts::default(),
            pressure: false,
        }
    }

    /// Writes rows to the table and refused records to the dead letters, and counts both. A record whose row can be in no
    /// partition is refused too. Gives memory back by closing files when the budget is used up. An error leaves the batch
    /// unusable: abandon it.
    pub fn write(&mut self, output: OutputBatch) -> Result<(), WriteError> {
        let OutputBatch { raw, rows, origin, mut refused, filtered } = output;
        let rows = self.route(rows)?;
        if let Some(rows) = rows.as_ref().filter(|rows| !rows.refused.is_empty()) {
            refused.extend(unroutable(rows, &origin));
            refused.sort_unstable_by_key(|refused| refused.row);
        }
        self.dead.write(&raw, &refused)?;
        self.counts.read += raw.len() as u64;
        self.counts.bytes += raw.bytes() as u64;
        self.counts.filtered += filtered;
        self.counts.dead += refused.len() as u64;
        let offsets = raw.offsets();
        let source = offsets.map(|range| SourceRange { partition: raw.partition, from: range.start, to: range.end });
        drop(raw);
        self.table_rows(rows, source.as_slice())?;
        self.relieve(Relief::Close)
    }

    /// Writes the output of an aggregate, all of which comes from these ranges. Each partition stays one file.
    pub fn write_rows(&mut self, rows: RecordBatch, sources: &[SourceRange]) -> Result<(), WriteError> {
        let Some(mut rows) = self.route(rows)? else { return Ok(()) };
        if !rows.refused.is_empty() {
            return Err(WriteError::Aggregate(rows.refused.swap_remove(0).1));
        }
        self.table_rows(Some(rows), sources)?;
        self.relieve(Relief::Flush)
    }

    /// Finds the partitions of rows; `None` without rows. The columns of the partition keys are let go here.
    #[expect(clippy::needless_pass_by_value, reason = "nobody may keep the columns that are not written")]
    fn route(&mut self, rows: RecordBatch) -> Result<Option<Split>, WriteError> {
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let table = match &mut self.table {
            Some(table) => table,
            none => none.insert(TableWriter::new(Arc::clone(&self.context), &self.batch, self.lane)?),
        };
        table.route(&rows).map(Some)
    }

    fn table_rows(&mut self, rows: Option<Split>, sources: &[SourceRange]) -> Result<(), WriteError> {
        let (Some(rows), Some(table)) = (rows, &mut self.table) else { return Ok(()) };
        self.counts.written += rows.groups.iter().map(|group| group.rows as u64).sum::<u64>();
        table.write(rows, sources)
    }

    /// What was written so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Was the budget ever used up? Then the window should be closed.
    pub fn under_pressure(&self) -> bool {
        self.pressure
    }

    /// Dead letters so far, by stage and code.
    pub fn dead_codes(&self) -> &DeadCodes {
        self.dead.codes()
    }

    /// Bytes of closed files that are still on their way.
    #[cfg(test)]
    pub fn leaving(&self) -> u64 {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Gives memory back until the budget is kept with some room, or nothing is left to give. The room is for the rows to
    /// come: without it each batch would have to be made room for by itself.
    fn relieve(&mut self, how: Relief) -> Result<(), WriteError> {
        if !self.context.budget.is_over() {
            return Ok(());
        }
        self.pressure = true;
        if let Some(table) = &mut self.table {
            for partition in table.by_size() {
                let wanted = excess(&self.context, &self.leaving);
                if wanted == 0 {
                    break;
                }
                // Rows that were encoded leave holes between those that wait. Closing the holes is a copy of the rest, so
                // it is done when it settles the matter.
                if table.reclaimable() > wanted {
                    table.compact()?;
                    if excess(&self.context, &self.leaving) == 0 {
                        break;
                    }
                }
                match how {
                    Relief::Close => {
                        let file = table.close(partition)?;
                        self.closed.extend(file.map(|file| upload(&self.context, &self.leaving, file)));
                    }
                    Relief::Flush => table.flush(partition)?,
                }
            }
            if table.reclaimable() > 0 {
                table.compact()?;
            }
        }
        if excess(&self.context, &self.leaving) > 0 {
            let file = self.dead.close();
            self.closed.extend(file.map(|file| upload(&self.context, &self.leaving, file)));
        }
        Ok(())
    }

    /// Closes all files. Their uploads go on; wait for them with [`PendingFiles::staged`].
    pub fn finish(mut self) -> PendingFiles {
        let mut error = None;
        if let Some(mut table) = self.table.take() {
            // The largest first: its upload takes the longest.
            for partition in table.by_size() {
                match table.close(partition) {
                    Ok(file) => self.closed.extend(file.map(|file| upload(&self.context, &self.leaving, file))),
                    Err(failed) => {
                        error = Some(failed);
                        break;
                    }
                }
            }
            table.abandon();
        }
        let codes = self.dead.codes().clone();
        let file = self.dead.close();
        self.closed.extend(file.map(|file| upload(&self.context, &self.leaving, file)));
        PendingFiles { closed: self.closed, counts: self.counts, dead_codes: codes, error }
    }

    /// Drops everything: nothing of this lane and window will become visible.
    pub fn abandon(mut self) {
        if let Some(table) = self.table.take() {
            table.abandon();
        }
        self.dead.abandon();
        abandon(self.closed);
    }
}

/// The records of rows that can be in no partition.
fn unroutable<'a>(rows: &'a Split, origin: &'a UInt32Array) -> impl Iterator<Item = Refused> + 'a {
    let origin = origin.values();
    rows.refused.iter().flat_map(move |(rows, error)| {
        origin[rows.clone()].iter().map(move |row| {
            let (message, field) = (error.to_string(), Some(error.key().to_owned()));
            Refused { row: *row, error: RecordError { stage: Stage::Write, code: error.code(), message, field } }
        })
    })
}

/// Bytes in use beyond seven eighths of the limit, not counting what is about to leave anyway.
fn excess(context: &WriteContext, leaving: &AtomicU64) -> u64 {
    let used = context.budget.used().saturating_sub(leaving.load(Ordering::Relaxed));
    used.saturating_sub(context.budget.limit() / 8 * 7)
}

/// A closed file whose upload goes on.
#[derive(Debug)]
struct ClosedFile {
    role: FileRole,
    path: String,
    rows: u64,
    partition: Vec<(String, Option<String>)>,
    sources: Vec<SourceRange>,
    upload: JoinHandle<Result<StagedUpload, StoreError>>,
}

fn upload(context: &WriteContext, leaving: &Arc<AtomicU64>, file: Finished) -> ClosedFile {
    let Finished { role, path, rows, partition, sources, staging } = file;
    let bytes = staging.in_flight();
    let leaving = Arc::clone(leaving);
    leaving.fetch_add(bytes, Ordering::Relaxed);
    let staged = staging.finish();
    let upload = context.runtime.spawn(async move {
        let staged = staged.await;
        leaving.fetch_sub(bytes, Ordering::Relaxed);
        staged
    });
    ClosedFile { role, path, rows, partition, sources, upload }
}

fn abandon(closed: impl IntoIterator<Item = ClosedFile>) {
    closed.into_iter().for_each(|file| file.upload.abort());
}

impl ClosedFile {
    async fn staged(self) -> Result<FileRecord, WriteError> {
        let Self { role, path, rows, partition, sources, upload } = self;
        let staged = upload.await.map_err(|source| WriteError::Upload { path, source })??;
        let StagedUpload { url, bytes, upload } = staged;
        Ok(FileRecord { role, url, rows, bytes, partition, sources, upload })
    }
}

/// The files of one lane and window, closed and on their way into the store.
#[derive(Debug)]
pub struct PendingFiles {
    closed: Vec<ClosedFile>,
    counts: Counts,
    dead_codes: DeadCodes,
    error: Option<WriteError>,
}

/// The staged files of one lane and window.
#[derive(Debug)]
pub struct LaneFiles {
    /// Table files and dead letters, in the order in which they were closed. None is empty.
    pub files: Vec<FileRecord>,
    /// What became of the records.
    pub counts: Counts,
    /// Dead letters by stage and code.
    pub dead_codes: DeadCodes,
}

impl PendingFiles {
    /// Waits for the uploads. After an error nothing of the lane is usable, and the other uploads are given up.
    pub async fn staged(self) -> Result<LaneFiles, WriteError> {
        let Self { closed, counts, dead_codes, error } = self;
        if let Some(error) = error {
            abandon(closed);
            return Err(error);
        }
        let mut files = Vec::with_capacity(closed.len());
        let mut rest = closed.into_iter();
        while let Some(file) = rest.next() {
            match file.staged().await {
                Ok(file) => files.push(file),
                Err(error) => {
                    abandon(rest);
                    return Err(error);
                }
            }
        }
        Ok(LaneFiles { files, counts, dead_codes })
    }

    /// Gives all uploads up.
    pub fn abandon(self) {
        abandon(self.closed);
    }
}
