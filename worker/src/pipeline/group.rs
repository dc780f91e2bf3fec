//! Following the consumer group: partitions come, go and are lost.
//!
//! What the group says is only a hint about who should read what. Positions come from the ledger, and the ledger voids what
//! a late or wrong assignment does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sluice_crds::condition::Reason;
use sluice_crds::plan::OnOffsetOutOfRange;

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
            Some(SourceEvent::AtEnd { partition, .. }) => {
                self.at_end.insert(partition);
                Ok(())
            }
            Some(SourceEvent::Failed(error)) => self.source_failed(error).await,
            None => Err(Stop::new(Reason::Internal, "the reader ended by itself")),
        }
    }

    pub(super) async fn assigned(&mut self, partitions: BTreeSet<i32>) -> Result<(), Stop> {
        tracing::info!(?partitions, "partitions assigned");
        self.committer.ledger.lock().await.sync().await?;
        self.committer.publish_all().await?;
        let positions = {
            let ledger = self.committer.ledger.lock().await;
            start::positions_of(&self.topic, &ledger, &partitions).await?
        };
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
        let to = match self.plan.source.on_offset_out_of_range {
            OnOffsetOutOfRange::Stall => return Err(error.into()),
            // A position behind the end (a log that was cut) never goes back over what is already in the table.
            OnOffsetOutOfRange::Earliest => beginning.max(position.min(end)),
            OnOffsetOutOfRange::Latest => end,
        };
        // What was read before the gap is committed first: the reset starts from the ledger's position.
        self.settle().await?;
        if *self.stop.borrow() {
            return Ok(());
        }
        let mut ledger = self.committer.ledger.lock().await;
        // A complaint about another position is older than what the ledger says now; its offsets mean nothing any more.
        if ledger.state().next_offset(partition) == Some(position) {
            let reason = format!("partition {partition}: {error}");
            let positions = [(partition, Move { expected: position, to })].into();
            let record = ledger.record(Body::Reset(Reset { nonce: None, positions, reason }));
            // Void means that the position moved meanwhile; the rewind goes to wherever it is.
            let decision = ledger.decide(&record).await?;
            tracing::warn!(partition, position, to, ?decision, "records were gone before they were read");
        }
        drop(ledger);
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
