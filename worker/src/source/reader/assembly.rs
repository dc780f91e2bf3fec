//! Owned partitions: where each stands, and the batch that it fills. No I/O.
//!
//! Promises: a batch holds records of one partition, in offset order, none below the position that was given and none at or
//! past the limit; a position never passes a record that was not put into a batch.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::batch::RawBatch;
use crate::source::fetch::Message;

/// When a batch is full.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSize {
    /// Records.
    pub rows: usize,
    /// Bytes of keys, values and headers. A single record may be bigger.
    pub bytes: usize,
    /// Time since its first record.
    pub linger: Duration,
}

/// What becomes of the records that arrive for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// They are taken.
    Reading,
    /// They are from before the position was set anew: dropped, until the fetcher is there.
    Moving,
    /// The limit is reached: nothing more is taken.
    Done,
    /// Something at the position cannot be read: nothing is taken, or it would be skipped.
    Halted,
}

#[derive(Debug)]
struct Partition {
    position: i64,
    limit: i64,
    state: State,
    open: Option<(RawBatch, Instant)>,
    /// Records and bytes of the batch before: the next one will be much the same.
    hint: (usize, usize),
    /// Did anything arrive since it was assigned?
    heard: bool,
    /// Was its end told since the position was set?
    end_told: bool,
}

/// All owned partitions.
#[derive(Debug)]
pub(super) struct Assembly {
    partitions: BTreeMap<i32, Partition>,
    limits: BTreeMap<i32, i64>,
    size: BatchSize,
    ready: Vec<RawBatch>,
    ends: Vec<(i32, i64)>,
}

impl Assembly {
    pub(super) fn new(limits: BTreeMap<i32, i64>, size: BatchSize) -> Self {
        Self { partitions: BTreeMap::new(), limits, size, ready: Vec::new(), ends: Vec::new() }
    }

    /// Takes a partition over, to be read from this position.
    pub(super) fn own(&mut self, partition: i32, position: i64) {
        let limit = self.limits.get(&partition).copied().unwrap_or(i64::MAX);
        let state = State::Reading;
        let owned = Partition { position, limit, state, open: None, hint: (0, 0), heard: false, end_told: false };
        self.partitions.insert(partition, owned);
        self.check_limit(partition);
    }

    /// Lets a partition go, with what is open of it.
    pub(super) fn release(&mut self, partition: i32) {
        self.partitions.remove(&partition);
        self.ready.retain(|batch| batch.partition != partition);
        self.ends.retain(|(other, _)| *other != partition);
    }

    /// Drops all that is open, and sets new positions for owned partitions. They move until [`moved`](Self::moved).
    pub(super) fn rewind(&mut self, positions: &BTreeMap<i32, i64>) {
        self.ready.clear();
        self.ends.clear();
        for (partition, owned) in &mut self.partitions {
            owned.open = None;
            if let Some(position) = positions.get(partition) {
                owned.position = *position;
                owned.state = State::Moving;
                owned.end_told = false;
            }
        }
        for partition in positions.keys() {
            self.check_limit(*partition);
        }
    }

