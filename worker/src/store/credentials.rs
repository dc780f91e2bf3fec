//! Keys of an S3 user from mounted files, read again when the files change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use sluice_crds::plan::{S3Credentials, SecretFile};

use super::error::StoreError;

/// The path of a mounted secret's file.
pub(super) fn secret_path(secrets: &Path, file: &SecretFile) -> PathBuf {
    secrets.join(&file.secret_name).join(&file.key)
}

/// Access key id and secret access key in two files.
///
/// Before each request the files' times are compared, so a rotated secret takes effect without a restart. A pair that is
/// being replaced, or cannot be read for a while, does not stop anything: the last good pair stays.
pub(super) struct FileCredentials {
    key_id: PathBuf,
    secret: PathBuf,
    current: Mutex<Pair>,
}

struct Pair {
    stamp: Stamp,
    credential: Arc<AwsCredential>,
}

/// Tells one version of the two files from another.
type Stamp = [(SystemTime, u64); 2];

impl FileCredentials {
    /// Reads the files. Fails when one is missing or empty.
    pub(super) fn read(connection: &str, secrets: &Path, files: &S3Credentials) -> Result<Self, StoreError> {
        let key_id = secret_path(secrets, &files.access_key_id);
        let secret = secret_path(secrets, &files.secret_access_key);
        for path in [&key_id, &secret] {
            let refused = |problem, source| StoreError::Secret {
                connection: connection.to_string(),
                path: path.clone(),
                problem,
                source,
            };
            let text = fs::read_to_string(path).map_err(|error| refused("cannot be read", Some(error)))?;
            if text.trim_end().is_empty() {
                return Err(refused("is empty", None));
            }
        }
        let current = read_pair(&key_id, &secret).map_err(|error| StoreError::Secret {
            connection: connection.to_string(),
            path: key_id.clone(),
            problem: "cannot be read",
            source: Some(error),
        })?;
        Ok(Self { key_id, secret, current: Mutex::new(current) })
    }

    fn latest(&self) -> Arc<AwsCredential> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = stamp(&self.key_id, &self.secret).is_ok_and(|stamp| stamp != current.stamp);
        if changed && let Ok(pair) = read_pair(&self.key_id, &self.secret) {
            *current = pair;
        }
        Arc::clone(&current.credential)
    }
}

#[async_trait]
impl CredentialProvider for FileCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        Ok(self.latest())
    }
}

impl std::fmt::Debug for FileCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileCredentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn stamp(key_id: &Path, secret: &Path) -> io::Result<Stamp> {
    let one = |path| {
        let metadata = fs::metadata(path)?;
        Ok::<_, io::Error>((metadata.modified()?, metadata.len()))
    };
    Ok([one(key_id)?, one(secret)?])
}

/// Reads both files. An id of one version with a secret of another is refused: they change one after the other.
fn read_pair(key_id: &Path, secret: &Path) -> io::Result<Pair> {
    let before = stamp(key_id, secret)?;
    let credential = AwsCredential { key_id: read_line(key_id)?, secret_key: read_line(secret)?, token: None };
    if stamp(key_id, secret)? != before {
        return Err(io::Error::other("the secret is being replaced"));
    }
    Ok(Pair { stamp: before, credential: Arc::new(credential) })
}

/// The text of a file without the line end that editors and `echo` leave behind.
fn read_line(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let text = text.trim_end();
    if text.is_empty() {
        return Err(io::Error::other("the file is empty"));
    }
    Ok(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(key: &str) -> SecretFile {
        SecretFile { secret_name: "lake".into(), key: key.into() }
    }

    fn files() -> S3Credentials {
        S3Credentials { access_key_id: file("id"), secret_access_key: file("secret") }
    }

    #[test]
    fn a_rotated_secret_takes_effect_without_a_restart_and_a_missing_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let lake = dir.path().join("lake");
        fs::create_dir(&lake).unwrap();
        fs::write(lake.join("id"), "AKIA1\n").unwrap();
        fs::write(lake.join("secret"), "s3cret-one\r\n").unwrap();
        let credentials = FileCredentials::read("lake", dir.path(), &files()).unwrap();
        let first = credentials.latest();
        assert_eq!((first.key_id.as_str(), first.secret_key.as_str()), ("AKIA1", "s3cret-one"));

        fs::write(lake.join("id"), "AKIA22").unwrap();
        fs::write(lake.join("secret"), "s3cret-two").unwrap();
        let second = credentials.latest();
        assert_eq!((second.key_id.as_str(), second.secret_key.as_str()), ("AKIA22", "s3cret-two"));

        fs::remove_file(lake.join("id")).unwrap();
        assert_eq!(credentials.latest().key_id, "AKIA22");
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("AKIA") && !shown.contains("s3cret-"), "{shown}");
    }

    #[test]
    fn a_missing_and_an_empty_secret_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = FileCredentials::read("onprem", dir.path(), &files()).unwrap_err().to_string();
        assert!(error.contains("lake/id") && error.contains("`onprem`"), "{error}");
        fs::create_dir(dir.path().join("lake")).unwrap();
        fs::write(dir.path().join("lake/id"), "AKIA1").unwrap();
        fs::write(dir.path().join("lake/secret"), "\n").unwrap();
        let error = FileCredentials::read("onprem", dir.path(), &files()).unwrap_err().to_string();
        assert!(error.contains("lake/secret") && error.contains("is empty"), "{error}");
    }
}
