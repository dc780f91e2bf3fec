//! Reading what was written: for `sluice ledger verify` and the demo. Never on the path of a record.

use std::fs::File;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};

use crate::ledger::record::{FileRecord, FileRole};
use crate::store::{Store, StoreError};

/// Why files could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder of the local file system.
    #[error("{path} cannot be read")]
    Folder {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not a Parquet file, or a damaged one.
    #[error("{path} is no sound Parquet file")]
    Parquet {
        /// Its path or url.
        path: String,
        /// Why.
        #[source]
        source: parquet::errors::ParquetError,
    },
}

/// The rows of a visible file: by the footer of a Parquet file, by the lines of dead letters.
pub async fn rows_of(store: &Store, file: &FileRecord) -> Result<u64, ReadBackError> {
    let bytes = store.read(&file.url).await?;
    match file.role {
        FileRole::DeadLetter => Ok(memchr::memchr_iter(b'\n', &bytes).count() as u64),
        FileRole::Table => {
            let unreadable = |source| ReadBackError::Parquet { path: file.url.clone(), source };
            let rows = SerializedFileReader::new(bytes).map_err(unreadable)?.metadata().file_metadata().num_rows();
            Ok(rows.unsigned_abs())
        }
    }
}

/// All rows of the Parquet files below a local folder, without the partition columns of their paths.
pub fn parquet_folder(folder: &Path) -> Result<Vec<RecordBatch>, ReadBackError> {
    let mut batches = Vec::new();
    for path in files_below(folder)? {
        let name = || path.display().to_string();
        let file = File::open(&path).map_err(|source| ReadBackError::Folder { path: name(), source })?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(|source| ReadBackError::Parquet { path: name(), source })?;
        for batch in reader {
            batches.push(batch.map_err(|error| ReadBackError::Parquet { path: name(), source: error.into() })?);
        }
    }
    Ok(batches)
}

/// How many rows a batch has: for callers without arrow.
pub fn rows(batch: &RecordBatch) -> usize {
    batch.num_rows()
}

/// Bytes of the visible files below a local folder.
pub fn folder_bytes(folder: &Path) -> Result<u64, ReadBackError> {
    let sizes = files_below(folder)?.into_iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len()));
    Ok(sizes.sum())
}

/// Visible files, as every reader of a Hive table sees them: names that begin with a dot or an underscore are hidden.
fn files_below(folder: &Path) -> Result<Vec<std::path::PathBuf>, ReadBackError> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |source| ReadBackError::Folder { path: folder.display().to_string(), source };
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let hidden = path.file_name().is_none_or(|name| {
                name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"_")
            });
            match (hidden, path.is_dir()) {
                (true, _) => {}
                (false, true) => folders.push(path),
                (false, false) => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}
