//! One count of the bytes that a worker holds in prefetch, open row groups and parts in flight.
//!
//! The budget never blocks anybody by itself: whoever holds bytes says so with a [`Held`], and those who can give memory
//! back (a lane that closes a file, the pipeline that closes a window, the reader that pauses) look at [`Budget::is_over`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a worker takes beside what is counted: 72 MiB of code that it has touched, and what its plan, its clients and the batch that each
/// lane has in hand take.
const PROGRAM: u64 = 96 << 20;

/// A limit in bytes, and what of it is in use.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// The budget of a process that may take this much memory in all. What the program itself takes is not counted, and an eighth of
    /// the rest is for the holes that an allocator leaves. At least half is for what is counted: a worker that may take less than the
    /// program needs takes more.
    pub fn of_process(memory: u64) -> Arc<Self> {
        Self::new((memory.saturating_sub(PROGRAM) / 8 * 7).max(memory / 2))
    }

    /// Counts bytes until the answer is dropped.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> Held {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Held { budget: Arc::clone(self), bytes }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Is more in use than allowed?
    pub fn is_over(&self) -> bool {
        self.used() > self.limit
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Held {
    /// Counts this many bytes from now on instead.
    pub fn resize(&mut self, bytes: u64) {
        // The difference, wrapping: one operation either way, and no moment at which neither count is there.
        self.budget.used.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
        self.bytes = bytes;
    }

    /// Bytes counted now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_counts_what_its_program_leaves() {
        for (memory, limit) in
            [(64 << 20, 32 << 20), (192 << 20, 96 << 20), (256 << 20, 140 << 20), (1 << 30, 812 << 20)]
        {
            assert_eq!(Budget::of_process(memory).limit(), limit, "{memory}");
        }
    }

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let budget = Budget::new(10);
        let mut first = budget.hold(8);
        let second = budget.hold(4);
        assert!(budget.is_over());
        first.resize(1);
        assert_eq!((budget.used(), budget.is_over()), (5, false));
        drop(second);
        first.resize(20);
        assert_eq!(budget.used(), 20);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
