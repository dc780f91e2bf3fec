//! Rows that wait until their partition has enough of them to be worth an encoder.
//!
//! A batch that is spread over thousands of partitions stays in one piece; each partition only remembers where its rows
//! lie. So ten thousand partitions of three rows cost the rows and eight bytes for each, not ten thousand small batches.
//! Rows that were taken out leave holes; [`Pool::compact`] closes them.

use arrow::array::{Array, BooleanArray, BooleanBufferBuilder};
use arrow::compute::{BatchCoalescer, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::WriteError;
use crate::budget::Held;

/// The most rows of a batch that is made here.
const BATCH_ROWS: usize = 8192;

/// About the most bytes of a batch that is made here. It is a copy that nobody counts while it is encoded, and it must stay far below the
/// 2 GiB at which 32-bit offsets of strings end.
const BATCH_BYTES: u64 = 2 << 20;

/// Where a row lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    batch: u32,
    row: u32,
}

/// One batch, and how many of its rows were not taken yet.
#[derive(Debug)]
struct Pooled {
    rows: RecordBatch,
    live: usize,
    bytes: u64,
}

/// The waiting rows of all partitions of a lane.
#[derive(Debug)]
pub struct Pool {
    schema: SchemaRef,
    /// Emptied batches leave a gap, so that slots stay valid.
    batches: Vec<Option<Pooled>>,
    rows: usize,
    live: usize,
    bytes: u64,
    held: Held,
}

/// The memory of a batch. A slice keeps its parent alive and its siblings share the parent, so each counts its own part;
/// twice, because builders may leave as much again unused.
pub fn batch_bytes(batch: &RecordBatch) -> u64 {
    let bytes = |column: &dyn Array| {
        let whole = column.get_array_memory_size();
        column.to_data().get_slice_memory_size().map_or(whole, |part| whole.min(2 * part + size_of::<RecordBatch>()))
    };
    batch.columns().iter().map(|column| bytes(column) as u64).sum()
}

impl Pool {
    /// An empty pool, the bytes of which are counted in `held`.
    pub fn new(schema: SchemaRef, held: Held) -> Self {
        Self { schema, batches: Vec::new(), rows: 0, live: 0, bytes: 0, held }
    }

    /// Keeps a batch of which `live` rows belong to somebody; the slot of its row `n` is `slot(n)` of the answer.
    pub fn add(&mut self, batch: RecordBatch, live: usize) -> impl Fn(u32) -> Slot + use<> {
        let index = self.batches.len() as u32;
        let bytes = batch_bytes(&batch);
        self.rows += batch.num_rows();
        self.live += live;
        self.bytes += bytes;
        self.batches.push(Some(Pooled { rows: batch, live, bytes }));
        self.count();
        move |row| Slot { batch: index, row }
    }

    fn count(&mut self) {
        self.held.resize(self.bytes + (self.live * size_of::<Slot>()) as u64);
    }

    /// Bytes of one row, on the average.
    pub fn row_bytes(&self) -> u64 {
        self.bytes / (self.rows as u64).max(1)
    }

    /// Bytes that compacting would give back, about.
    pub fn reclaimable(&self) -> u64 {
        self.row_bytes() * (self.rows - self.live) as u64
    }

    /// Are more holes than rows left?
    pub fn is_wasteful(&self) -> bool {
        self.rows > 2 * self.live + BATCH_ROWS
    }

    fn batch_rows(&self) -> usize {
        (BATCH_BYTES / self.row_bytes().max(1)).clamp(1, BATCH_ROWS as u64) as usize
    }

    /// Takes rows out, in the order of the slots, and gives them to `write` in batches of moderate size.
    /// Slots of one partition rise, so batches that it names stand beside each other.
    pub fn take(
        &mut self,
        slots: &[Slot],
        mut write: impl FnMut(&RecordBatch) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        for chunk in slots.chunks(self.batch_rows()) {
            let mut sources: Vec<&RecordBatch> = Vec::new();
            let mut last = None;
            let mut indices = Vec::with_capacity(chunk.len());
            for slot in chunk {
                if last != Some(slot.batch) {
                    let batch = self.batches[slot.batch as usize].as_ref().ok_or(WriteError::LostRows)?;
                    sources.push(&batch.rows);
                    last = Some(slot.batch);
                }
                indices.push((sources.len() - 1, slot.row as usize));
            }
            let rows = interleave_record_batch(&sources, &indices);
            write(&rows.map_err(|source| WriteError::arrow("gather", source))?)?;
            self.release(chunk);
        }
        self.count();
        Ok(())
    }

    fn release(&mut self, slots: &[Slot]) {
        self.live -= slots.len();
        for slot in slots {
            let place = &mut self.batches[slot.batch as usize];
            let Some(batch) = place else { continue };
            batch.live -= 1;
            if batch.live == 0 {
                self.rows -= batch.rows.num_rows();
                self.bytes -= batch.bytes;
                *place = None;
            }
        }
    }

