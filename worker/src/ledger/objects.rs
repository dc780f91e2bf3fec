//! Requests to the object store: each with a time-out of its own, each failure named.
//!
//! [`Objects::settle`] is the one way in which an object of a checkpoint comes to be: a conditional create, and after any
//! failure a look at what is there. An error never means that nothing happened: a reply can be lost, a client can turn its
//! own success into "exists", and a request can take effect long after its time-out.

use std::error::Error as _;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use sluice_crds::condition::Reason;

use crate::error::{Classified, chain};
use crate::fault;

/// How patient a ledger is.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// The time-out of one request. Default 10 s.
    pub request: Duration,
    /// How often a request is sent before its outcome counts as unknown. Default 4.
    pub tries: u32,
    /// The longest wait before the first repetition; doubles for each further one, up to 64 times. Default 50 ms.
    pub backoff: Duration,
    /// Records between two snapshots. Default 100.
    pub snapshot_every: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { request: Duration::from_secs(10), tries: 4, backoff: Duration::from_millis(50), snapshot_every: 100 }
    }
}

impl Tuning {
    /// Waits a random part of the back-off, so that those who collided do not collide again.
    pub(super) async fn pause(&self, turn: u32) {
        let longest = self.backoff * 2u32.pow(turn.min(6));
        tokio::time::sleep(longest.mul_f64(rand::random())).await;
    }
}

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No answer in time; it may still take effect.
    #[error("could not {operation} {object}: no answer within {after:?}")]
    TimedOut {
        /// What was asked for.
        operation: &'static str,
        /// The object.
        object: String,
        /// The time-out.
        after: Duration,
    },
    /// The store does not accept the credentials, or not for this. Its own text is left out, because it repeats what was signed.
    #[error(
        "could not {operation} {object}: the object store refused the credentials ({code}); check the keys and what they may do"
    )]
    Refused {
        /// What was asked for.
        operation: &'static str,
        /// The object.
        object: String,
        /// The store's word for it.
        code: String,
    },
    /// The bucket does not exist.
    #[error("could not {operation} {object}: the bucket does not exist; create it or correct the url")]
    NoBucket {
        /// What was asked for.
        operation: &'static str,
        /// The object.
        object: String,
    },
    /// The store cannot do this at all.
    #[error("could not {operation} {object}: the object store does not support it")]
    Unsupported {
        /// What was asked for.
        operation: &'static str,
        /// The object.
        object: String,
        /// The store's words.
        #[source]
        source: object_store::Error,
    },
    /// Anything else; it may have taken effect.
    #[error("could not {operation} {object}")]
    Failed {
        /// What was asked for.
        operation: &'static str,
        /// The object.
        object: String,
        /// The store's words.
        #[source]
        source: object_store::Error,
    },
}

impl Classified for ObjectError {
    fn reason(&self) -> Reason {
        match self {
            Self::TimedOut { .. } | Self::Failed { .. } => Reason::SinkUnavailable,
            Self::Refused { .. } => Reason::AuthenticationFailed,
            Self::NoBucket { .. } => Reason::ConfigInvalid,
            Self::Unsupported { .. } => Reason::ConditionalWritesUnsupported,
        }
    }

    fn retry(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Failed { .. })
    }
}

impl ObjectError {
    /// Does the store say that there is an object already?
    pub(super) fn says_exists(&self) -> bool {
        use object_store::Error::{AlreadyExists, NotModified, Precondition};
        let Self::Failed { source, .. } = self else { return false };
        matches!(source, AlreadyExists { .. } | Precondition { .. } | NotModified { .. })
    }
}

/// What became of [`Objects::settle`].
#[derive(Debug, PartialEq, Eq)]
pub enum Settled {
    /// The object is there and this call made it.
    Created,
    /// An object is there with these bytes; they may be ours all the same.
    Found(Bytes),
}

/// The objects below one checkpoint.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    url: String,
    tuning: Tuning,
}

