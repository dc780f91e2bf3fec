//! Trying again: one count of failures and one back-off for everything that a worker asks of a store.

use std::time::Duration;

use super::window::backoff;
use crate::error::Stop;

/// The tries of one operation that a plan allows.
pub struct Tries {
    failed: &'static str,
    most: u32,
    first: Duration,
    failures: u32,
}

impl Tries {
    /// None was made yet. `failed` says what did not work, `the ledger could not be written`; `retries` are the tries after the first, and the first wait.
    pub fn new(failed: &'static str, (most, first): (u32, Duration)) -> Self {
        Self { failed, most, first, failures: 0 }
    }

    /// Counts a failure and waits for the next try. Fails when there is none: another try cannot help, or all are used up.
    ///
    /// Hold no lock meanwhile: the waits are long.
    pub async fn again(&mut self, error: impl Into<Stop>) -> Result<(), Stop> {
        self.failures += 1;
        let (failed, failures) = (self.failed, self.failures);
        let error = error.into();
        if !error.retry || failures > self.most {
            let message =
                if error.retry { format!("{failed} after {failures} tries: {}", error.message) } else { error.message };
            return Err(Stop { retry: false, message, ..error });
        }
        let wait = backoff(self.first, failures);
        tracing::warn!(%error, failures, wait = ?wait, "{failed}; trying again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
