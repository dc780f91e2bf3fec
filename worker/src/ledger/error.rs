//! What can go wrong with a ledger.

use sluice_crds::condition::Reason;

use super::objects::ObjectError;
use crate::error::Classified;

/// An operation on a ledger that failed.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A request to the object store failed, or was refused.
    #[error(transparent)]
    Store(#[from] ObjectError),
    /// A record was sent and nobody knows yet whether it is decided. Decide the same record again to find out; until then
    /// nothing that it names may be aborted.
    #[error("it is not known whether {slot} holds record {id}: decide the same record again")]
    Undecided {
        /// Url of the slot.
        slot: String,
        /// Id of the record.
        id: String,
        /// The last failure.
        #[source]
        source: ObjectError,
    },
    /// The checkpoint belongs to another job or another Kafka cluster.
    #[error(
        "checkpoint {url} belongs to {found}, this is {ours}: give this job a checkpoint of its own (spec.checkpoint.url)"
    )]
    Foreign {
        /// Url of the checkpoint.
        url: String,
        /// Its owner.
        found: String,
        /// Who asks.
        ours: String,
    },
    /// The store overwrites what must be created only once.
    #[error(
        "the object store of {url} ignores If-None-Match on PUT, without which exactly once cannot be kept: use a store or a version that supports it"
    )]
    ConditionalWritesUnsupported {
        /// Url of the checkpoint.
        url: String,
    },
    /// A format or a kind of record that this program does not know.
    #[error(
        "{object} is of {what}, which this program does not know: a newer program wrote it; run that version or a later one"
    )]
    UnknownFormat {
        /// Url of the object.
        object: String,
        /// Kind or version.
        what: String,
    },
    /// An object that cannot be read.
    #[error("{object} is damaged: restore it from a copy; nothing of this ledger can be trusted behind it")]
    Corrupt {
        /// Url of the object.
        object: String,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// A record that must be there is missing.
    #[error(
        "{object} is missing although {seen} exists: restore it from a copy; records of a ledger must never be deleted"
    )]
    Gap {
        /// Url of the missing slot.
        object: String,
        /// What proves that it was there.
        seen: String,
    },
    /// There is no ledger here.
    #[error("there is no ledger at {url}: the job has never run, or the url is wrong")]
    NoLedger {
        /// Url of the checkpoint.
        url: String,
    },
    /// The ledger was opened to be read.
    #[error("ledger {url} was opened to be read only")]
    ReadOnly {
        /// Url of the checkpoint.
        url: String,
    },
    /// Another plan lies under the same hash.
    #[error("{object} holds another plan than the one with this hash: restore it from a copy")]
    PlanDiffers {
        /// Url of the plan.
        object: String,
    },
    /// A plan that a commit names is not there.
    #[error("plan {object} is missing: restore it from a copy; without it files of its commits cannot be made again")]
    PlanMissing {
        /// Url of the plan.
        object: String,
    },
    /// A value has no JSON form.
    #[error("could not write {object} as JSON")]
    Encode {
        /// Url of the object.
        object: String,
        /// What the writer says.
        #[source]
        source: serde_json::Error,
    },
}

impl Classified for LedgerError {
    fn reason(&self) -> Reason {
        match self {
            Self::Store(error) | Self::Undecided { source: error, .. } => error.reason(),
            Self::Foreign { .. } => Reason::CheckpointForeign,
            Self::ConditionalWritesUnsupported { .. } => Reason::ConditionalWritesUnsupported,
            Self::UnknownFormat { .. }
            | Self::Corrupt { .. }
            | Self::Gap { .. }
            | Self::PlanDiffers { .. }
            | Self::PlanMissing { .. } => Reason::DataLossRisk,
            Self::NoLedger { .. } => Reason::ConfigInvalid,
            Self::ReadOnly { .. } | Self::Encode { .. } => Reason::Internal,
        }
    }

    fn retry(&self) -> bool {
        match self {
            Self::Store(error) | Self::Undecided { source: error, .. } => error.retry(),
            _ => false,
        }
    }

    fn exit_code(&self) -> u8 {
        crate::error::store_exit_code(self.reason())
    }
}
