//! What goes wrong in a store, and how to mend it.
//!
//! The answers of servers are not kept as they are: the body of a refusal may carry the access key id and the text that
//! was signed. An [`Answer`] keeps the server's code and message.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use sluice_crds::condition::Reason;

use crate::error::{Classified, chain};

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location or its connection has a value that cannot work.
    #[error("the location `{url}` cannot be opened: {problem}")]
    Location {
        /// The location.
        url: String,
        /// What is wrong with it, and how it should be.
        problem: String,
    },
    /// A mounted secret is missing or cannot be used.
    #[error("the secret file `{path}` of connection `{connection}` {problem}; create the secret with this key", path = path.display())]
    Secret {
        /// The connection that names it.
        connection: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
        /// Why it cannot be read.
        #[source]
        source: Option<io::Error>,
    },
    /// The endpoint does not know the key, or the secret does not fit.
    #[error(
        "cannot {operation} `{url}`: the endpoint refused the credentials; check the access key id and the secret access key of the connection"
    )]
    Authentication {
        /// What was tried.
        operation: &'static str,
        /// On what.
        url: String,
        /// The server's words.
        #[source]
        source: Answer,
    },
    /// The endpoint knows the key and does not allow the operation.
    #[error(
        "cannot {operation} `{url}`: the endpoint does not allow it; allow s3:ListBucket, s3:GetObject, s3:PutObject and s3:AbortMultipartUpload on the location"
    )]
    Authorization {
        /// What was tried.
        operation: &'static str,
        /// On what.
        url: String,
        /// The server's words.
        #[source]
        source: Answer,
    },
    /// There is no such bucket.
    #[error("cannot {operation} `{url}`: there is no such bucket; create it, or correct the location or the endpoint")]
    NoSuchBucket {
        /// What was tried.
        operation: &'static str,
        /// On what.
        url: String,
        /// The server's words.
        #[source]
        source: Answer,
    },
    /// The bucket lives in another region.
    #[error("cannot {operation} `{url}`: the bucket is in another region; correct the connection's region or endpoint")]
    Region {
        /// What was tried.
        operation: &'static str,
        /// On what.
        url: String,
        /// The server's words.
        #[source]
        source: Answer,
    },
    /// No space is left.
    #[error("cannot {operation} `{url}`: no space is left; free some, or raise the quota")]
    Full {
        /// What was tried.
        operation: &'static str,
        /// On what.
        url: String,
        /// The system's words.
        #[source]
        source: Answer,
    },
    /// Anything else that may pass.
    #[error("cannot {operation} `{url}`")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// On what.
        url: String,
        /// The words of the server or of the system.
        #[source]
        source: Answer,
    },
    /// No answer came at all.
    #[error("`{url}` did not answer within {waited:?}; check the endpoint of the connection and the network policies")]
    Silent {
        /// The location.
        url: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The url is not of this location.
    #[error("`{url}` is not below `{location}`")]
    Elsewhere {
        /// The url.
        url: String,
        /// The location of the store.
        location: String,
    },
    /// The key holds what a key cannot hold.
    #[error("`{url}` is not a key that can be used: {problem}")]
    Key {
        /// The url.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The upload is not of the kind that the location takes.
    #[error("`{url}` was staged in another way than its location publishes")]
    UploadKind {
        /// The url.
        url: String,
    },
    /// Nothing was pushed.
    #[error("`{url}` would be an empty file")]
    Empty {
        /// The url.
        url: String,
    },
    /// A file has more parts than an upload can have.
    #[error("`{url}` is too large for one upload; close files earlier")]
    TooLarge {
        /// The url.
        url: String,
    },
    /// The file was given up before it was finished.
    #[error("`{url}` was given up")]
    Abandoned {
        /// The url.
        url: String,
    },
    /// What lies there is not what the ledger says.
    #[error(
        "`{url}` has {found} bytes and the ledger says {expected}; read the ledger again, a repair may have replaced it"
    )]
    Size {
        /// The url.
        url: String,
        /// Bytes by the ledger.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
}

