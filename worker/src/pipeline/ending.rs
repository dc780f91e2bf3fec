//! How a worker ends: it drains, completes a bounded run, or just leaves.

use std::time::Duration;

use sluice_crds::report::Phase;
use tokio::sync::oneshot;

use super::{DRAIN_DEADLINE, Pipeline, start};
use crate::error::Stop;
use crate::ledger::record::{Body, RunEnd};
use crate::source::Command;

impl Pipeline {
    pub(super) async fn drain(&mut self) -> Result<(), Stop> {
        self.board.phase(Phase::Draining);
        if let Ok(settled) = tokio::time::timeout(DRAIN_DEADLINE, self.settle()).await {
            settled?;
        } else {
            tracing::warn!("the open window could not be committed in time; it will be read again");
        }
        self.committer.note_published().await
    }

    /// A bounded run is done when the ledger has every partition at its end and everything is visible.
    pub(super) async fn is_run_done(&mut self) -> Result<bool, Stop> {
        let Some(run) = &self.run else { return Ok(false) };
        if self.batch.is_some() || self.needs_last_commit() {
            return Ok(false);
        }
        let (reached, closed) = {
            self.committer.sync().await?;
            let ledger = self.committer.ledger.lock().await;
            let closed = ledger.state().run.as_ref().is_none_or(|open| open.id != run.id);
            // Partitions that nobody has read are where they would begin: an empty one is at its end.
            let all = run.ends.keys().copied().collect();
            let at = start::positions_of(&self.topic, &ledger, &all).await?;
            (run.ends.iter().all(|(partition, end)| at.get(partition).is_some_and(|next| next >= end)), closed)
        };
        if !(reached || closed) {
            return Ok(false);
        }
        self.committer.publish_all().await?;
        Ok(true)
    }

    pub(super) async fn complete(&mut self) -> Result<(), Stop> {
        self.committer.note_published().await?;
        if let Some(run) = self.run.take() {
            let record = self.committer.ledger.lock().await.record(Body::RunEnd(RunEnd { id: run.id }));
            // Void means that another worker said so first.
            self.committer.decide(&record).await?;
        }
        self.board.phase(Phase::Completed);
        Ok(())
    }

    /// When nothing was committed for a while, the ledger would not learn that the last commit is visible.
    pub(super) async fn note_when_idle(&mut self) {
        let idle = self.last_commit.elapsed() >= self.plan.window.period.max(Duration::from_secs(5));
        if self.batch.is_none()
            && idle
            && let Err(stop) = self.committer.try_to_note_published().await
        {
            tracing::warn!(error = %stop, "the ledger could not be told what is visible; trying again later");
        }
    }

    /// Leaves the consumer group and ends all threads.
    pub(super) async fn leave(&mut self) {
        if let Some(batch) = self.batch.take() {
            batch.abort();
        }
        let (done, left) = oneshot::channel();
        self.reader.send(Command::Stop { done });
        if tokio::time::timeout(Duration::from_secs(15), left).await.is_err() {
            tracing::warn!("the consumer group was not left in time");
        }
    }
}
