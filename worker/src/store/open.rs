//! From a location of the plan to an open [`Store`].

use std::fs;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, RetryConfig};
use sluice_crds::plan::{Location, S3Plan};
use url::Url;

use super::bucket::Bucket;
use super::credentials::{FileCredentials, secret_path};
use super::error::StoreError;
use super::folder::Folder;
use super::lifecycle::Lifecycle;
use super::{Place, Store};

/// An endpoint that does not take a connection within this time is down or walled off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The whole of one request, the upload of a part included: 8 MiB need 270 KiB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Blind repetitions of one request are few and short. They bridge a 503, not an outage: after a failure the ledger must
/// look whose record its slot holds and publishing must look at the key, and the pipeline has a back-off of its own.
const MAX_RETRIES: usize = 3;
/// No repetition begins later than this after the first try.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
/// Parts of one file that are uploaded at the same time.
const PARTS_AT_ONCE: usize = 4;

impl Store {
    /// Opens a location. Nothing is sent and nothing is created: [`Store::probe`] finds out whether it works.
    ///
    /// `secrets` is the folder of mounted secrets: a file is at `<secrets>/<secret name>/<key>`. Keys are read again when
    /// these files change. Without keys the environment's own identity is used: web identity (IRSA), pod identity,
    /// task role, instance metadata, or `AWS_ACCESS_KEY_ID` and its like.
    pub fn open(location: &Location, secrets: &FilePath) -> Result<Self, StoreError> {
        let wrong = |problem: String| StoreError::Location { url: location.url.clone(), problem };
        let place = match (Parsed::of(&location.url).map_err(wrong)?, &location.s3) {
            (Parsed::Bucket { bucket, prefix }, Some(plan)) => {
                let (s3, lifecycle) = build(&location.url, &bucket, plan, secrets)?;
                Place::Bucket(Bucket::new(s3, prefix, PARTS_AT_ONCE, Some(lifecycle)))
            }
            (Parsed::Folder(root), None) => Place::Folder(Folder::new(root)),
            (Parsed::Bucket { .. }, None) => {
                return Err(wrong("an s3:// location needs a connection; add a connectionRef".to_string()));
            }
            (Parsed::Folder(_), Some(_)) => {
                return Err(wrong("a file:// location takes no connection; remove the connectionRef".to_string()));
            }
        };
        Ok(Self { url: location.url.as_str().into(), place })
    }
}

impl Store {
    /// Another location of the same bucket, by the same client. Nothing when it lies elsewhere.
    pub fn sibling(&self, url: &str) -> Option<Self> {
        let place = match (Parsed::of(&self.url).ok()?, Parsed::of(url).ok()?, &self.place) {
            (Parsed::Bucket { bucket, .. }, Parsed::Bucket { bucket: other, prefix }, Place::Bucket(place))
                if bucket == other =>
            {
                Place::Bucket(place.at(prefix))
            }
            _ => return None,
        };
        Some(Self { url: url.into(), place })
    }
}

/// What a location's url says.
#[derive(Debug, PartialEq)]
enum Parsed {
    Bucket { bucket: String, prefix: Path },
    Folder(PathBuf),
}

impl Parsed {
    fn of(url: &str) -> Result<Self, String> {
        if !url.ends_with('/') {
            return Err("it must end with a slash".to_string());
        }
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err("it must name a bucket: s3://bucket/prefix/".to_string());
            }
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            return Ok(Self::Bucket { bucket: bucket.to_string(), prefix: exact_path(prefix)? });
        }
        if let Some(path) = url.strip_prefix("file://") {
            let Some(inner) = path.strip_prefix('/') else {
                return Err("it must hold an absolute path: file:///folder/".to_string());
            };
            exact_path(inner.strip_suffix('/').unwrap_or(inner))?;
            return Ok(Self::Folder(PathBuf::from(path)));
        }
        Err("it must begin with s3:// or file://".to_string())
    }
}

/// A path that is letter by letter what is given: nothing encoded, nothing decoded, nothing stripped.
fn exact_path(text: &str) -> Result<Path, String> {
    let path = Path::parse(text).map_err(|error| error.to_string())?;
    if path.as_ref() == text { Ok(path) } else { Err("it begins or ends with a slash too many".to_string()) }
}

/// The path of a key below a location.
pub(super) fn key_path(url: &str, relative: &str) -> Result<Path, StoreError> {
    let path = if relative.is_empty() { Err("it is empty".to_string()) } else { exact_path(relative) };
    path.map_err(|problem| StoreError::Key { url: url.to_string(), problem })
}