impl Objects {
    /// The objects below `prefix`, which people know as `url`.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, url: &str, tuning: Tuning) -> Self {
        Self { store, prefix, url: url.trim_end_matches('/').to_owned(), tuning }
    }

    /// How patient they are.
    pub fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    /// The url of an object, for messages.
    pub fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }

    /// Sends one request. `object` is its name, or the folder.
    async fn request<T>(
        &self,
        operation: &'static str,
        object: &str,
        reply: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, ObjectError> {
        match tokio::time::timeout(self.tuning.request, reply).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(source)) => Err(classify(operation, self.url(object), source)),
            Err(_) => Err(ObjectError::TimedOut { operation, object: self.url(object), after: self.tuning.request }),
        }
    }

    /// The bytes of an object, or `None` where there is none.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        let path = self.path(name);
        let reply = async {
            match self.store.get(&path).await {
                Ok(found) => found.bytes().await.map(Some),
                Err(error @ object_store::Error::NotFound { .. }) if !names_no_bucket(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.request("read", name, reply).await
    }

    /// Like [`get`](Self::get), and tries again where that may help.
    pub async fn get_patiently(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        let mut turn = 0;
        loop {
            turn += 1;
            match self.get(name).await {
                Err(error) if error.retry() && turn < self.tuning.tries => self.tuning.pause(turn).await,
                answer => return answer,
            }
        }
    }

    /// One conditional create. An error does not say that the object was not made.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let path = self.path(name);
        let options = PutOptions::from(PutMode::Create);
        self.request("create", name, self.store.put_opts(&path, bytes.into(), options)).await.map(drop)
    }

    /// Makes an object, or finds out what is there instead.
    ///
    /// As long as nobody has seen an object under the name, the same bytes are sent again: the request before may still
    /// take effect, and then it is the same object. After an error nothing is known: the object may still appear.
    pub async fn settle(&self, name: &str, bytes: &Bytes, points: [&str; 2]) -> Result<Settled, ObjectError> {
        let mut turn = 0;
        loop {
            turn += 1;
            fault::point(points[0]);
            let put = self.create(name, bytes.clone()).await;
            fault::point(points[1]);
            let Err(error) = put else { return Ok(Settled::Created) };
            if let Ok(Some(found)) = self.get(name).await {
                return Ok(Settled::Found(found));
            }
            if turn >= self.tuning.tries || !error.retry() {
                return Err(error);
            }
            self.tuning.pause(turn).await;
        }
    }

    /// Deletes an object that no promise hangs on.
    pub async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let path = self.path(name);
        self.request("delete", name, self.store.delete(&path)).await
    }

    /// The names of the objects in a folder, without the folder, in no particular order; only those behind `after`.
    pub async fn list(&self, folder: &str, after: Option<&str>) -> Result<Vec<String>, ObjectError> {
        let path = self.path(folder);
        let mut listing = match after {
            Some(name) => self.store.list_with_offset(Some(&path), &path.clone().join(name)),
            None => self.store.list(Some(&path)),
        };
        let mut names = Vec::new();
        // The time-out is for each answer, since a long listing has many of them.
        while let Some(meta) = self.request("list", folder, async { listing.next().await.transpose() }).await? {
            // A store lists what lies deeper, too: somebody's copies in a folder below are no objects of this one.
            if let Some(mut rest) = meta.location.prefix_match(&path)
                && let (Some(name), None) = (rest.next(), rest.next())
            {
                names.push(name.as_ref().to_owned());
            }
        }
        Ok(names)
    }
}

/// Codes that speak of credentials. Some stores send them with a status that does not say so.
const CREDENTIAL_CODES: [&str; 6] =
    ["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "InvalidSecurity", "AccessDenied"];

fn classify(operation: &'static str, object: String, source: object_store::Error) -> ObjectError {
    use object_store::Error as E;
    let text = chain(&source);
    let code = CREDENTIAL_CODES.into_iter().find(|code| text.contains(code));
    match source {
        E::Unauthenticated { .. } | E::PermissionDenied { .. } => {
            ObjectError::Refused { operation, object, code: code.unwrap_or("access denied").to_owned() }
        }
        E::Generic { .. } if code.is_some() => {
            ObjectError::Refused { operation, object, code: code.unwrap_or_default().to_owned() }
        }
        E::NotFound { .. } if operation != "delete" => ObjectError::NoBucket { operation, object },
        E::NotImplemented { .. } | E::NotSupported { .. } => ObjectError::Unsupported { operation, object, source },
        E::Generic { .. } if text.contains("<Code>NotImplemented</Code>") => {
            ObjectError::Unsupported { operation, object, source }
        }
        source => ObjectError::Failed { operation, object, source },
    }
}

fn names_no_bucket(error: &object_store::Error) -> bool {
    error.source().is_some_and(|source| chain(source).contains("NoSuchBucket"))
}
