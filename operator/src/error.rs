//! What can go wrong in a reconcile: each error knows its class, and how soon trying again makes sense.

use std::time::Duration;

use sluice_crds::reference::ObjectKey;

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// A person, by changing an object.
    User,
    /// Nobody: the API server or the network will be back.
    Outside,
    /// A person, by changing this program.
    Ours,
}

impl Class {
    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Outside => "outside",
            Self::Ours => "ours",
        }
    }
}

/// Why a reconcile did not get to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object of the name that we need belongs to somebody else.
    #[error("{kind} {key} exists and does not belong to {owner}: rename the job, or delete that {kind}")]
    NameConflict {
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// Whose it should be.
        owner: String,
    },
    /// An object of an owner of the same name that was deleted has not gone yet.
    #[error("{kind} {key} of an owner that was deleted has not gone yet")]
    StillDeleting {
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
    },
    /// The API server refused an object.
    #[error("cannot apply {kind} {key}")]
    Apply {
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// What it answered.
        #[source]
        source: kube::Error,
    },
    /// The API server did not give an object.
    #[error("cannot read {kind} {key}")]
    Read {
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// What it answered.
        #[source]
        source: kube::Error,
    },
    /// An object could not be deleted.
    #[error("cannot delete {kind} {key}")]
    Delete {
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// What it answered.
        #[source]
        source: kube::Error,
    },
    /// The status could not be written.
    #[error("cannot write the status of {kind} {key}")]
    Status {
        /// Kind of the object.
        kind: &'static str,
        /// The object.
        key: ObjectKey,
        /// What the API server answered.
        #[source]
        source: kube::Error,
    },
}

/// The API server may be restarting.
const SOON: Duration = Duration::from_secs(1);
/// A person has to act, and a watch tells when: this is for what no watch sees, such as a quota.
const LATE: Duration = Duration::from_mins(1);

impl Error {
    /// Who can mend it.
    pub fn class(&self) -> Class {
        match self {
            Self::NameConflict { .. } => Class::User,
            Self::StillDeleting { .. } => Class::Outside,
            Self::Apply { source, .. }
            | Self::Read { source, .. }
            | Self::Delete { source, .. }
            | Self::Status { source, .. } => match source {
                kube::Error::Api(status) if matches!(status.code, 403 | 413 | 422) => Class::User,
                kube::Error::Api(status) if status.code == 400 => Class::Ours,
                _ => Class::Outside,
            },
        }
    }

    /// When to try again after so many failures in a row.
    pub fn retry_after(&self, failures: u32) -> Duration {
        match self.class() {
            Class::Outside => (SOON * 2u32.saturating_pow(failures.min(6))).min(LATE),
            Class::User | Class::Ours => LATE,
        }
    }

    /// The error with all its sources, for logs and conditions.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(inner) = source {
            let inner_text = inner.to_string();
            if !text.contains(&inner_text) {
                text.push_str(": ");
                text.push_str(&inner_text);
            }
            source = inner.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(code: u16) -> Error {
        let status = kube::core::Status::failure("no", "Test").with_code(code);
        let source = kube::Error::Api(Box::new(status));
        Error::Apply { kind: "Service".to_owned(), key: ObjectKey::new("etl", "a"), source }
    }

    #[test]
    fn what_a_person_must_mend_is_not_hammered_and_what_passes_is_tried_soon() {
        for (code, class, first, tenth) in [
            (500, Class::Outside, 1, 60),
            (409, Class::Outside, 1, 60),
            (429, Class::Outside, 1, 60),
            (403, Class::User, 60, 60),
            (422, Class::User, 60, 60),
            (400, Class::Ours, 60, 60),
        ] {
            let error = api(code);
            assert_eq!(error.class(), class, "{code}");
            assert_eq!(error.retry_after(0), Duration::from_secs(first), "{code}");
            assert_eq!(error.retry_after(10), Duration::from_secs(tenth), "{code}");
        }
    }

    #[test]
    fn an_error_names_its_object_and_its_cause_once() {
        let text = api(422).chain();
        assert!(text.starts_with("cannot apply Service etl/a: "), "{text}");
        assert!(text.contains("no"), "{text}");
    }
}