/// A client for a bucket, and the same access to its settings.
pub(super) fn build(
    url: &str,
    bucket: &str,
    plan: &S3Plan,
    secrets: &FilePath,
) -> Result<(AmazonS3, Lifecycle), StoreError> {
    let wrong = |problem: String| StoreError::Location { url: url.to_string(), problem };
    let endpoint = plan.endpoint.as_deref().map(|endpoint| endpoint_for(endpoint, bucket, plan.path_style)).transpose();
    let endpoint = endpoint.map_err(wrong)?;
    let mut builder = match &plan.credentials {
        // Not from the environment: keys of a connection must not mix with whatever is set there.
        Some(files) => {
            let credentials = FileCredentials::read(&plan.connection, secrets, files)?;
            AmazonS3Builder::new().with_credentials(Arc::new(credentials))
        }
        None => AmazonS3Builder::from_env(),
    };
    let plain = endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    if let Some(endpoint) = endpoint {
        // Also under the name that the environment's AWS_ENDPOINT_URL_S3 has, which would go before.
        builder = builder.with_config(AmazonS3ConfigKey::S3Endpoint, &endpoint).with_endpoint(endpoint);
    }
    let retry = RetryConfig { max_retries: MAX_RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let options = client_options(plan, secrets, plain)?;
    let address = bucket_address(&builder, bucket, plan).map_err(wrong)?;
    let signed = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature).is_none_or(|skip| skip == "false");
    let s3 = builder
        .with_bucket_name(bucket)
        .with_region(&plan.region)
        .with_virtual_hosted_style_request(!plan.path_style)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(retry)
        .with_client_options(options.clone())
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let (region, credentials) = (plan.region.clone(), Arc::clone(s3.credentials()));
    let lifecycle = Lifecycle { bucket: bucket.to_string(), address, region, credentials, signed, options };
    Ok((s3, lifecycle))
}

/// Where the bucket is, as the store will find it: an endpoint may come from the environment, too.
fn bucket_address(builder: &AmazonS3Builder, bucket: &str, plan: &S3Plan) -> Result<Url, String> {
    let set = |key| builder.get_config_value(&key);
    let region = &plan.region;
    let address = match (set(AmazonS3ConfigKey::S3Endpoint).or(set(AmazonS3ConfigKey::Endpoint)), plan.path_style) {
        (Some(endpoint), true) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (Some(endpoint), false) => endpoint,
        (None, true) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
        (None, false) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
    };
    Url::parse(&address).map_err(|error| format!("the bucket has no address: {error}"))
}

fn client_options(plan: &S3Plan, secrets: &FilePath, plain: bool) -> Result<ClientOptions, StoreError> {
    let mut options =
        ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT).with_allow_http(plain);
    for file in &plan.trusted_certificates {
        let path = secret_path(secrets, file);
        let refused = |problem, source| StoreError::Secret {
            connection: plan.connection.clone(),
            path: path.clone(),
            problem,
            source,
        };
        let pem = fs::read(&path).map_err(|error| refused("cannot be read", Some(error)))?;
        let certificates =
            Certificate::from_pem_bundle(&pem).map_err(|_| refused("does not hold certificates in PEM", None))?;
        if certificates.is_empty() {
            return Err(refused("does not hold certificates in PEM", None));
        }
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// The endpoint to which requests for a bucket go: in virtual hosted style the bucket is part of the host's name.
///
/// The text of a refused endpoint is not repeated: somebody may have put a password into it.
fn endpoint_for(endpoint: &str, bucket: &str, path_style: bool) -> Result<String, String> {
    let refused =
        || "the endpoint of its connection must look like https://host:port, without user or query".to_string();
    let mut url = Url::parse(endpoint).map_err(|_| refused())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let host = url.host_str().map(ToString::to_string);
    let (Some(host), true, "http" | "https") = (host, plain, url.scheme()) else {
        return Err(refused());
    };
    if !path_style {
        url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|_| {
            "the endpoint of its connection cannot carry the bucket in its host name; use accessStyle: Path".to_string()
        })?;
    }
    Ok(url.as_str().trim_end_matches('/').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_taken_letter_by_letter() {
        let bucket = |bucket: &str, prefix: &str| {
            Ok(Parsed::Bucket { bucket: bucket.to_string(), prefix: Path::parse(prefix).unwrap() })
        };
        assert_eq!(Parsed::of("s3://lake/"), bucket("lake", ""));
        assert_eq!(Parsed::of("s3://lake/a/b=1%25 +ä/"), bucket("lake", "a/b=1%25 +ä"));
        assert_eq!(Parsed::of("file:///var/a b%20/"), Ok(Parsed::Folder(PathBuf::from("/var/a b%20/"))));
        for wrong in
            ["s3://lake", "s3:///x/", "s3://lake//x/", "s3://lake/../x/", "file://x/", "file:///a/../b/", "/x/"]
        {
            assert!(Parsed::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_bucket_moves_into_the_host_name() {
        assert_eq!(endpoint_for("http://s3.corp:9000/", "lake", true).unwrap(), "http://s3.corp:9000");
        assert_eq!(endpoint_for("https://s3.corp:9000", "lake", false).unwrap(), "https://lake.s3.corp:9000");
        for wrong in ["s3.corp:9000", "ftp://s3.corp", "http://bob:hunter2@s3.corp", "http://127.0.0.1:1?x=y"] {
            let error = endpoint_for(wrong, "lake", true).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(endpoint_for("http://127.0.0.1:9000", "lake", false).is_err());
    }

    #[test]
    fn a_certificate_that_is_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("corp-ca")).unwrap();
        fs::write(dir.path().join("corp-ca/ca.crt"), "no certificate").unwrap();
        let file = sluice_crds::plan::SecretFile { secret_name: "corp-ca".into(), key: "ca.crt".into() };
        let s3 = S3Plan {
            connection: "lake".into(),
            endpoint: Some("https://127.0.0.1:1".into()),
            region: "eu-central-1".into(),
            path_style: true,
            credentials: None,
            trusted_certificates: vec![file],
        };
        let location = Location { url: "s3://lake/t/".into(), s3: Some(s3) };
        let error = Store::open(&location, dir.path()).unwrap_err().to_string();
        assert!(error.contains("corp-ca/ca.crt") && error.contains("PEM"), "{error}");
    }
}
