//! The values that travel: [`RawBatch`] → [`DecodedBatch`] → [`OutputBatch`] → `StagedFiles` → `Committed`.

use std::ops::Range;

use arrow::array::UInt32Array;
use arrow::record_batch::RecordBatch;

/// Records of one partition as they came from Kafka, in offset order, in one block of memory.
///
/// The bytes are copied once, from librdkafka's memory into the arena; nothing is allocated for a record. So a batch owns
/// what it holds, moves between threads, gives librdkafka its memory back at once and still has the raw value when a record is refused.
#[derive(Debug, Default)]
pub struct RawBatch {
    /// The partition.
    pub partition: i32,
    arena: Vec<u8>,
    rows: Vec<RawRow>,
}

/// Where one record lies in the arena.
#[derive(Debug, Clone)]
struct RawRow {
    offset: i64,
    timestamp: i64,
    key: Option<Range<u32>>,
    value: Option<Range<u32>>,
    headers: Range<u32>,
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds since the epoch; -1 where it has none.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl RawBatch {
    /// An empty batch for records of this partition.
    pub fn new(partition: i32) -> Self {
        Self { partition, ..Self::default() }
    }

    /// An empty batch with room for this many records and bytes.
    pub fn with_capacity(partition: i32, rows: usize, bytes: usize) -> Self {
        Self { partition, arena: Vec::with_capacity(bytes), rows: Vec::with_capacity(rows) }
    }

    /// Appends a record. Offsets must rise. The arena of a batch stays below 4 GiB: callers close a batch long before.
    pub fn push<'h>(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
    ) {
        let key = key.map(|bytes| self.store(bytes));
        let value = value.map(|bytes| self.store(bytes));
        let start = self.arena.len() as u32;
        for (name, value) in headers {
            self.store_sized(Some(name.as_bytes()));
            self.store_sized(value);
        }
        let headers = start..self.arena.len() as u32;
        self.rows.push(RawRow { offset, timestamp, key, value, headers });
    }

    fn store(&mut self, bytes: &[u8]) -> Range<u32> {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        start..self.arena.len() as u32
    }

    fn store_sized(&mut self, bytes: Option<&[u8]>) {
        let length = bytes.map_or(u32::MAX, |bytes| bytes.len() as u32);
        self.arena.extend_from_slice(&length.to_le_bytes());
        self.arena.extend_from_slice(bytes.unwrap_or_default());
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// No record?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of keys, values and headers.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.arena.capacity() + self.rows.capacity() * size_of::<RawRow>()
    }

    /// The record at an index below [`len`](Self::len).
    pub fn record(&self, index: usize) -> RawRecord<'_> {
        let row = &self.rows[index];
        let slice = |range: &Range<u32>| &self.arena[range.start as usize..range.end as usize];
        RawRecord {
            offset: row.offset,
            timestamp: row.timestamp,
            key: row.key.as_ref().map(slice),
            value: row.value.as_ref().map(slice),
            headers: slice(&row.headers),
        }
    }

    /// All records, in offset order.
    pub fn records(&self) -> impl Iterator<Item = RawRecord<'_>> {
        (0..self.len()).map(|index| self.record(index))
    }

    /// From the first record's offset to behind the last one's; `None` when empty.
    pub fn offsets(&self) -> Option<Range<i64>> {
        Some(self.rows.first()?.offset..self.rows.last()?.offset + 1)
    }
}

impl<'a> RawRecord<'a> {
    /// Header names and values, in order; names may repeat.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers }
    }
}

/// Iterates over the headers of a record.
pub struct Headers<'a> {
    rest: &'a [u8],
}

enum Sized<'a> {
    Bytes(&'a [u8]),
    Absent,
}

impl<'a> Headers<'a> {
    /// The next name or value, behind its length; a value may be absent.
    fn take(&mut self) -> Option<Sized<'a>> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length);
        if length == u32::MAX {
            self.rest = rest;
            return Some(Sized::Absent);
        }
        let (bytes, rest) = rest.split_at_checked(length as usize)?;
        self.rest = rest;
        Some(Sized::Bytes(bytes))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let Sized::Bytes(name) = self.take()? else { return None };
        let value = match self.take()? {
            Sized::Bytes(value) => Some(value),
            Sized::Absent => None,
        };
        Some((std::str::from_utf8(name).unwrap_or_default(), value))
    }
}

/// The stage that refused a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The value is not what the format or the columns say.
    Decode,
    /// An expression failed, or a value does not fit the sink's column.
    Transform,
    /// No folder can have the row's partition values as its name.
    Write,
}

impl Stage {
    /// The word in dead letters and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Transform => "transform",
            Self::Write => "write",
        }
    }
}

/// Why a record was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    /// Who refused it.
    pub stage: Stage,
    /// A stable code in `CamelCase`, for grouping; docs/dead-letters.md lists them.
    pub code: &'static str,
    /// What is wrong, in words. Never longer than a few hundred characters.
    pub message: String,
    /// The column, with the path inside of it: `items[2].sku`.
    pub field: Option<String>,
}

/// One refused record of a [`RawBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its index in the raw batch.
    pub row: u32,
    /// Why.
    pub error: RecordError,
}

/// Decoded rows beside the raw records they came from. Every raw record is exactly one row or one refusal.
#[derive(Debug)]
pub struct DecodedBatch {
    /// The records.
    pub raw: RawBatch,
    /// The rows, with the columns that the plan needs.
    pub rows: RecordBatch,
    /// For each row, the index of its raw record; rising.
    pub origin: Vec<u32>,
    /// The others; rising.
    pub refused: Vec<Refused>,
}

/// Rows as the sink wants them. Every raw record is one row, was filtered out, or is one refusal (unless the plan aggregates).
#[derive(Debug)]
pub struct OutputBatch {
    /// The records.
    pub raw: RawBatch,
    /// The sink's columns, then its partition keys.
    pub rows: RecordBatch,
    /// For each row, the index of its raw record; rising.
    pub origin: UInt32Array,
    /// Refused by decode or transform, in rising order.
    pub refused: Vec<Refused>,
    /// Records that a filter removed.
    pub filtered: u64,
}
