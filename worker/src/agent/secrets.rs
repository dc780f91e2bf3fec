//! Mounted secrets: what is missing, what has changed, when certificates end. Nothing of their values is kept or told.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sluice_crds::plan::SecretFile;
use x509_cert::Certificate;

/// A certificate is a few kilobytes, a bundle of all the world's authorities some hundreds.
const LARGEST: u64 = 4 << 20;

/// The folder of mounted secrets: `<folder>/<secret>/<key>`.
#[derive(Debug, Clone)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// This folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What is wrong with the first of these files that cannot be used.
    ///
    /// It is asked before every use of a file: a name that leads out of the folder would hand this pod's own token to whoever made the
    /// connection.
    pub fn missing(&self, files: &BTreeSet<SecretFile>) -> Option<String> {
        files.iter().find_map(|file| {
            let SecretFile { secret_name, key } = file;
            if [secret_name, key].into_iter().any(|name| name.contains('/') || matches!(name.as_str(), "" | "." | "..")) {
                return Some(format!("`{secret_name}` with key `{key}` cannot be a Secret: correct the name"));
            }
            match fs::metadata(self.path(file)) {
                Ok(found) if found.is_file() => None,
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Some(format!("key `{key}` of Secret `{secret_name}` cannot be read: {error}"))
                }
                _ => Some(format!(
                    "key `{key}` of Secret `{secret_name}` is not there: create the Secret with this key, or correct the name"
                )),
            }
        })
    }

    /// A text that changes whenever one of these files does.
    pub fn stamp(&self, files: &BTreeSet<SecretFile>) -> String {
        let mut text = String::new();
        for file in files {
            let stamp = fs::metadata(self.path(file)).and_then(|found| Ok((found.modified()?, found.len()))).ok();
            // Writing into a text does not fail.
            let _ = write!(text, "{stamp:?}");
        }
        text
    }

    /// When the first of the certificates in these files ends. Files that hold none, or none that can be read, do not count.
    pub fn expiry(&self, files: &BTreeSet<SecretFile>) -> Option<Timestamp> {
        files.iter().filter_map(|file| self.ends(file)).min()
    }

    fn ends(&self, file: &SecretFile) -> Option<Timestamp> {
        let path = self.path(file);
        if fs::metadata(&path).ok()?.len() > LARGEST {
            return None;
        }
        let pem = fs::read(path).ok()?;
        // A password is no certificate, and a key is none either.
        let certificates = Certificate::load_pem_chain(&pem).ok()?;
        let ends = certificates.iter().map(|it| it.tbs_certificate().validity().not_after.to_unix_duration().as_secs());
        Timestamp::from_second(i64::try_from(ends.min()?).ok()?).ok()
    }

    fn path(&self, file: &SecretFile) -> PathBuf {
        self.folder.join(&file.secret_name).join(&file.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(secret_name: &str, key: &str) -> BTreeSet<SecretFile> {
        BTreeSet::from([SecretFile { secret_name: secret_name.into(), key: key.into() }])
    }

    fn folder(key: &str, text: &str) -> (tempfile::TempDir, Secrets) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("corp")).unwrap();
        fs::write(folder.path().join("corp").join(key), text).unwrap();
        let secrets = Secrets::new(folder.path());
        (folder, secrets)
    }

    #[test]
    fn a_missing_file_is_named_by_secret_and_key_and_never_read_from_elsewhere() {
        let (_folder, secrets) = folder("password", "hunter2");
        assert_eq!(secrets.missing(&file("corp", "password")), None);
        for (secret, key) in [("corp", "nope"), ("nope", "password")] {
            let words = secrets.missing(&file(secret, key)).unwrap();
            assert!(words.contains(&format!("key `{key}` of Secret `{secret}` is not there")), "{words}");
        }
        for (secret, key) in [("..", "passwd"), ("corp", "../corp/password"), ("../corp", "password"), ("corp", "")] {
            let words = secrets.missing(&file(secret, key)).unwrap();
            assert!(words.contains("cannot be a Secret"), "{words}");
        }
    }

    #[test]
    fn a_renewed_secret_changes_the_stamp() {
        let (dir, secrets) = folder("password", "hunter2");
        let before = secrets.stamp(&file("corp", "password"));
        assert_eq!(before, secrets.stamp(&file("corp", "password")));
        fs::write(dir.path().join("corp/password"), "hunter22").unwrap();
        let after = secrets.stamp(&file("corp", "password"));
        assert_ne!(before, after);
        fs::remove_file(dir.path().join("corp/password")).unwrap();
        assert_ne!(after, secrets.stamp(&file("corp", "password")));
        assert!(!format!("{before}{after}").contains("hunter"));
    }

    #[test]
    fn the_first_certificate_to_end_is_told_and_what_is_none_is_passed_over() {
        let (_folder, secrets) = folder("ca.crt", &format!("{LATE}{EARLY}\n"));
        let ends = secrets.expiry(&file("corp", "ca.crt")).unwrap();
        assert_eq!(ends.to_string(), "2032-05-12T19:18:37Z");
        let (_folder, secrets) = folder("password", "hunter2");
        assert_eq!(secrets.expiry(&file("corp", "password")), None);
        assert_eq!(secrets.expiry(&file("corp", "nope")), None);
    }

    const LATE: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBczCCARmgAwIBAgIUfXyoP4mfPiw7a+AvGxHVofNQM50wCgYIKoZIzj0EAwIw\n\
        DzENMAsGA1UEAwwEbGF0ZTAeFw0yNjExMjAxOTE4MzdaFw0zNjExMTcxOTE4Mzda\n\
        MA8xDTALBgNVBAMMBGxhdGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARCBmPr\n\
        SFLtZ4E6wVGg1OuvGtxZ173v8kUy3WnpQq6HtROQ1JWC6JpHBKoyf5H/PJkW9yuu\n\
        yZazcSx7oBdQPGXoo1MwUTAdBgNVHQ4EFgQURNpZHKEv9CR0R6H8pJrTkA+/4zEw\n\
        HwYDVR0jBBgwFoAURNpZHKEv9CR0R6H8pJrTkA+/4zEwDwYDVR0TAQH/BAUwAwEB\n\
        /zAKBggqhkjOPQQDAgNIADBFAiAO4V9xOIBzzWhZ4X23bp0fI23Sr5emgp5LPl+Z\n\
        +T56aAIhALEmVCLY9MiYFtRZUCuRNi3jKjV59RJJHsn//bQ+t4lx\n\
        -----END CERTIFICATE-----\n";
    const EARLY: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBdTCCARugAwIBAgIUWcRF8ebeJLEsEZnXww8VbCH9f3kwCgYIKoZIzj0EAwIw\n\
        EDEOMAwGA1UEAwwFZWFybHkwHhcNMjYxMTIwMTkxODM3WhcNMzIwNTEyMTkxODM3\n\
        WjAQMQ4wDAYDVQQDDAVlYXJseTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABBoi\n\
        wSb+RdE2x5U+zVEahzZg9WOzBBZ/7QZp/qVDfXM294eIDep84RRknamn6BvW130r\n\
        EHAAlKBLOAyda5oEMuOjUzBRMB0GA1UdDgQWBBTdxNUh5Sw+l6br3h/61ZVaHFjh\n\
        qjAfBgNVHSMEGDAWgBTdxNUh5Sw+l6br3h/61ZVaHFjhqjAPBgNVHRMBAf8EBTAD\n\
        AQH/MAoGCCqGSM49BAMCA0gAMEUCIQCjnFxzU8VGNz53XWHaPtunJDG+cpm7unR4\n\
        03C6ZMdXxAIgE2NFTs7Vox1z2AD6Tr0WLcApt3ZV3GqP1UYcTkwtPUk=\n\
        -----END CERTIFICATE-----\n";
}
