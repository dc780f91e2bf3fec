//! A producer that never stops talking while things happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::task::JoinHandle;

use crate::produce::{Book, Sender};

/// Records are sent in gusts of this length.
const GUST: Duration = Duration::from_millis(50);

/// Records at a steady rate, until it is told to stop or dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    task: Option<JoinHandle<Result<(Sender, Book)>>>,
}

impl Load {
    /// Starts to send this many records a second.
    pub fn start(sender: Sender, rate: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || send(sender, rate, &stopped));
        Self { stop, task: Some(task) }
    }

    /// Stops it; answers the sender and what it sent.
    pub async fn stop(mut self) -> Result<(Sender, Book)> {
        self.stop.store(true, Ordering::Relaxed);
        let task = self.task.take().context("a load stops once")?;
        task.await?
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A blocking task cannot be aborted: without this it would talk on when its test has failed.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(mut sender: Sender, rate: u64, stopped: &AtomicBool) -> Result<(Sender, Book)> {
    let mut book = Book::default();
    let (start, mut sent) = (Instant::now(), 0);
    while !stopped.load(Ordering::Relaxed) {
        // After a pause of the broker it does not try to catch up: a flood would be another test.
        let due = ((start.elapsed().as_secs_f64() * rate as f64) as u64).saturating_sub(sent).min(rate);
        sent += due;
        book.add(sender.send(due)?);
        std::thread::sleep(GUST);
    }
    Ok((sender, book))
}
