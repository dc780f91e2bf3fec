//! Publishing: a staged file gets its name. And its opposite: a staged file that nobody will publish is removed.
//!
//! Publishing may be done at any time by anybody who reads the ledger, also twice, also at the same time. So no answer of
//! a server is believed. A failure: a reply may be lost after the work was done, an answer of 200 may carry an error, and
//! servers differ in what they say to a second completion. A success: versitygw answers 200 while another completion of
//! the upload is still at work, and goes on doing so when that one was killed. After each answer the key itself is
//! looked at; keys are unique, so what lies there is this file.

use std::fs;
use std::io::{self, ErrorKind};

use object_store::MultipartId;
use object_store::path::Path;

use super::bucket::Bucket;
use super::durable::sync_folders;
use super::error::{StoreError, is_no_such_upload};
use super::folder::{Slot, blocking, file_size, is_staged_name, remove};
use super::{Place, Store};
use crate::fault;
use crate::ledger::record::{FileRecord, Upload};

/// What became of a file that was to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// It is visible.
    Visible,
    /// There is neither the staged file nor the visible one. A caller that sees this for a minute may call it lost;
    /// before that, another completion may still be at work.
    Missing,
}

impl Store {
    /// Makes a decided file visible, or finds that it is. Idempotent; never takes the staged bytes away.
    ///
    /// An error says that nothing is known: ask again. [`StoreError::Size`] says that something else lies at the key;
    /// the ledger may hold a repair of this file.
    pub async fn publish(&self, file: &FileRecord) -> Result<Publication, StoreError> {
        let url = &file.url;
        let relative = self.own(url)?;
        match (&self.place, &file.upload) {
            (Place::Bucket(bucket), Upload::Multipart { id, parts }) => {
                let key = bucket.key(url, relative)?;
                bucket.publish(url, &key, id, parts, file.bytes).await
            }
            (Place::Folder(folder), Upload::Rename { from }) if is_staged_name(from) => {
                let slot = folder.slot(url, relative)?;
                let (from, expected) = (from.clone(), file.bytes);
                let found = blocking("publish", url, move || rename(&slot, &from, expected)).await?;
                settle(url, found, expected)
            }
            _ => Err(StoreError::UploadKind { url: url.clone() }),
        }
    }

    /// Removes a staged file that no live record names. One that does not exist is fine; a visible file is not touched.
    pub async fn discard(&self, url: &str, upload: &Upload) -> Result<(), StoreError> {
        let relative = self.own(url)?;
        match (&self.place, upload) {
            (Place::Bucket(bucket), Upload::Multipart { id, .. }) => {
                bucket.abort(url, &bucket.key(url, relative)?, id).await
            }
            (Place::Folder(folder), Upload::Rename { from }) if is_staged_name(from) => {
                let staged = folder.slot(url, relative)?.folder.join(from);
                blocking("remove", url, move || remove(&staged)).await
            }
            _ => Err(StoreError::UploadKind { url: url.to_string() }),
        }
    }
}

impl Bucket {
    async fn publish(
        &self,
        url: &str,
        key: &Path,
        id: &MultipartId,
        parts: &[String],
        expected: u64,
    ) -> Result<Publication, StoreError> {
        fault::point("store.complete.before");
        let refused = self.complete(key, id, parts).await.err();
        fault::point("store.complete.after");
        let gone = refused.as_ref().is_none_or(is_no_such_upload);
        match (self.size(url, key).await, refused) {
            (Ok(None) | Err(_), Some(refused)) if !gone => {
                // The upload may still be there: the refusal tells what is wrong.
                Err(StoreError::from_store("complete the upload of", url, &refused))
            }
            (found, _) => settle(url, found?, expected),
        }
    }
}

/// What the size at a key means.
fn settle(url: &str, found: Option<u64>, expected: u64) -> Result<Publication, StoreError> {
    match found {
        None => Ok(Publication::Missing),
        Some(found) if found == expected => Ok(Publication::Visible),
        Some(found) => Err(StoreError::Size { url: url.to_string(), expected, found }),
    }
}

/// Renames the staged file unless the final one is there, and answers with the size of what is there then (or of a staged
/// file that is not what the ledger says, which stays where it is).
fn rename(slot: &Slot, from: &str, expected: u64) -> io::Result<Option<u64>> {
    let (staged, path) = (slot.folder.join(from), slot.path());
    if file_size(&path)?.is_none() {
        match file_size(&staged)? {
            Some(found) if found != expected => return Ok(Some(found)),
            Some(_) => {
                fault::point("store.rename.before");
                match fs::rename(&staged, &path) {
                    // Somebody else was faster.
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => fault::point("store.rename.after"),
                }
            }
            None => {}
        }
    }
    let found = file_size(&path)?;
    if found.is_some() {
        // Also for a file that somebody else has renamed: he may have died before this.
        sync_folders(&slot.root, &slot.folder)?;
    }
    Ok(found)
}
