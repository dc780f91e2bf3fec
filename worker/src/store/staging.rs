//! Staging: bytes go up while the file is still being written, and nobody sees them.
//!
//! A [`Staging`] belongs to a lane thread, which must never wait: [`Staging::push`] only buffers, and hands full parts to
//! a task on the runtime. What is buffered or on its way is counted in the memory budget; whoever pushes looks there.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use object_store::PutPayload;
use object_store::path::Path;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::bucket::Bucket;
use super::error::StoreError;
use super::folder::Slot;
use super::{Place, Store};
use crate::budget::{Budget, Held};
use crate::ledger::record::Upload;

/// Size of a part. S3 wants at least 5 MiB, and R2 wants all but the last to be equal.
const PART: u64 = 8 << 20;
/// So many parts have that size; a file is then 8 GB, and larger ones are rare enough for unequal parts.
const SMALL_PARTS: usize = 1_000;
/// Size of the parts after those: 9,000 of them are more than half a terabyte.
const LARGE_PART: u64 = 64 << 20;
/// S3 numbers parts from 1 to 10,000.
pub(super) const MAX_PARTS: usize = 10_000;

/// A file that is complete but for being visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedUpload {
    /// Where it becomes visible.
    pub url: String,
    /// Its size.
    pub bytes: u64,
    /// How it becomes visible.
    pub upload: Upload,
}

/// Some bytes of a file, counted until they are dropped.
pub(super) struct Part {
    bytes: PutPayload,
    _held: [Held; 2],
}

impl Part {
    pub(super) fn payload(&self) -> PutPayload {
        self.bytes.clone()
    }
}

/// Where a file is staged.
enum Target {
    Upload { bucket: Bucket, key: Path },
    File(Slot),
}

/// A file on its way. Dropping it gives the file up: what was staged is removed in the background, as well as possible.
pub struct Staging {
    url: String,
    store: Store,
    runtime: Handle,
    /// Set until the first part is handed over; the error tells why nothing can be staged there.
    target: Option<Result<Target, StoreError>>,
    running: Option<Running>,
    budget: Arc<Budget>,
    /// Counts the same bytes as the shared budget, of this file alone.
    own: Arc<Budget>,
    buffer: VecDeque<Bytes>,
    buffered: [Held; 2],
    parts: usize,
    bytes: u64,
}

/// The task that uploads.
struct Running {
    parts: mpsc::UnboundedSender<Part>,
    answer: oneshot::Receiver<Result<Upload, StoreError>>,
    give_up: DropGuard,
}

impl std::fmt::Debug for Staging {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staging").field("url", &self.url).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Store {
    /// Begins a file at a key below the location. Nothing is created before a part is full or the file is finished.
    ///
    /// The key must be new: it carries the id of its batch. What is wrong with it surfaces in [`Staging::finish`].
    pub fn begin(&self, relative: &str, runtime: &Handle, budget: &Arc<Budget>) -> Staging {
        let url = self.url(relative);
        let target = match &self.place {
            Place::Bucket(bucket) => {
                bucket.key(&url, relative).map(|key| Target::Upload { bucket: bucket.clone(), key })
            }
            Place::Folder(folder) => folder.slot(&url, relative).map(Target::File),
        };
        let own = Budget::new(u64::MAX);
        Staging {
            url,
            store: self.clone(),
            runtime: runtime.clone(),
            target: Some(target),
            running: None,
            buffered: [budget.hold(0), own.hold(0)],
            budget: Arc::clone(budget),
            own,
            buffer: VecDeque::new(),
            parts: 0,
            bytes: 0,
        }
    }
}

