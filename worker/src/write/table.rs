//! The table files of one lane and window: one open file for each partition.
//!
//! A partition's rows wait in the pool until they weigh as much as an encoder, then they are encoded. Files are closed
//! only between batches, which is why the source ranges of two files of one partition never meet.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use super::file::{FileFormat, Finished, ParquetFile, add_source, file_name, provenance};
use super::pool::{Pool, Slot, batch_bytes};
use super::route::{Group, Router, Split};
use super::{WriteContext, WriteError};
use crate::budget::Held;
use crate::ledger::record::{FileRole, SourceRange};

/// Rows that an open encoder is given at once, at least: encoding a handful costs as much as encoding a hundred.
const ENCODE_ROWS: usize = 512;

/// A file that got no row of so many batches may not get another one for long, as that of an hour that is over. Its row group is ended,
/// so that it leaves the memory, if it has this many bytes: as much as a reader can read at once with profit.
const IDLE_BATCHES: u64 = 32;
const IDLE_BYTES: u64 = 4 << 20;

/// What the folder, the values and the record of one file take in memory, about.
const FILE_BYTES: u64 = 768;

/// The file that is open for one partition. It has at least one row, waiting or encoded.
#[derive(Default)]
struct OpenFile {
    rows: u64,
    sources: Vec<SourceRange>,
    waiting: Vec<Slot>,
    encoder: Option<ParquetFile>,
    /// The number of the last batch that had rows for it.
    last: u64,
}

/// The files of one lane and window.
pub struct TableWriter {
    context: Arc<WriteContext>,
    batch: String,
    lane: usize,
    router: Router,
    format: FileFormat,
    pool: Pool,
    /// By partition, as the router counts them.
    open: Vec<Option<OpenFile>>,
    /// Files begun so far, for their names.
    files: usize,
    /// Batches so far.
    batches: u64,
    records: Held,
}

impl TableWriter {
    /// A writer without files.
    pub fn new(context: Arc<WriteContext>, batch: &str, lane: usize) -> Result<Self, WriteError> {
        let router = context.router()?;
        Ok(Self {
            batch: batch.to_owned(),
            lane,
            format: FileFormat::new(&context.sink.format, router.file_schema())?,
            pool: Pool::new(Arc::clone(router.file_schema()), context.budget.hold(0)),
            router,
            open: Vec::new(),
            files: 0,
            batches: 0,
            records: context.budget.hold(0),
            context,
        })
    }

    /// Finds the partition of each row, and the rows that can be in none. Nothing is written yet.
    pub fn route(&mut self, rows: &RecordBatch) -> Result<Split, WriteError> {
        self.router.split(rows)
    }