    /// Reads the partition from its position anew.
    pub(super) fn refetch(&mut self, partition: i32) {
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.state = State::Moving;
        }
    }

    /// Partitions whose fetcher must be set to their position.
    pub(super) fn moving(&self) -> Vec<(i32, i64)> {
        let moving = self.partitions.iter().filter(|(_, owned)| owned.state == State::Moving);
        moving.map(|(partition, owned)| (*partition, owned.position)).collect()
    }

    /// The fetcher is there: what arrives now counts.
    pub(super) fn moved(&mut self, partition: i32) {
        if let Some(owned) = self.partitions.get_mut(&partition).filter(|owned| owned.state == State::Moving) {
            owned.state = State::Reading;
            owned.heard = false;
        }
    }

    /// Takes nothing more of this partition: what comes next would be behind something that cannot be read. Returns the
    /// position; `None` where that does not matter (not owned, done, or about to move).
    pub(super) fn halt(&mut self, partition: i32) -> Option<i64> {
        let owned = self.partitions.get_mut(&partition).filter(|owned| owned.state == State::Reading)?;
        owned.state = State::Halted;
        Some(owned.position)
    }

    /// Takes a record, or drops one that does not count.
    pub(super) fn accept(&mut self, message: Message<'_>, now: Instant) {
        let Some(owned) = self.partitions.get_mut(&message.partition) else { return };
        owned.heard = true;
        if owned.state != State::Reading || message.offset < owned.position {
            return;
        }
        if message.offset < owned.limit {
            let bytes = message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
            if owned.open.as_ref().is_some_and(|(open, _)| open.bytes() + bytes > self.size.bytes) {
                self.ready.extend(owned.close());
            }
            let (rows, arena) = owned.hint;
            let (open, _) = owned
                .open
                .get_or_insert_with(|| (RawBatch::with_capacity(message.partition, rows, arena.max(bytes)), now));
            open.push(message.offset, message.timestamp, message.key, message.value, message.headers);
            if open.len() >= self.size.rows || open.bytes() >= self.size.bytes {
                self.ready.extend(owned.close());
            }
            owned.position = message.offset + 1;
        } else {
            owned.position = owned.limit;
        }
        if owned.position >= owned.limit {
            self.check_limit(message.partition);
        }
    }

    /// All before `offset` has arrived.
    pub(super) fn end(&mut self, partition: i32, offset: i64) {
        let Some(owned) = self.partitions.get_mut(&partition) else { return };
        owned.heard = true;
        if owned.state != State::Reading {
            return;
        }
        owned.position = owned.position.max(offset.min(owned.limit));
        if owned.position < owned.limit && !owned.end_told {
            owned.end_told = true;
            self.ends.push((partition, owned.position));
        }
        self.check_limit(partition);
    }

    fn check_limit(&mut self, partition: i32) {
        let Some(owned) = self.partitions.get_mut(&partition) else { return };
        if owned.position >= owned.limit && owned.state != State::Done {
            owned.state = State::Done;
            owned.end_told = true;
            self.ready.extend(owned.close());
            self.ends.push((partition, owned.position));
        }
    }

    /// Closes the batches whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        for owned in self.partitions.values_mut() {
            if owned.open.as_ref().is_some_and(|(_, since)| now.duration_since(*since) >= self.size.linger) {
                self.ready.extend(owned.close());
            }
        }
    }

    /// Closes all batches.
    pub(super) fn flush(&mut self) {
        for owned in self.partitions.values_mut() {
            self.ready.extend(owned.close());
        }
    }

    /// When the next batch expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.partitions
            .values()
            .filter_map(|owned| owned.open.as_ref())
            .map(|(_, since)| *since + self.size.linger)
            .min()
    }

    /// Closed batches, in the order in which they were closed.
    pub(super) fn take_ready(&mut self) -> Vec<RawBatch> {
        std::mem::take(&mut self.ready)
    }

    /// Ends that were reached: of the topic the first time after a position was set, and limits.
    pub(super) fn take_ends(&mut self) -> Vec<(i32, i64)> {
        std::mem::take(&mut self.ends)
    }

    /// The next offset of each owned partition.
    pub(super) fn positions(&self) -> BTreeMap<i32, i64> {
        self.partitions.iter().map(|(partition, owned)| (*partition, owned.position)).collect()
    }

    /// The next offset of a partition.
    pub(super) fn position(&self, partition: i32) -> Option<i64> {
        self.partitions.get(&partition).map(|owned| owned.position)
    }

    /// Is the partition's limit reached?
    pub(super) fn is_done(&self, partition: i32) -> bool {
        self.partitions.get(&partition).is_some_and(|owned| owned.state == State::Done)
    }

    /// Owned partitions of which nothing arrived yet.
    pub(super) fn unheard(&self) -> impl Iterator<Item = i32> {
        self.partitions
            .iter()
            .filter(|(_, owned)| !owned.heard && owned.state == State::Reading)
            .map(|(partition, _)| *partition)
    }

    /// Bytes of memory in batches that are not closed.
    pub(super) fn open_memory(&self) -> u64 {
        self.partitions.values().filter_map(|owned| owned.open.as_ref()).map(|(open, _)| open.memory() as u64).sum()
    }
}

impl Partition {
    fn close(&mut self) -> Option<RawBatch> {
        let (batch, _) = self.open.take()?;
        self.hint = (batch.len(), batch.bytes());
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::fetch::Headers;
    use proptest::prelude::*;

    const SIZE: BatchSize = BatchSize { rows: 4, bytes: 100, linger: Duration::from_millis(50) };

    fn message(partition: i32, offset: i64, value: &[u8]) -> Message<'_> {
        Message { partition, offset, timestamp: 0, key: None, value: Some(value), headers: Headers::none() }
    }

    fn offsets(batches: &[RawBatch]) -> Vec<Vec<i64>> {
        batches.iter().map(|batch| batch.records().map(|record| record.offset).collect()).collect()
    }

    #[test]
    fn a_batch_ends_when_it_is_full_and_a_big_record_is_a_batch_of_its_own() {
        let mut assembly = Assembly::new(BTreeMap::new(), SIZE);
        assembly.own(0, 0);
        let now = Instant::now();
        for (offset, length) in [(0, 10), (1, 10), (2, 500), (3, 60), (4, 60), (5, 1), (6, 1), (7, 1), (8, 1)] {
            assembly.accept(message(0, offset, &vec![b'x'; length]), now);
        }
        assembly.flush();
        assert_eq!(offsets(&assembly.take_ready()), [vec![0, 1], vec![2], vec![3], vec![4, 5, 6, 7], vec![8]]);
    }

