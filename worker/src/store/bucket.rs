//! S3, and the store in memory: whatever has multipart uploads.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::error::{StoreError, is_no_such_upload};
use super::lifecycle::Lifecycle;
use super::open::key_path;
use super::staging::{MAX_PARTS, Part};
use crate::fault;
use crate::ledger::record::Upload;

/// A prefix of a bucket.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) uploads: Arc<dyn MultipartStore>,
    pub(super) prefix: Path,
    /// None where there are no rules: in memory.
    pub(super) lifecycle: Option<Arc<Lifecycle>>,
    parts_at_once: usize,
}

impl Bucket {
    pub(super) fn new(
        store: impl ObjectStore + MultipartStore,
        prefix: Path,
        parts_at_once: usize,
        lifecycle: Option<Lifecycle>,
    ) -> Self {
        let store = Arc::new(store);
        let lifecycle = lifecycle.map(Arc::new);
        Self { objects: Arc::clone(&store) as _, uploads: store, prefix, lifecycle, parts_at_once }
    }

    /// Another prefix of the same bucket.
    pub(super) fn at(&self, prefix: Path) -> Self {
        Self { prefix, ..self.clone() }
    }

    /// The key of what lies below the prefix, letter by letter.
    pub(super) fn key(&self, url: &str, relative: &str) -> Result<Path, StoreError> {
        let relative = key_path(url, relative)?;
        Ok(self.prefix.parts().chain(relative.parts()).collect())
    }

    /// Starts an upload and uploads all parts. The upload is not completed; after a failure it is aborted.
    pub(super) async fn stage(
        &self,
        url: &str,
        key: &Path,
        parts: UnboundedReceiver<Part>,
        given_up: &CancellationToken,
    ) -> Result<Upload, StoreError> {
        let started = self.uploads.create_multipart(key).await;
        let id = started.map_err(|error| StoreError::from_store("start an upload of", url, &error))?;
        let uploaded = given_up.run_until_cancelled(self.put_parts(url, key, &id, parts)).await;
        match uploaded.unwrap_or_else(|| Err(StoreError::Abandoned { url: url.to_string() })) {
            Ok(parts) => Ok(Upload::Multipart { id, parts }),
            Err(error) => {
                // Best effort: what stays is for the bucket's lifecycle rule.
                if let Err(abort) = self.abort(url, key, &id).await {
                    tracing::debug!(error = %crate::error::chain(&abort), "an upload stays behind");
                }
                Err(error)
            }
        }
    }

    async fn put_parts(
        &self,
        url: &str,
        key: &Path,
        id: &MultipartId,
        mut parts: UnboundedReceiver<Part>,
    ) -> Result<Vec<String>, StoreError> {
        // Unordered, so that a slow part does not keep later ones from starting.
        let etags: BTreeMap<usize, String> = futures::stream::poll_fn(move |context| parts.poll_recv(context))
            .enumerate()
            .map(|(index, part)| async move { Ok((index, self.put_part(url, key, id, index, part).await?)) })
            .buffer_unordered(self.parts_at_once)
            .try_collect()
            .await?;
        Ok(etags.into_values().collect())
    }

    async fn put_part(
        &self,
        url: &str,
        key: &Path,
        id: &MultipartId,
        index: usize,
        part: Part,
    ) -> Result<String, StoreError> {
        if index >= MAX_PARTS {
            return Err(StoreError::TooLarge { url: url.to_string() });
        }
        fault::point("store.part.before");
        let put = self.uploads.put_part(key, id, index, part.payload()).await;
        fault::point("store.part.after");
        put.map(|part| part.content_id).map_err(|error| StoreError::from_store("upload a part of", url, &error))
    }

    /// Makes the object out of the parts.
    pub(super) async fn complete(&self, key: &Path, id: &MultipartId, parts: &[String]) -> object_store::Result<()> {
        let parts = parts.iter().map(|etag| PartId { content_id: etag.clone() }).collect();
        self.uploads.complete_multipart(key, id, parts).await.map(|_| ())
    }

    /// Aborts an upload; one that does not exist is fine.
    pub(super) async fn abort(&self, url: &str, key: &Path, id: &MultipartId) -> Result<(), StoreError> {
        match self.uploads.abort_multipart(key, id).await {
            Ok(()) => Ok(()),
            Err(error) if is_no_such_upload(&error) => Ok(()),
            Err(error) => Err(StoreError::from_store("abort the upload of", url, &error)),
        }
    }

    /// The size of an object, or nothing.
    pub(super) async fn size(&self, url: &str, key: &Path) -> Result<Option<u64>, StoreError> {
        match self.objects.head(key).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(StoreError::from_store("look at", url, &error)),
        }
    }

    pub(super) async fn read(&self, url: &str, key: &Path) -> Result<bytes::Bytes, StoreError> {
        let failed = |error| StoreError::from_store("read", url, &error);
        self.objects.get(key).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    /// Lists, looks at a key, starts an upload and aborts it: everything that is needed later but the upload's completion.
    pub(super) async fn probe(&self, url: &str) -> Result<(), StoreError> {
        if let Some(Err(error)) = self.objects.list(Some(&self.prefix)).next().await {
            return Err(StoreError::from_store("list", url, &error));
        }
        let url = format!("{url}_sluice/probe");
        let key = self.key(&url, "_sluice/probe")?;
        self.size(&url, &key).await?;
        let started = self.uploads.create_multipart(&key).await;
        let id = started.map_err(|error| StoreError::from_store("start an upload of", &url, &error))?;
        self.abort(&url, &key, &id).await
    }

    /// Does the server refuse to create a key twice? One request where the key is there already, two the first time. The key stays: who
    /// may write need not be allowed to delete, and a key of its own for each question would add up.
    pub(super) async fn creates_once(&self, url: &str) -> Result<bool, StoreError> {
        let url = format!("{url}_sluice/created-once");
        let key = self.key(&url, "_sluice/created-once")?;
        for _ in 0..2 {
            let body = PutPayload::from_static(b"Sluice tests here whether If-None-Match works.\n");
            match self.objects.put_opts(&key, body, PutMode::Create.into()).await {
                Ok(_) => {}
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    return Ok(true);
                }
                Err(object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }) => {
                    return Ok(false);
                }
                Err(error) => return Err(StoreError::from_store("create", &url, &error)),
            }
        }
        Ok(false)
    }
}
