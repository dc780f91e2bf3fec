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
    /// The reason of this word, as conditions, messages and reports spell it.
    pub fn from_word(word: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::from(word)).ok()
    }

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

/// The type of a condition in the status of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The resource does what its spec says.
    Ready,
    /// A change is on its way. Present only when true.
    Reconciling,
    /// It will not get better without a person. Present only when true.
    Stalled,
    /// References are resolved, transforms are planned, the sink's schema fits.
    ConfigValid,
    /// The lag in seconds is within the target.
    LagWithinTarget,
    /// More workers were wanted than are allowed or useful.
    ScalingLimited,
    /// There are dead letters since the last replay or acknowledgement.
    DeadLettersPresent,
    /// The columns of a topic were inferred from a sample.
    SchemaDetected,
    /// The records of a topic do not look like the declared columns any more.
    SchemaDrifted,
}

impl ConditionType {
    /// The word as it stands in `status.conditions[].type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::ConfigValid => "ConfigValid",
            Self::LagWithinTarget => "LagWithinTarget",
            Self::ScalingLimited => "ScalingLimited",
            Self::DeadLettersPresent => "DeadLettersPresent",
            Self::SchemaDetected => "SchemaDetected",
            Self::SchemaDrifted => "SchemaDrifted",
        }
    }
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The reasons of conditions that are no failure of a worker: states that come and go, and what only the operator or the
/// agent can see. What stops a worker is a [`Reason`]; no word is in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StateReason {
    /// Every partition is owned and the last commit is fresh.
    Running,
    /// Nothing to read, and no worker lives.
    Idle,
    /// `spec.suspend` is set, and everything that was decided is published.
    Suspended,
    /// Waits for the next run of its schedule.
    Scheduled,
    /// A bounded run has read and published everything.
    Completed,
    /// Workers are on their way up.
    Starting,
    /// Workers commit what is open before they leave, or have left before all of it was visible.
    Draining,
    /// Workers start and die again and again.
    WorkersCrashing,
    /// The cluster has no room for a worker.
    Unschedulable,
    /// The spec changed and is being rolled out.
    NewGeneration,
    /// The number of workers is changing.
    Scaling,
    /// Behind, and getting nearer.
    CatchingUp,
    /// Behind, and getting further away.
    FallingBehind,
    /// The lag could not be measured.
    LagUnknown,
    /// `autoscaling.maxReplicas` is reached.
    MaxReplicas,
    /// A topic's partitions are fewer than the workers that were wanted.
    PartitionCount,
    /// One partition has most of the lag: more workers would not help.
    HotPartition,
    /// A connection works.
    Connected,
    /// A secret that a connection names does not exist, or lacks a key.
    SecretNotFound,
    /// An endpoint cannot be reached.
    Unreachable,
    /// A certificate is not trusted, expired, or of another name.
    CertificateInvalid,
    /// An object of the same name exists and belongs to somebody else.
    NameConflict,
    /// References are resolved, transforms are planned, the sink's schema fits.
    Valid,
    /// The lag is within its target.
    WithinTarget,
    /// As many workers as were wanted.
    NotLimited,
    /// Records were refused and kept aside.
    DeadLetters,
    /// No record was refused.
    NoDeadLetters,
}

impl StateReason {
    /// The word as it stands in `status.conditions[].reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Idle => "Idle",
            Self::Suspended => "Suspended",
            Self::Scheduled => "Scheduled",
            Self::Completed => "Completed",
            Self::Starting => "Starting",
            Self::Draining => "Draining",
            Self::WorkersCrashing => "WorkersCrashing",
            Self::Unschedulable => "Unschedulable",
            Self::NewGeneration => "NewGeneration",
            Self::Scaling => "Scaling",
            Self::CatchingUp => "CatchingUp",
            Self::FallingBehind => "FallingBehind",
            Self::LagUnknown => "LagUnknown",
            Self::MaxReplicas => "MaxReplicas",
            Self::PartitionCount => "PartitionCount",
            Self::HotPartition => "HotPartition",
            Self::Connected => "Connected",
            Self::SecretNotFound => "SecretNotFound",
            Self::Unreachable => "Unreachable",
            Self::CertificateInvalid => "CertificateInvalid",
            Self::NameConflict => "NameConflict",
            Self::Valid => "Valid",
            Self::WithinTarget => "WithinTarget",
            Self::NotLimited => "NotLimited",
            Self::DeadLetters => "DeadLetters",
            Self::NoDeadLetters => "NoDeadLetters",
        }
    }
}

impl std::fmt::Display for StateReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<StateReason> for String {
    fn from(reason: StateReason) -> Self {
        reason.as_str().to_owned()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_by_its_word() {
        for reason in [Reason::ConfigInvalid, Reason::DeadLetterRateExceeded, Reason::Superseded, Reason::Internal] {
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::from_word("Connected"), None);
    }
}