    #[test]
    fn a_batch_does_not_wait_longer_than_the_linger_time() {
        let mut assembly = Assembly::new(BTreeMap::new(), SIZE);
        assembly.own(0, 0);
        let start = Instant::now();
        assembly.accept(message(0, 0, b"x"), start);
        assert_eq!(assembly.deadline(), Some(start + SIZE.linger));
        assembly.expire(start + SIZE.linger / 2);
        assert!(assembly.take_ready().is_empty());
        assembly.expire(start + SIZE.linger);
        assert_eq!(offsets(&assembly.take_ready()), [vec![0]]);
        assert_eq!(assembly.deadline(), None);
    }

    #[test]
    fn the_end_of_a_partition_counts_markers_and_never_moves_back() {
        let mut assembly = Assembly::new(BTreeMap::new(), SIZE);
        assembly.own(0, 5);
        assembly.accept(message(0, 7, b"x"), Instant::now());
        assembly.end(0, 9);
        assert_eq!(assembly.position(0), Some(9));
        assembly.end(0, 8);
        assert_eq!(assembly.position(0), Some(9));
        assert_eq!(assembly.take_ends(), [(0, 9)], "told once");
    }

    #[test]
    fn nothing_at_or_past_the_limit_is_taken_and_the_position_stops_there() {
        for arrivals in [vec![3, 4, 5, 6], vec![3, 7], vec![3, 4]] {
            let mut assembly = Assembly::new(BTreeMap::from([(0, 5)]), SIZE);
            assembly.own(0, 3);
            for offset in &arrivals {
                assembly.accept(message(0, *offset, b"x"), Instant::now());
            }
            assembly.end(0, 8);
            assert_eq!((assembly.position(0), assembly.is_done(0)), (Some(5), true), "{arrivals:?}");
            assert_eq!(assembly.take_ends(), [(0, 5)]);
            assert!(offsets(&assembly.take_ready()).concat().iter().all(|offset| *offset < 5));
        }
        let mut assembly = Assembly::new(BTreeMap::from([(0, 5)]), SIZE);
        assembly.own(0, 5);
        assert_eq!(assembly.take_ends(), [(0, 5)], "nothing to read at all");
    }

    #[test]
    fn a_halted_partition_takes_nothing_until_it_gets_a_new_position() {
        let mut assembly = Assembly::new(BTreeMap::new(), SIZE);
        assembly.own(0, 0);
        assembly.accept(message(0, 0, b"x"), Instant::now());
        assert_eq!(assembly.halt(0), Some(1));
        assembly.accept(message(0, 2, b"x"), Instant::now());
        assembly.end(0, 3);
        assert_eq!(assembly.position(0), Some(1));
        assembly.rewind(&BTreeMap::from([(0, 2)]));
        assembly.moved(0);
        assembly.accept(message(0, 2, b"x"), Instant::now());
        assembly.flush();
        assert_eq!(offsets(&assembly.take_ready()), [vec![2]], "what was open before the rewind is dropped");
    }

    #[test]
    fn what_is_ready_but_not_taken_does_not_outlive_a_rewind() {
        let mut assembly = Assembly::new(BTreeMap::new(), SIZE);
        assembly.own(0, 0);
        assembly.accept(message(0, 0, b"payload"), Instant::now());
        assembly.flush();
        assembly.rewind(&BTreeMap::from([(0, 0)]));
        assert_eq!(offsets(&assembly.take_ready()), Vec::<Vec<i64>>::new());
    }

    proptest! {
        /// Whatever arrives twice, late or while the fetcher moves: each record is taken once, in order.
        #[test]
        fn records_are_taken_once_and_in_order(
            steps in proptest::collection::vec((0u8..10, 0i64..30), 1..120),
            limit in proptest::option::of(0i64..30),
        ) {
            let mut assembly = Assembly::new(limit.map(|limit| (0, limit)).into_iter().collect(), SIZE);
            assembly.own(0, 0);
            let mut taken: Vec<i64> = Vec::new();
            let mut floor = 0;
            for (kind, offset) in steps {
                match kind {
                    0 => { assembly.rewind(&BTreeMap::from([(0, offset)])); taken.clear(); floor = offset; }
                    1 | 2 => assembly.moved(0),
                    3 => assembly.end(0, offset),
                    4 => assembly.flush(),
                    _ => assembly.accept(message(0, offset, b"payload"), Instant::now()),
                }
                taken.extend(offsets(&assembly.take_ready()).concat());
                let position = assembly.position(0).unwrap();
                prop_assert!(taken.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(taken.iter().all(|offset| (floor..position).contains(offset)));
                prop_assert!(taken.iter().all(|offset| *offset < limit.unwrap_or(i64::MAX)));
            }
        }
    }
}
