//! What goes to the lanes, in order. Lanes are bounded; what does not fit waits here, and while anything waits nothing new is read.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, TrySendError};

use super::LaneInput;

struct Lane {
    sender: Sender<LaneInput>,
    waiting: VecDeque<LaneInput>,
}

/// The lanes, with what waits for them.
pub(super) struct Outbox {
    lanes: Vec<Lane>,
}

/// A lane's other end is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LaneGone(pub usize);

impl Outbox {
    pub(super) fn new(lanes: Vec<Sender<LaneInput>>) -> Self {
        Self { lanes: lanes.into_iter().map(|sender| Lane { sender, waiting: VecDeque::new() }).collect() }
    }

    /// Puts something behind what waits for the partition's lane.
    pub(super) fn push(&mut self, partition: i32, input: LaneInput) {
        let index = partition.unsigned_abs() as usize % self.lanes.len().max(1);
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.waiting.push_back(input);
        }
    }

    /// Puts a marker behind what waits, for every lane.
    pub(super) fn broadcast(&mut self, marker: impl Fn() -> LaneInput) {
        for lane in &mut self.lanes {
            lane.waiting.push_back(marker());
        }
    }

    /// Drops the batches that wait behind the last marker: they belong to a window that is abandoned. Those before it were
    /// counted when that window was closed.
    pub(super) fn abandon(&mut self) {
        for lane in &mut self.lanes {
            while matches!(lane.waiting.back(), Some(LaneInput::Batch { .. })) {
                lane.waiting.pop_back();
            }
        }
    }

    /// Sends what fits. True when nothing waits any more.
    pub(super) fn send(&mut self) -> Result<bool, LaneGone> {
        let mut all = true;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            while let Some(input) = lane.waiting.pop_front() {
                match lane.sender.try_send(input) {
                    Ok(()) => {}
                    Err(TrySendError::Full(input)) => {
                        lane.waiting.push_front(input);
                        all = false;
                        break;
                    }
                    Err(TrySendError::Disconnected(_)) => return Err(LaneGone(index)),
                }
            }
        }
        Ok(all)
    }

    /// Waits until a lane has room for what waits for it, a command is there, or the time is over.
    pub(super) fn wait<T>(&self, commands: &Receiver<T>, timeout: Duration) {
        let mut select = Select::new();
        select.recv(commands);
        for lane in self.lanes.iter().filter(|lane| !lane.waiting.is_empty()) {
            select.send(&lane.sender);
        }
        // Only readiness counts: the loop then does what has become possible.
        let _ = select.ready_timeout(timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::RawBatch;
    use crate::budget::Budget;

    fn batch(partition: i32) -> LaneInput {
        LaneInput::Batch { raw: RawBatch::new(partition), held: Budget::new(1).hold(0) }
    }

    fn names(inputs: impl Iterator<Item = LaneInput>) -> Vec<String> {
        inputs
            .map(|input| match input {
                LaneInput::Batch { raw, .. } => format!("batch {}", raw.partition),
                LaneInput::Close { window } => format!("close {window}"),
                LaneInput::Abandon { epoch } => format!("abandon {epoch}"),
            })
            .collect()
    }

    #[test]
    fn a_full_lane_keeps_the_order_and_does_not_hold_up_the_others() {
        let (slow, slow_end) = crossbeam_channel::bounded(1);
        let (fast, fast_end) = crossbeam_channel::bounded(9);
        let mut outbox = Outbox::new(vec![slow, fast]);
        for partition in [0, 2, 1] {
            outbox.push(partition, batch(partition));
        }
        outbox.broadcast(|| LaneInput::Close { window: 7 });
        assert_eq!(outbox.send(), Ok(false));
        assert_eq!(names(fast_end.try_iter()), ["batch 1", "close 7"]);
        let mut got = Vec::new();
        while !outbox.send().unwrap() {
            got.extend(slow_end.try_iter());
        }
        got.extend(slow_end.try_iter());
        assert_eq!(names(got.into_iter()), ["batch 0", "batch 2", "close 7"]);
    }

    #[test]
    fn abandoning_keeps_what_a_closed_window_counts_on() {
        let (sender, end) = crossbeam_channel::bounded(9);
        let mut outbox = Outbox::new(vec![sender]);
        outbox.push(0, batch(0));
        outbox.broadcast(|| LaneInput::Close { window: 1 });
        outbox.push(0, batch(0));
        outbox.push(0, batch(0));
        outbox.abandon();
        outbox.broadcast(|| LaneInput::Abandon { epoch: 3 });
        assert_eq!(outbox.send(), Ok(true));
        assert_eq!(names(end.try_iter()), ["batch 0", "close 1", "abandon 3"]);
    }

    #[test]
    fn a_lane_that_is_gone_is_an_error() {
        let (sender, end) = crossbeam_channel::bounded(9);
        drop(end);
        let mut outbox = Outbox::new(vec![sender]);
        outbox.push(0, batch(0));
        assert_eq!(outbox.send(), Err(LaneGone(0)));
    }
}