impl StoreError {
    /// An error of the object store, told apart by the code in it.
    pub(super) fn from_store(operation: &'static str, url: &str, error: &object_store::Error) -> Self {
        match Self::refused(operation, url, code(error).as_deref(), Answer::from_store(error)) {
            Self::Failed { operation, url, source } if is_full(error) => Self::Full { operation, url, source },
            other => other,
        }
    }

    /// A refusal, told apart by its code.
    pub(super) fn refused(operation: &'static str, url: &str, code: Option<&str>, source: Answer) -> Self {
        let url = url.to_string();
        match code {
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "XAdminUserNotFound"
                | "NotSignedUp"
                | "InvalidClientTokenId"
                | "InvalidSecurity"
                | UNAUTHORIZED,
            ) => Self::Authentication { operation, url, source },
            Some("AccessDenied" | "AllAccessDisabled" | FORBIDDEN) => Self::Authorization { operation, url, source },
            Some("NoSuchBucket") => Self::NoSuchBucket { operation, url, source },
            Some(
                "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" | REDIRECT,
            ) => Self::Region { operation, url, source },
            Some("XMinioStorageFull" | "QuotaExceeded") => Self::Full { operation, url, source },
            // All else may pass, also ExpiredToken (the identity gets a new one) and RequestTimeTooSkewed (clocks are set).
            _ => Self::Failed { operation, url, source },
        }
    }

    /// An error of the file system.
    pub(super) fn from_io(operation: &'static str, url: &str, error: &io::Error) -> Self {
        let url = url.to_string();
        let source = Answer(error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { operation, url, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                let problem = format!("cannot {operation} it: {source}; let the user of this process write there");
                Self::Location { url, problem }
            }
            _ => Self::Failed { operation, url, source },
        }
    }

    /// A task that ended without an answer.
    pub(super) fn ended(operation: &'static str, url: &str) -> Self {
        let source = Answer("the task that did it has ended".to_string());
        Self::Failed { operation, url: url.to_string(), source }
    }
}

impl Classified for StoreError {
    fn reason(&self) -> Reason {
        match self {
            Self::Location { .. } | Self::NoSuchBucket { .. } | Self::Region { .. } => Reason::ConfigInvalid,
            Self::Secret { .. } => Reason::ReferenceNotFound,
            Self::Authentication { .. } => Reason::AuthenticationFailed,
            Self::Authorization { .. } => Reason::AuthorizationFailed,
            Self::Full { .. } | Self::Failed { .. } | Self::Silent { .. } | Self::Abandoned { .. } => {
                Reason::SinkUnavailable
            }
            Self::Size { .. } => Reason::DataLossRisk,
            Self::Elsewhere { .. }
            | Self::Key { .. }
            | Self::UploadKind { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. } => Reason::Internal,
        }
    }

    fn retry(&self) -> bool {
        // A size that differs is one of a repair that this worker has not read about yet, as a rule.
        matches!(
            self,
            Self::Full { .. } | Self::Failed { .. } | Self::Silent { .. } | Self::Abandoned { .. } | Self::Size { .. }
        )
    }

    fn exit_code(&self) -> u8 {
        crate::error::store_exit_code(self.reason())
    }
}

/// The words of a server or of the system, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(String);

/// Longest text that is kept of an answer: an error page of a proxy has thousands of characters.
const LONGEST_ANSWER: usize = 500;

/// Stand for answers without a body: to a HEAD, or one that sends the client elsewhere without saying where.
const REDIRECT: &str = "Redirect";
const FORBIDDEN: &str = "Forbidden";
const UNAUTHORIZED: &str = "Unauthorized";

impl Answer {
    /// Words of our own.
    pub(super) fn new(words: &str) -> Self {
        Self(words.to_string())
    }