impl Staging {
    /// Appends bytes. Never waits: what cannot go up yet stays in memory, and in the budget.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len() as u64;
        self.set_buffered(self.buffered() + bytes.len() as u64);
        self.buffer.push_back(bytes);
        while self.buffered() >= part_size(self.parts) {
            self.hand_over(part_size(self.parts));
        }
    }

    /// Bytes of this file that are in memory: buffered, waiting or being uploaded.
    pub fn in_flight(&self) -> u64 {
        self.own.used()
    }

    /// Bytes pushed so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Uploads the rest. The work starts at once; the answer says that the file is durable and invisible.
    ///
    /// The first failure of any part surfaces here, and an empty file is one. After a failure, and when the answer is
    /// dropped before it is there, what was staged is removed in the background.
    pub fn finish(mut self) -> impl Future<Output = Result<StagedUpload, StoreError>> + Send + 'static {
        if self.buffered() > 0 {
            self.hand_over(self.buffered());
        }
        let Self { url, target, running, bytes, .. } = self;
        // The end of the parts is the sign for the task; it must not wait until somebody asks for the answer.
        let running = running.map(|Running { parts, answer, give_up }| {
            drop(parts);
            (answer, give_up)
        });
        async move {
            if let Some(Err(error)) = target {
                return Err(error);
            }
            let Some((answer, give_up)) = running else {
                return Err(StoreError::Empty { url });
            };
            let upload = answer.await.unwrap_or_else(|_| Err(StoreError::ended("stage", &url)))?;
            give_up.disarm();
            Ok(StagedUpload { url, bytes, upload })
        }
    }

    /// Gives the file up: aborts the upload or removes the staged file in the background, as well as possible.
    pub fn abandon(self) {
        drop(self);
    }

    fn buffered(&self) -> u64 {
        self.buffered[0].bytes()
    }

    fn set_buffered(&mut self, bytes: u64) {
        for held in &mut self.buffered {
            held.resize(bytes);
        }
    }

    /// Cuts the oldest bytes off the buffer and sends them to the task, which is started by the first ones.
    fn hand_over(&mut self, size: u64) {
        let bytes = cut(&mut self.buffer, size as usize).into_iter().collect();
        let part = Part { bytes, _held: [self.budget.hold(size), self.own.hold(size)] };
        self.set_buffered(self.buffered() - size);
        self.parts += 1;
        match self.target.take() {
            Some(Ok(target)) => self.running = Some(self.start(target)),
            refused => self.target = refused,
        }
        if let Some(running) = &self.running {
            // A task that is gone has failed and says so in its answer.
            let _ = running.parts.send(part);
        }
    }

    fn start(&self, target: Target) -> Running {
        let (parts, receiver) = mpsc::unbounded_channel();
        let (sender, answer) = oneshot::channel();
        let give_up = CancellationToken::new();
        let task = stage(self.store.clone(), self.url.clone(), target, receiver, give_up.clone(), sender);
        self.runtime.spawn(task);
        Running { parts, answer, give_up: give_up.drop_guard() }
    }
}

/// Uploads parts until there are no more, and discards the result when nobody wants it any more.
async fn stage(
    store: Store,
    url: String,
    target: Target,
    parts: mpsc::UnboundedReceiver<Part>,
    given_up: CancellationToken,
    answer: oneshot::Sender<Result<Upload, StoreError>>,
) {
    let staged = match target {
        Target::Upload { bucket, key } => bucket.stage(&url, &key, parts, &given_up).await,
        Target::File(slot) => slot.stage(&url, parts, &given_up).await,
    };
    if let Err(Ok(unwanted)) = answer.send(staged)
        && let Err(error) = store.discard(&url, &unwanted).await
    {
        tracing::debug!(error = %crate::error::chain(&error), "a staged file stays behind");
    }
}

/// The size of the part with this index.
fn part_size(index: usize) -> u64 {
    if index < SMALL_PARTS { PART } else { LARGE_PART }
}

/// Takes the first `size` bytes, without copying.
fn cut(buffer: &mut VecDeque<Bytes>, size: usize) -> Vec<Bytes> {
    let mut taken = Vec::new();
    let mut missing = size;
    while missing > 0
        && let Some(mut first) = buffer.pop_front()
    {
        if first.len() > missing {
            let head = first.split_to(missing);
            buffer.push_front(first);
            first = head;
        }
        missing -= first.len();
        taken.push(first);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_takes_exactly_what_is_asked_for() {
        let mut buffer: VecDeque<_> = ["abc", "de", "fgh"].map(Bytes::from).into();
        assert_eq!(cut(&mut buffer, 4), ["abc", "d"]);
        assert_eq!(cut(&mut buffer, 1), ["e"]);
        assert_eq!(cut(&mut buffer, 9), ["fgh"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn ten_thousand_parts_hold_half_a_terabyte() {
        let all: u64 = (0..MAX_PARTS).map(part_size).sum();
        assert!(all > 500 << 30);
        assert!((0..MAX_PARTS).all(|index| part_size(index) >= 5 << 20));
    }
}