    /// Closes the holes: copies the rows that are left, one batch at a time, and corrects the slots, all of which must be given.
    pub fn compact<'s>(&mut self, slots: impl Iterator<Item = &'s mut Vec<Slot>>) -> Result<(), WriteError> {
        let mut slots: Vec<&mut Vec<Slot>> = slots.collect();
        let target = self.batch_rows();
        let places = self.places(&slots);
        let mut coalescer = BatchCoalescer::new(SchemaRef::clone(&self.schema), target);
        let failed = |source| WriteError::arrow("compact", source);
        let mut compacted = Vec::new();
        for (batch, (mask, _)) in std::mem::take(&mut self.batches).into_iter().zip(&places) {
            let Some(batch) = batch else { continue };
            coalescer.push_batch_with_filter(batch.rows, mask).map_err(failed)?;
            while let Some(rows) = coalescer.next_completed_batch() {
                compacted.push(rows);
            }
        }
        coalescer.finish_buffered_batch().map_err(failed)?;
        while let Some(rows) = coalescer.next_completed_batch() {
            compacted.push(rows);
        }
        for slot in slots.iter_mut().flat_map(|slots| slots.iter_mut()) {
            let place = places[slot.batch as usize].1[slot.row as usize] as usize;
            *slot = Slot { batch: (place / target) as u32, row: (place % target) as u32 };
        }
        (self.rows, self.live, self.bytes) = (0, 0, 0);
        for rows in compacted {
            let live = rows.num_rows();
            let _ = self.add(rows, live);
        }
        self.count();
        Ok(())
    }

    /// For each batch: which of its rows are still wanted, and the place of each among all rows that are.
    fn places(&self, slots: &[&mut Vec<Slot>]) -> Vec<(BooleanArray, Vec<u32>)> {
        let rows = |batch: &Option<Pooled>| batch.as_ref().map_or(0, |batch| batch.rows.num_rows());
        let mut masks: Vec<BooleanBufferBuilder> = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            let mut mask = BooleanBufferBuilder::new(rows(batch));
            mask.append_n(rows(batch), false);
            masks.push(mask);
        }
        for slot in slots.iter().flat_map(|slots| slots.iter()) {
            masks[slot.batch as usize].set_bit(slot.row as usize, true);
        }
        let mut next = 0;
        let places = masks.into_iter().map(|mut mask| {
            let mask = mask.finish();
            let mut places = vec![0; mask.len()];
            for row in mask.set_indices() {
                places[row] = next;
                next += 1;
            }
            (BooleanArray::new(mask, None), places)
        });
        places.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::budget::Budget;

    fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
        let texts: StringArray = ids.clone().map(|id| Some(format!("text of {id}"))).collect();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
        RecordBatch::try_from_iter([("id", ids), ("text", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    fn take(pool: &mut Pool, slots: &[Slot]) -> Vec<i64> {
        let mut ids = Vec::new();
        let read = |rows: &RecordBatch| {
            let found = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            for (id, text) in found.iter().zip(rows.column(1).as_string::<i32>()) {
                assert_eq!(text, Some(format!("text of {id}").as_str()));
            }
            ids.extend(found);
            Ok(())
        };
        pool.take(slots, read).unwrap();
        ids
    }

    #[test]
    fn rows_are_found_again_after_their_neighbours_are_gone() {
        let budget = Budget::new(1 << 30);
        let mut pool = Pool::new(batch(0..1).schema(), budget.hold(0));
        // Partition p has the rows whose id leaves p when divided by 7.
        let mut slots: Vec<Vec<Slot>> = vec![Vec::new(); 7];
        for first in (0..70_000).step_by(1000) {
            let slot = pool.add(batch(first..first + 1000), 1000);
            (0..1000).for_each(|row| slots[(first + row) as usize % 7].push(slot(row as u32)));
        }
        let full = budget.used();
        for partition in [3, 0, 5] {
            let ids = take(&mut pool, &std::mem::take(&mut slots[partition]));
            assert_eq!(ids, (partition as i64..70_000).step_by(7).collect::<Vec<_>>());
        }
        assert!(pool.reclaimable() > 0);
        pool.compact(slots.iter_mut()).unwrap();
        assert_eq!(pool.reclaimable(), 0);
        assert!(budget.used() < full * 2 / 3, "{} of {full}", budget.used());
        for partition in [6, 1, 2, 4] {
            let ids = take(&mut pool, &std::mem::take(&mut slots[partition]));
            assert_eq!(ids, (partition as i64..70_000).step_by(7).collect::<Vec<_>>());
        }
        assert_eq!(budget.used(), 0);
    }
}