    /// Takes the routed rows of one batch, which come from these ranges.
    pub fn write(&mut self, rows: Split, sources: &[SourceRange]) -> Result<(), WriteError> {
        let Split { batch, groups, .. } = rows;
        self.meet();
        self.batches += 1;
        for group in &groups {
            let file = self.open[group.partition].get_or_insert_default();
            file.rows += group.rows as u64;
            file.last = self.batches;
            for range in sources {
                add_source(&mut file.sources, *range);
            }
        }
        let row_bytes = batch_bytes(&batch) / (batch.num_rows() as u64).max(1);
        let (ripe, waiting): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|group| self.is_ripe(group, row_bytes));
        for group in &ripe {
            self.encode_waiting(group.partition)?;
            self.encode_group(&batch, group)?;
        }
        if !waiting.is_empty() {
            self.keep_waiting(batch, &waiting)?;
        }
        if self.batches.is_multiple_of(IDLE_BATCHES) { self.flush_idle() } else { Ok(()) }
    }

    /// Ends the row groups of files that may be complete.
    fn flush_idle(&mut self) -> Result<(), WriteError> {
        let idle = self.open.iter_mut().flatten().filter(|file| self.batches - file.last >= IDLE_BATCHES);
        let mut encoders = idle.filter_map(|file| file.encoder.as_mut());
        encoders.try_for_each(|encoder| if encoder.encoded() >= IDLE_BYTES { encoder.flush() } else { Ok(()) })
    }

    /// Makes room for partitions that are met for the first time.
    fn meet(&mut self) {
        let new = self.router.partitions().len() - self.open.len();
        if new > 0 {
            self.open.resize_with(self.open.len() + new, || None);
            self.records.resize(self.records.bytes() + new as u64 * FILE_BYTES);
        }
    }

    /// With the rows of this group, of `row_bytes` each, does its partition have enough to be encoded?
    fn is_ripe(&self, group: &Group, row_bytes: u64) -> bool {
        let Some(file) = &self.open[group.partition] else { return false };
        let rows = file.waiting.len() + group.rows;
        match file.encoder {
            Some(_) => rows >= ENCODE_ROWS,
            None => rows as u64 * row_bytes >= self.format.encoder_bytes(),
        }
    }

    /// Puts the rows of these groups into the pool: the whole batch where most of it is theirs, else a copy of them.
    fn keep_waiting(&mut self, batch: RecordBatch, groups: &[Group]) -> Result<(), WriteError> {
        let rows: usize = groups.iter().map(|group| group.rows).sum();
        if 2 * rows >= batch.num_rows() {
            let slot = self.pool.add(batch, rows);
            for group in groups {
                let file = self.open[group.partition].get_or_insert_default();
                file.waiting.extend(group.indices().map(&slot));
            }
            return Ok(());
        }
        let slot = self.pool.add(copy(&batch, groups.iter().flat_map(Group::indices))?, rows);
        let mut next = 0..;
        for group in groups {
            let file = self.open[group.partition].get_or_insert_default();
            file.waiting.extend(next.by_ref().take(group.rows).map(&slot));
        }
        Ok(())
    }

    /// Encodes the rows of a group right from their batch.
    fn encode_group(&mut self, batch: &RecordBatch, group: &Group) -> Result<(), WriteError> {
        let encoder = self.encoder(group.partition)?;
        match group.runs.as_slice() {
            [run] => encoder.write(&batch.slice(run.start, run.len())),
            _ => encoder.write(&copy(batch, group.indices())?),
        }
    }

    /// Encodes what waits for a partition.
    fn encode_waiting(&mut self, partition: usize) -> Result<(), WriteError> {
        let waiting = self.open[partition].as_mut().map(|file| std::mem::take(&mut file.waiting));
        let Some(waiting) = waiting.filter(|waiting| !waiting.is_empty()) else { return Ok(()) };
        self.encoder(partition)?;
        let encoder = self.open[partition].as_mut().and_then(|file| file.encoder.as_mut());
        let encoder = encoder.ok_or(WriteError::LostRows)?;
        self.pool.take(&waiting, |rows| encoder.write(rows))?;
        if self.pool.is_wasteful() { self.compact() } else { Ok(()) }
    }

    /// The encoder of a partition's file, which is opened if need be.
    fn encoder(&mut self, partition: usize) -> Result<&mut ParquetFile, WriteError> {
        let file = self.open[partition].get_or_insert_default();
        let encoder = if let Some(encoder) = file.encoder.take() {
            encoder
        } else {
            let name = file_name(&self.batch, self.lane, self.files, self.format.extension());
            self.files += 1;
            let path = format!("{}{name}", self.router.partitions()[partition].folder);
            ParquetFile::open(&self.context, &self.format, path)?
        };
        Ok(file.encoder.insert(encoder))
    }

    /// Partitions with an open file, that with the most memory first.
    pub fn by_size(&self) -> Vec<usize> {
        let waiting_bytes = self.pool.row_bytes() + size_of::<Slot>() as u64;
        let footprint = |file: &OpenFile| {
            file.encoder.as_ref().map_or(0, ParquetFile::footprint) + file.waiting.len() as u64 * waiting_bytes
        };
        let open = self.open.iter().enumerate();
        let mut sizes: Vec<(u64, usize)> =
            open.filter_map(|(index, file)| Some((footprint(file.as_ref()?), index))).collect();
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes.into_iter().map(|(_, partition)| partition).collect()
    }

    /// Ends a partition's open file; `None` when it has none.
    pub fn close(&mut self, partition: usize) -> Result<Option<Finished>, WriteError> {
        self.encode_waiting(partition)?;
        let Some(file) = self.open[partition].take() else { return Ok(None) };
        let Some(encoder) = file.encoder else { return Ok(None) };
        self.records.resize(self.records.bytes() + FILE_BYTES);
        let path = encoder.path().to_owned();
        let staging = encoder.close(provenance(&self.context, &self.batch, &file.sources), &self.context.lessons)?;
        let partition = self.router.partitions()[partition].values.clone();
        let (role, rows, sources) = (FileRole::Table, file.rows, file.sources);
        Ok(Some(Finished { role, path, rows, partition, sources, staging }))
    }

    /// Ends the row group of a partition's open file: its bytes can leave, and the file goes on.
    pub fn flush(&mut self, partition: usize) -> Result<(), WriteError> {
        self.encode_waiting(partition)?;
        self.open[partition].as_mut().and_then(|file| file.encoder.as_mut()).map_or(Ok(()), ParquetFile::flush)
    }

    /// Bytes that [`compact`](Self::compact) would give back, about.
    pub fn reclaimable(&self) -> u64 {
        self.pool.reclaimable()
    }

    /// Gives back the memory of rows that are encoded while their neighbours wait.
    pub fn compact(&mut self) -> Result<(), WriteError> {
        self.pool.compact(self.open.iter_mut().flatten().map(|file| &mut file.waiting))
    }

    /// Drops all open files.
    pub fn abandon(self) {
        self.open.into_iter().flatten().filter_map(|file| file.encoder).for_each(ParquetFile::abandon);
    }
}

fn copy(batch: &RecordBatch, indices: impl Iterator<Item = u32>) -> Result<RecordBatch, WriteError> {
    let indices = UInt32Array::from_iter_values(indices);
    take_record_batch(batch, &indices).map_err(|source| WriteError::arrow("copy", source))
}
