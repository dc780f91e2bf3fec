//! Going back: a window that failed, or that must not be committed, is dropped and read again from where the ledger is.

use std::collections::BTreeSet;
use std::time::Instant;

use sluice_crds::condition::Reason;
use sluice_crds::report::Phase;
use tokio::sync::oneshot;

use super::batch::BatchEnd;
use super::lane::{self, LaneEvent};
use super::window::{Failure, backoff};
use super::{Pipeline, finished, start, stopped};
use crate::error::Stop;
use crate::ledger::Illegal;
use crate::source::Command;

impl Pipeline {
    /// A lane cannot go on with the open window.
    pub(super) async fn open_window_failed(&mut self, stop: Stop) -> Result<(), Stop> {
        self.window_failed(Failure::of_open(&self.window.batch, &self.from, stop)).await
    }

    /// A window failed before anything of it was decided: everything read since goes back, and is read again.
    pub(super) async fn window_failed(&mut self, failure: Failure) -> Result<(), Stop> {
        let stop = &failure.stop;
        if !stop.retry {
            return Err(failure.stop);
        }
        self.failures += 1;
        if self.failures > self.plan.retries.per_window {
            return Err(failure.exhausted(&self.plan.source.topic, self.failures));
        }
        let wait = backoff(self.plan.retries.backoff, self.failures);
        tracing::warn!(error = %stop, failures = self.failures, wait = ?wait, "a window failed and will be tried again");
        self.board.retrying(stop);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stopped(self.stop.clone()) => {}
        }
        self.rewind().await?;
        if !*self.stop.borrow() {
            self.board.phase(Phase::Running);
        }
        Ok(())
    }

    /// The ledger refused a batch. Fails when this worker's plan is not the job's any more.
    pub(super) fn voided(&self, illegal: &Illegal) -> Result<(), Stop> {
        self.board.voided();
        if matches!(illegal, Illegal::OtherPlan { .. }) {
            let message = format!("a newer plan of this job is at work: {illegal}");
            return Err(Stop::new(Reason::Superseded, message));
        }
        tracing::info!(%illegal, "the batch is void: another worker owns its partitions or committed them");
        Ok(())
    }

    /// Drops everything that is not decided and goes back to the ledger's positions, with all owned partitions.
    pub(super) async fn rewind(&mut self) -> Result<(), Stop> {
        if self.batch.is_some() {
            // A batch that is under way may already be decided: only its own end tells.
            match finished(&mut self.batch).await? {
                BatchEnd::Published(committed, codes) => self.published(&committed, &codes).await,
                BatchEnd::Void(illegal) => self.voided(&illegal)?,
                BatchEnd::Failed(failure) => tracing::warn!(error = %failure.stop, "a batch failed and is read again"),
                BatchEnd::Nothing(_) => {}
            }
        }
        if *self.stop.borrow() {
            // The loop sees the request next. Nothing is read again before that, so nothing of the window is worth a close.
            self.from.clear();
            return Ok(());
        }
        let owned: BTreeSet<i32> = self.from.keys().copied().collect();
        self.committer.sync().await?;
        self.from = {
            let ledger = self.committer.ledger.lock().await;
            start::positions_of(&self.topic, &ledger, &owned).await?
        };
        self.at_end.clear();
        let next = self.announce_next()?;
        self.epoch = next.id;
        let (done, rewound) = oneshot::channel();
        self.reader.send(Command::Rewind { positions: self.from.clone(), epoch: next.id, done });
        if rewound.await.is_err() {
            return Err(self.reader_is_gone());
        }
        let mut waiting = self.lanes;
        while waiting > 0 {
            match lane::told(&mut self.lane_events).await? {
                LaneEvent::Abandoned { window } if window == next.id => waiting -= 1,
                other => self.set_aside(other),
            }
        }
        self.window = next;
        self.opened_at = Instant::now();
        self.board.positions(&self.from);
        Ok(())
    }
}
