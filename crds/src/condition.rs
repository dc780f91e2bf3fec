//! The one vocabulary of reasons: the same words in conditions, logs, metrics and messages.

use serde::{Deserialize, Serialize};

/// Why a job, a connection or a table is in the state it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// A field has a value that cannot work, alone or together with another one.
    ConfigInvalid,
    /// A table, connection or secret that is named does not exist.
    ReferenceNotFound,
    /// A transform does not parse, names an unknown column, or is of a kind that is refused.
    TransformInvalid,
    /// What the transforms produce does not fit the sink's columns.
    SchemaMismatch,
    /// The source does not answer.
    SourceUnavailable,
    /// The object store does not answer, or refuses for a reason that may pass.
    SinkUnavailable,
    /// The endpoint refused the credentials.
    AuthenticationFailed,
    /// The endpoint knows the credentials and does not allow what is needed.
    AuthorizationFailed,
    /// A position is not in the topic any more (or not yet).
    OffsetOutOfRange,
    /// The topic was deleted and created again: its offsets mean other records.
    TopicRecreated,
    /// A record could not be processed and no dead letter location is configured.
    RecordRejected,
    /// A window failed more often than `retries.perWindow`.
    RetriesExhausted,
    /// More of the records of a batch were refused than `deadLetter.maxPercent` allows.
    DeadLetterRateExceeded,
    /// Going on could lose or change data that was decided; a person must look.
    DataLossRisk,
    /// The run took longer than `timeout`.
    TimedOut,
    /// The checkpoint belongs to another job or another Kafka cluster.
    CheckpointForeign,
    /// The resolved checkpoint location changed without being asked to.
    CheckpointMoved,
    /// The object store ignores `If-None-Match`, without which exactly once cannot be kept.
    ConditionalWritesUnsupported,
    /// A newer plan of this job is at work; this worker has nothing to do any more.
    Superseded,
    /// A fault of the program itself.
    Internal,
}

impl Reason {
    /// The word as it stands in conditions, messages and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "ConfigInvalid",
            Self::ReferenceNotFound => "ReferenceNotFound",
            Self::TransformInvalid => "TransformInvalid",
            Self::SchemaMismatch => "SchemaMismatch",
            Self::SourceUnavailable => "SourceUnavailable",
            Self::SinkUnavailable => "SinkUnavailable",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::AuthorizationFailed => "AuthorizationFailed",
            Self::OffsetOutOfRange => "OffsetOutOfRange",
            Self::TopicRecreated => "TopicRecreated",
            Self::RecordRejected => "RecordRejected",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::DeadLetterRateExceeded => "DeadLetterRateExceeded",
            Self::DataLossRisk => "DataLossRisk",
            Self::TimedOut => "TimedOut",
            Self::CheckpointForeign => "CheckpointForeign",
            Self::CheckpointMoved => "CheckpointMoved",
            Self::ConditionalWritesUnsupported => "ConditionalWritesUnsupported",
            Self::Superseded => "Superseded",
            Self::Internal => "Internal",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
