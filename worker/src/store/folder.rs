//! A folder of a file system: staged files lie beside their final name, hidden, until they are renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::durable::{DurableFiles, create_folder, sync_folders};
use super::error::StoreError;
use super::open::key_path;
use super::staging::Part;
use crate::fault;
use crate::ledger::record::Upload;

/// The end of a staged file's name.
const STAGED: &str = ".inprogress";

/// A folder.
#[derive(Clone)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    objects: Arc<DurableFiles>,
}

/// A file of the folder.
pub(super) struct Slot {
    pub(super) root: PathBuf,
    /// The folder that it lies in.
    pub(super) folder: PathBuf,
    /// Its own name.
    pub(super) name: String,
}

impl Folder {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { objects: Arc::new(DurableFiles::new(root.clone())), root }
    }

    pub(super) fn objects(&self) -> (Arc<dyn ObjectStore>, Path) {
        // The root was parsed when it was opened.
        let prefix = Path::parse(self.root.to_string_lossy()).unwrap_or_default();
        (Arc::clone(&self.objects) as _, prefix)
    }

    /// Where a key lies; refuses keys that lead out of the folder.
    pub(super) fn slot(&self, url: &str, relative: &str) -> Result<Slot, StoreError> {
        key_path(url, relative)?;
        let (folder, name) = relative.rsplit_once('/').unwrap_or(("", relative));
        Ok(Slot { root: self.root.clone(), folder: self.root.join(folder), name: name.to_string() })
    }

    pub(super) async fn size(&self, url: &str, relative: &str) -> Result<Option<u64>, StoreError> {
        let slot = self.slot(url, relative)?;
        blocking("look at", url, move || file_size(&slot.path())).await
    }

    pub(super) async fn read(&self, url: &str, relative: &str) -> Result<bytes::Bytes, StoreError> {
        let slot = self.slot(url, relative)?;
        blocking("read", url, move || fs::read(slot.path()).map(Into::into)).await
    }

    /// Creates the folder, writes a hidden file there and removes it.
    pub(super) async fn probe(&self, url: &str) -> Result<(), StoreError> {
        let root = self.root.clone();
        blocking("write into", url, move || {
            create_folder(&root)?;
            let probe = root.join(format!(".sluice-probe.{:016x}", rand::random::<u64>()));
            File::create_new(&probe)?.sync_all()?;
            fs::remove_file(&probe)
        })
        .await
    }
}

impl Slot {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Writes all parts into a hidden file beside the final name and makes it durable. After a failure it is removed.
    pub(super) async fn stage(
        self,
        url: &str,
        parts: UnboundedReceiver<Part>,
        given_up: &CancellationToken,
    ) -> Result<Upload, StoreError> {
        // A name of its own for each try: a repair writes the same file again while others may still publish the first
        // one, and must neither meet what a killed try left behind nor offer half a file for their rename.
        let from = format!(".{}.{:016x}{STAGED}", self.name, rand::random::<u64>());
        let path = self.folder.join(&from);
        let staged = self.write(url, path.clone(), parts, given_up).await;
        if staged.is_err() {
            // Best effort: what stays is hidden and named by nobody.
            let _ = blocking("remove", url, move || remove(&path)).await;
        }
        staged.map(|()| Upload::Rename { from })
    }

    async fn write(
        self,
        url: &str,
        path: PathBuf,
        mut parts: UnboundedReceiver<Part>,
        given_up: &CancellationToken,
    ) -> Result<(), StoreError> {
        let folder = self.folder.clone();
        let mut file = blocking("create", url, move || {
            create_folder(&folder)?;
            OpenOptions::new().write(true).create_new(true).open(&path)
        })
        .await?;
        while let Some(part) = parts.recv().await {
            if given_up.is_cancelled() {
                return Err(StoreError::Abandoned { url: url.to_string() });
            }
            file = blocking("write", url, move || {
                fault::point("store.part.before");
                part.payload().iter().try_for_each(|bytes| file.write_all(bytes))?;
                fault::point("store.part.after");
                Ok(file)
            })
            .await?;
        }
        blocking("sync", url, move || {
            file.sync_all()?;
            sync_folders(&self.root, &self.folder)
        })
        .await
    }
}

/// The size of a file, or nothing.
pub(super) fn file_size(path: &FilePath) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; one that does not exist is fine.
pub(super) fn remove(path: &FilePath) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Is it a name that staging gives? A ledger that was tampered with must not make us touch other files.
pub(super) fn is_staged_name(from: &str) -> bool {
    from.starts_with('.') && from.ends_with(STAGED) && !from.contains('/')
}

/// Runs file operations where they may wait.
pub(super) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    url: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| StoreError::from_io(operation, url, &error)),
        Err(_) => Err(StoreError::ended(operation, url)),
    }
}
