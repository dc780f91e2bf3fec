//! What errors have in common: a reason, and whether trying again can help.
//!
//! Each module has an enum of its own; the pipeline only asks these two questions, and turns what it cannot mend into
//! the [`Stop`] with which the worker ends.

use std::fmt;

use sluice_crds::condition::Reason;

/// An error that knows its reason and whether the same operation may succeed later.
pub trait Classified: std::error::Error {
    /// The reason, as conditions, metrics and messages show it.
    fn reason(&self) -> Reason;
    /// May the same operation succeed later without anybody changing anything?
    fn retry(&self) -> bool;

    /// The exit code of a process that ends with this.
    fn exit_code(&self) -> u8 {
        exit_code(self.reason())
    }
}

/// The exit code of an object store that does not do what it should.
pub const STORE: u8 = 4;

/// The exit code of a reason: 2 the configuration, 3 the source, [`STORE`] the object store, 5 stalled (going on needs a person's
/// decision), 6 retries exhausted, 7 superseded by a newer plan, 8 timed out, 70 a fault of the program.
fn exit_code(reason: Reason) -> u8 {
    match reason {
        Reason::ConfigInvalid | Reason::ReferenceNotFound | Reason::TransformInvalid | Reason::SchemaMismatch => 2,
        Reason::SourceUnavailable | Reason::AuthenticationFailed | Reason::AuthorizationFailed => 3,
        Reason::SinkUnavailable | Reason::ConditionalWritesUnsupported => STORE,
        Reason::OffsetOutOfRange
        | Reason::TopicRecreated
        | Reason::RecordRejected
        | Reason::DeadLetterRateExceeded
        | Reason::DataLossRisk
        | Reason::CheckpointForeign
        | Reason::CheckpointMoved => 5,
        Reason::RetriesExhausted => 6,
        Reason::Superseded => 7,
        Reason::TimedOut => 8,
        Reason::Internal => 70,
    }
}

/// The same for errors of the object store, where a refused login is the store's and not the source's.
pub fn store_exit_code(reason: Reason) -> u8 {
    match reason {
        Reason::AuthenticationFailed | Reason::AuthorizationFailed => STORE,
        other => exit_code(other),
    }
}

/// Why a worker ends before its work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The reason.
    pub reason: Reason,
    /// What failed, with the objects' names, and how to mend it.
    pub message: String,
    /// May it help to try the same again?
    pub retry: bool,
    /// The exit code of the process.
    pub exit_code: u8,
}

impl Stop {
    /// A stop that needs a person.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry: false, exit_code: exit_code(reason) }
    }
}

impl<E: Classified> From<E> for Stop {
    fn from(error: E) -> Self {
        Self { reason: error.reason(), retry: error.retry(), exit_code: error.exit_code(), message: chain(&error) }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

/// An error with all its sources, `outer: inner: innermost`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // Some libraries repeat their source in their own text.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

/// What a panic said. The rest of it (where, how it came to it) is in the log of the process.
pub fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}
