//! Files that survive a power cut: synced before their name is, and their folder before anybody is told.
//!
//! `LocalFileSystem` writes atomically, but syncs neither files nor folders: a ledger record that it has created may be
//! empty or gone after a crash of the machine. [`DurableFiles`] writes by itself and leaves reading to it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Creates a folder and what is missing above it, each durably.
pub(super) fn create_folder(folder: &FilePath) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else {
        return Err(io::Error::from(ErrorKind::NotFound));
    };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => sync_folder(parent),
    }
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &FilePath) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems have no such thing: there a name is as durable as it gets.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

/// Makes the names from a folder up to the root durable: somebody else may have created a folder between them and died
/// before syncing.
pub(super) fn sync_folders(root: &FilePath, folder: &FilePath) -> io::Result<()> {
    folder.ancestors().take_while(|ancestor| ancestor.starts_with(root)).try_for_each(sync_folder)
}

/// The objects of a local folder, by their absolute path.
#[derive(Debug, Clone)]
pub(super) struct DurableFiles {
    files: LocalFileSystem,
    root: PathBuf,
}

impl DurableFiles {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { files: LocalFileSystem::new(), root }
    }
}

fn generic(error: io::Error) -> Error {
    Error::Generic { store: "local file system", source: Box::new(error) }
}

/// Writes a file and gives it its name, or says that the name is taken.
fn put(root: &FilePath, path: &FilePath, payload: &PutPayload, mode: &PutMode) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(ErrorKind::InvalidFilename));
    };
    create_folder(folder)?;
    // `LocalFileSystem` hides names that end with a hash and digits: nobody lists what a crash leaves behind.
    let mut staged = name.to_os_string();
    staged.push(format!("#{}", rand::random::<u64>()));
    let staged = folder.join(staged);
    let written = write_synced(&staged, payload).and_then(|()| match mode {
        PutMode::Create => fs::hard_link(&staged, path),
        _ => fs::rename(&staged, path),
    });
    if !matches!((&written, mode), (Ok(()), PutMode::Overwrite)) {
        let _ = fs::remove_file(&staged);
    }
    match written {
        // The name of another writer may not be durable yet, and the answer tells that it is there.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => sync_folders(root, folder).and(Err(error)),
        Err(error) => Err(error),
        Ok(()) => sync_folders(root, folder),
    }
}

fn write_synced(path: &FilePath, payload: &PutPayload) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    payload.iter().try_for_each(|bytes| file.write_all(bytes))?;
    file.sync_all()
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) || !options.attributes.is_empty() {
            return self.files.put_opts(location, payload, options).await;
        }
        let path = self.files.path_to_filesystem(location)?;
        let root = self.root.clone();
        let written = tokio::task::spawn_blocking(move || put(&root, &path, &payload, &options.mode)).await?;
        match written {
            Ok(()) => Ok(PutResult { e_tag: None, version: None }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::AlreadyExists { path: location.to_string(), source: Box::new(error) })
            }
            Err(error) => Err(generic(error)),
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(not_durable("a multipart upload"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_durable("a copy"))
    }
}

fn not_durable(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_string(), implementer: "durable local files".to_string() }
}

impl fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableFiles({})", self.root.display())
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use object_store::ObjectStoreExt;

    use super::*;

    #[tokio::test]
    async fn an_object_is_created_once_and_nothing_else_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep/er");
        let store = DurableFiles::new(root.clone());
        let prefix = Path::from_absolute_path(&root).unwrap();
        let key = prefix.clone().join("1.json");
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&key, "one".into(), create()).await.unwrap();
        let second = store.put_opts(&key, "two".into(), create()).await;
        assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&key, "three".into()).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "three");
        let listed: Vec<_> = store.list(Some(&prefix)).try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    }
}
