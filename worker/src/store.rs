//! Opens a location in S3 or in a file system, stages files there where no reader sees them, and publishes them.
//!
//! ```text
//! begin ─► push … push ─► finish ─► StagedUpload ─(the ledger decides)─► publish ─► visible
//!                 └─► abandon                    └─(the ledger says no)─► discard
//! ```
//!
//! Promises:
//! - a staged file is invisible until it is published, and it appears whole or not at all;
//! - a staged file is durable when [`Staging::finish`] answers: a ledger may name it;
//! - publishing is idempotent, in any number of workers at the same time, and never takes a staged file away from
//!   a worker that comes later.
//!
//! It must not decide anything: what is published, what is discarded and when a file counts as lost is the ledger's affair.
//!
//! A url is the location's url followed by the key, letter by letter. Nothing is percent-encoded or decoded on the way,
//! because the folders of a Hive layout carry percent signs of their own: `file:///t/a=50%25/x` is the folder `a=50%25`.
//!
//! TLS is rustls. A program must install its process-wide provider (`rustls::crypto::ring::default_provider()
//! .install_default()`) first thing in `main`, before anything is opened here.

mod bucket;
mod credentials;
mod durable;
mod error;
mod folder;
mod greeting;
mod lifecycle;
mod open;
mod publish;
mod staging;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use self::bucket::Bucket;
use self::folder::Folder;

pub use self::error::{Answer, StoreError};
pub use self::greeting::greet;
pub use self::lifecycle::{Finding, Holds, Unknown};
pub use self::publish::Publication;
pub use self::staging::{StagedUpload, Staging};

/// How long probes wait for answers: a person is looking at a job that starts, or at a connection.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// One location, open. Clones share the connection.
#[derive(Clone)]
pub struct Store {
    url: Arc<str>,
    place: Place,
}

#[derive(Clone)]
enum Place {
    Bucket(Bucket),
    Folder(Folder),
}

/// A visible file of a location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Its url, as in the ledger.
    pub url: String,
    /// Its size.
    pub bytes: u64,
}

impl Store {
    /// An empty location in memory, `memory:///`, for tests. It lives as long as its clones.
    pub fn memory() -> Self {
        // The parts of an upload in memory must come in order: the store resizes by the number that came last.
        let bucket = Bucket::new(InMemory::new(), Path::ROOT, 1, None);
        Self { url: "memory:///".into(), place: Place::Bucket(bucket) }
    }

    /// The objects of the location, and the prefix below which all keys must lie.
    ///
    /// On a file system, creating and replacing an object is durable when it answers. Multipart uploads and copies
    /// are refused there: files are staged by [`Store::begin`].
    pub fn objects(&self) -> (Arc<dyn ObjectStore>, Path) {
        match &self.place {
            Place::Bucket(bucket) => (Arc::clone(&bucket.objects), bucket.prefix.clone()),
            Place::Folder(folder) => folder.objects(),
        }
    }

    /// The location's own url; ends with a slash.
    pub fn location(&self) -> &str {
        &self.url
    }

    /// The url of a key below the location: `event_date=2026-01-31/part-0.parquet`.
    pub fn url(&self, relative: &str) -> String {
        format!("{}{relative}", self.url)
    }

    /// The key of a url of this location; `None` when it lies elsewhere.
    pub fn relative<'u>(&self, url: &'u str) -> Option<&'u str> {
        url.strip_prefix(&*self.url).filter(|relative| !relative.is_empty())
    }

    /// The size of a visible file; `None` when there is none.
    pub async fn size(&self, url: &str) -> Result<Option<u64>, StoreError> {
        let relative = self.own(url)?;
        match &self.place {
            Place::Bucket(bucket) => bucket.size(url, &bucket.key(url, relative)?).await,
            Place::Folder(folder) => folder.size(url, relative).await,
        }
    }

    /// A whole visible file.
    pub async fn read(&self, url: &str) -> Result<bytes::Bytes, StoreError> {
        let relative = self.own(url)?;
        match &self.place {
            Place::Bucket(bucket) => bucket.read(url, &bucket.key(url, relative)?).await,
            Place::Folder(folder) => folder.read(url, relative).await,
        }
    }

    /// Is there a visible file?
    pub async fn exists(&self, url: &str) -> Result<bool, StoreError> {
        Ok(self.size(url).await?.is_some())
    }

    /// All visible files below the location, in no particular order.
    ///
    /// Left out are what readers of a table leave out: names that begin with `.` or `_` (a folder `_key=value` of a
    /// partition key that does so is not hidden) and empty objects, which stand for folders.
    pub async fn list_table(&self) -> Result<Vec<ListedFile>, StoreError> {
        let (objects, prefix) = self.objects();
        let listed = objects.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        let listed = listed.map_err(|error| StoreError::from_store("list", &self.url, &error))?;
        let files = listed.into_iter().filter(|meta| meta.size > 0).filter_map(|meta| {
            let relative = below(&prefix, &meta.location)?;
            is_visible(relative).then(|| ListedFile { url: self.url(relative), bytes: meta.size })
        });
        Ok(files.collect())
    }

    /// Finds out whether the location can be used, within ten seconds, without making anything visible.
    ///
    /// S3: lists the prefix, then starts and aborts an upload of the hidden key `_sluice/probe`. A folder is created
    /// where it is missing, and a hidden file is written and removed.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let probe = async {
            match &self.place {
                Place::Bucket(bucket) => bucket.probe(&self.url).await,
                Place::Folder(folder) => folder.probe(&self.url).await,
            }
        };
        in_time(&self.url, probe).await
    }

    /// Finds out whether the location creates a key only once, which the ledger needs. Leaves the hidden key `_sluice/created-once` in a
    /// bucket. A folder always does.
    pub async fn creates_once(&self) -> Result<bool, StoreError> {
        match &self.place {
            Place::Bucket(bucket) => in_time(&self.url, bucket.creates_once(&self.url)).await,
            Place::Folder(_) => Ok(true),
        }
    }

    /// The key of a url that must be of this location.
    fn own<'u>(&self, url: &'u str) -> Result<&'u str, StoreError> {
        self.relative(url).ok_or_else(|| StoreError::Elsewhere { url: url.to_string(), location: self.url.to_string() })
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The url and nothing else: what lies below holds credentials.
        f.debug_tuple("Store").field(&self.url).finish()
    }
}

/// The answer of a location, or that none came.
async fn in_time<T>(url: &str, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PROBE_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(StoreError::Silent { url: url.to_string(), waited: PROBE_TIMEOUT }),
    }
}

/// What of a key comes after a prefix.
fn below<'k>(prefix: &Path, key: &'k Path) -> Option<&'k str> {
    let rest = key.as_ref().strip_prefix(prefix.as_ref())?;
    if prefix.is_root() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Would a reader of the table see this key?
fn is_visible(relative: &str) -> bool {
    relative.split('/').all(|name| !name.starts_with('.') && (!name.starts_with('_') || name.contains('=')))
}