    pub(super) fn from_store(error: &object_store::Error) -> Self {
        let text = words(error);
        // Everything from the first tag on is the body of the answer.
        let (head, body) = text.split_at(text.find('<').unwrap_or(text.len()));
        let mut kept: String = head.trim_end_matches([' ', ':']).chars().take(LONGEST_ANSWER).collect();
        for tag in ["Code", "Message"] {
            if let Some(value) = element(body, tag) {
                kept.push_str(": ");
                kept.extend(value.chars().take(LONGEST_ANSWER));
            }
        }
        Self(kept)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Answer {}

/// Is it the answer to a request that names an upload which does not exist (any more)?
///
/// Only the code counts: a 404 without one may come from a proxy that knows nothing of uploads.
pub(super) fn is_no_such_upload(error: &object_store::Error) -> bool {
    code(error).as_deref() == Some("NoSuchUpload")
}

/// The code of an S3 error, from the body of the answer.
fn code(error: &object_store::Error) -> Option<String> {
    let text = words(error);
    if let Some(code) = element(&text, "Code") {
        return Some(code.to_string());
    }
    // The text is what all have in common: a listing's error carries its status in no other way, and the store in
    // memory has no codes.
    let known = [
        ("MultipartUpload not found", "NoSuchUpload"),
        ("Received redirect without LOCATION", REDIRECT),
        ("status code: 403", FORBIDDEN),
        ("status code: 401", UNAUTHORIZED),
    ];
    known.into_iter().find(|(words, _)| text.contains(words)).map(|(_, code)| code.to_string())
}

/// What the innermost errors say; the outermost only repeats the path.
fn words(error: &object_store::Error) -> String {
    error.source().map_or_else(|| error.to_string(), chain)
}

/// The text of the first XML element of this name.
pub(super) fn element<'t>(text: &'t str, tag: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    Some(rest.split_once('<')?.0)
}

fn is_full(error: &object_store::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        }
        source = inner.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> object_store::Error {
        object_store::Error::PermissionDenied {
            path: "k".into(),
            source: format!("Error performing PUT http://s3/b/k in 1ms - Server returned: {body}").into(),
        }
    }

    #[test]
    fn an_answer_keeps_code_and_message_and_no_key() {
        let body = "<?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>It does not match.</Message>\
                    <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><StringToSign>AWS4 AKIASECRET</StringToSign></Error>";
        let error = StoreError::from_store("list", "s3://b/", &refusal(body));
        let text = chain(&error);
        assert!(text.ends_with("Server returned: SignatureDoesNotMatch: It does not match."), "{text}");
        assert!(!text.contains("AKIASECRET") && !format!("{error:?}").contains("AKIASECRET"));
        assert_eq!((error.reason(), error.retry()), (Reason::AuthenticationFailed, false));
    }

    #[test]
    fn codes_tell_the_reason() {
        let reason = |body: &str| {
            let error = StoreError::from_store("list", "s3://b/", &refusal(&format!("<Code>{body}</Code>")));
            (error.reason(), error.retry())
        };
        assert_eq!(reason("XAdminUserNotFound"), (Reason::AuthenticationFailed, false));
        assert_eq!(reason("InvalidAccessKeyId"), (Reason::AuthenticationFailed, false));
        assert_eq!(reason("AccessDenied"), (Reason::AuthorizationFailed, false));
        assert_eq!(reason("NoSuchBucket"), (Reason::ConfigInvalid, false));
        assert_eq!(reason("AuthorizationHeaderMalformed"), (Reason::ConfigInvalid, false));
        assert_eq!(reason("ExpiredToken"), (Reason::SinkUnavailable, true));
        assert_eq!(reason("XMinioStorageFull"), (Reason::SinkUnavailable, true));
    }

    #[test]
    fn a_full_disk_is_named() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = StoreError::from_io("write", "file:///t/x", &full);
        assert_eq!((error.reason(), error.retry()), (Reason::SinkUnavailable, true));
        assert!(error.to_string().contains("no space is left"));
        let wrapped = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(full) };
        assert!(matches!(StoreError::from_store("write", "file:///t/x", &wrapped), StoreError::Full { .. }));
    }
}
