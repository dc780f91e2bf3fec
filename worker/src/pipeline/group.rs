//! Following the consumer group: partitions come, go and are lost.
//!
//! What the group says is only a hint about who should read what. Positions come from the ledger, and the ledger voids what
//! a late or wrong assignment does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sluice_crds::condition::Reason;
use sluice_crds::plan::OnOffsetOutOfRange;

use super::lane::LaneEvent;
use super::{DRAIN_DEADLINE, Pipeline, start};
use crate::error::Stop;
use crate::ledger::record::{Body, Move, Reset};
use crate::source::{Command, SourceError, SourceEvent};

impl Pipeline {
    pub(super) async fn source_event(&mut self, event: Option<SourceEvent>) -> Result<(), Stop> {
        match event {
            Some(SourceEvent::Assigned(partitions)) if partitions.is_empty() => Ok(()),
            Some(SourceEvent::Assigned(partitions)) => self.assigned(partitions.into_iter().collect()).await,
            Some(SourceEvent::Revoked(partitions)) => {
                tracing::info!(?partitions, "partitions revoked");
                if tokio::time::timeout(DRAIN_DEADLINE, self.settle())
                    .await
                    .map_or(Ok(false), |done| done.map(|()| true))?
                {
                    self.let_go(&partitions);
                } else {
                    tracing::warn!(?partitions, "the open window could not be committed in time and is dropped");
                    self.let_go(&partitions);
                    self.rewind().await?;
                }
                Ok(())
            }
            Some(SourceEvent::Lost(partitions)) => {
                tracing::warn!(?partitions, "partitions lost: the open window is dropped");
                self.forget(&partitions);
                self.rewind().await
            }
            Some(SourceEvent::AtEnd { partition, offset, epoch }) => {
                // One that was told before the last rewind speaks of records that are read again now.
                if epoch == self.epoch && self.is_end_of_run(partition, offset) {
                    self.at_end.insert(partition);
                }
                Ok(())
            }
            Some(SourceEvent::Failed(error)) => self.source_failed(error).await,
            None => Err(Stop::new(Reason::Internal, "the reader ended by itself")),
        }
    }

    /// Is a bounded run over for a partition that was read up to here? Other partitions are younger than the run.
    fn is_end_of_run(&self, partition: i32, offset: i64) -> bool {
        let end = self.run.as_ref().and_then(|run| run.ends.get(&partition));
        end.is_none_or(|end| offset >= *end)
    }

    /// Why the reader does not answer any more: what it told last, if it could.
    pub(super) fn reader_is_gone(&mut self) -> Stop {
        // A lane that is gone ends the reader: then the lane's own words are the cause.
        while let Ok(event) = self.lane_events.try_recv() {
            if let LaneEvent::Gone { stop } = event {
                return stop;
            }
        }
        while let Ok(event) = self.source_events.try_recv() {
            if let SourceEvent::Failed(error) = event {
                return error.into();
            }
        }
        Stop::new(Reason::Internal, "the reader ended by itself")
    }

    pub(super) async fn assigned(&mut self, partitions: BTreeSet<i32>) -> Result<(), Stop> {
        tracing::info!(?partitions, "partitions assigned");
        self.committer.sync().await?;
        self.committer.publish_all().await?;
        let positions = {
            let ledger = self.committer.ledger.lock().await;
            start::positions_of(&self.topic, &ledger, &partitions).await?
        };
        // An end that was told of an earlier ownership is over.
        self.at_end.retain(|partition| !partitions.contains(partition));
        self.from.extend(positions.clone());
        self.reader.send(Command::Assign(positions.clone()));
        self.report_to_group(positions).await;
        self.board.positions(&self.from);
        Ok(())
    }

    /// Retention or a truncation took records away that were not read yet. Only what the job asked for mends that, and the
    /// ledger keeps the gap on record.
    pub(super) async fn source_failed(&mut self, error: SourceError) -> Result<(), Stop> {
        let SourceError::OutOfRange { partition, position, beginning, end, .. } = error else {
            return Err(error.into());
        };
        let Some(to) = reset_to(self.plan.source.on_offset_out_of_range, position, (beginning, end)) else {
            return Err(error.into());
        };
        // What was read before the gap is committed first: the reset starts from the ledger's position.
        self.settle().await?;
        if *self.stop.borrow() {
            return Ok(());
        }
        let reset = {
            let ledger = self.committer.ledger.lock().await;
            // A complaint about another position is older than what the ledger says now; its offsets mean nothing any more.
            (ledger.state().next_offset(partition) == Some(position)).then(|| {
                let reason = format!("partition {partition}: {error}");
                let positions = [(partition, Move { expected: position, to })].into();
                ledger.record(Body::Reset(Reset { nonce: None, positions, reason }))
            })
        };
        if let Some(reset) = reset {
            // Void means that the position moved meanwhile; the rewind goes to wherever it is.
            let decision = self.committer.decide(&reset).await?;
            tracing::warn!(partition, position, to, ?decision, "records were gone before they were read");
        }
        self.rewind().await
    }

    pub(super) fn let_go(&mut self, partitions: &[i32]) {
        self.forget(partitions);
        self.reader.send(Command::Unassign(partitions.to_vec()));
    }

    /// Tells Kafka's own group offsets where the ledger is, for the eyes of other tools. Nothing ever starts from them.
    pub(super) async fn report_to_group(&mut self, positions: BTreeMap<i32, i64>) {
        let tail = self.committer.ledger.lock().await.state().tail.unwrap_or_default();
        self.reader.send(Command::CommitGroup { positions, metadata: format!("sluice:{tail}") });
        self.reported = Instant::now();
    }

    pub(super) fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.from.remove(partition);
            self.at_end.remove(partition);
        }
        self.board.positions(&self.from);
    }
}

/// Where to go on when a position is not in the topic, whose offsets are `(beginning, end)`; `None`: a person decides.
fn reset_to(policy: OnOffsetOutOfRange, position: i64, (beginning, end): (i64, i64)) -> Option<i64> {
    match policy {
        OnOffsetOutOfRange::Stall => None,
        // A position behind the end (a log that was cut) never goes back over what is already in the table.
        OnOffsetOutOfRange::Earliest => Some(beginning.max(position.min(end))),
        OnOffsetOutOfRange::Latest => Some(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_skips_what_is_gone_and_never_reads_again_what_is_visible() {
        use OnOffsetOutOfRange::{Earliest, Latest, Stall};
        assert_eq!(reset_to(Earliest, 3, (10, 90)), Some(10), "retention overtook the reader");
        assert_eq!(
            reset_to(Earliest, 500, (10, 90)),
            Some(90),
            "the log was cut: not 10, all below 500 is in the table"
        );
        assert_eq!(reset_to(Earliest, 500, (90, 90)), Some(90), "nothing is left");
        assert_eq!((reset_to(Latest, 3, (10, 90)), reset_to(Latest, 500, (10, 90))), (Some(90), Some(90)));
        assert_eq!(reset_to(Stall, 3, (10, 90)), None);
    }
}
