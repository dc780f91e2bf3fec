//! A bucket, as a client of the S3 API sees it; or a folder of this machine, seen in the same way.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsAuthorizer};
use object_store::client::{HttpConnector as _, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::signer::Signer as _;
use object_store::{ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig};
use sha2::{Digest as _, Sha256};

use crate::s3::{ACCESS_KEY, SECRET_KEY};

/// The region that all tests use.
pub const REGION: &str = "us-east-1";

/// Where the files of a test lie.
#[derive(Debug, Clone)]
pub struct Bucket {
    name: String,
    root: String,
    store: Arc<dyn ObjectStore>,
    /// Content by key and `ETag`, of what is asked for again and again.
    known: Arc<Mutex<HashMap<(Key, String), Bytes>>>,
}

impl Bucket {
    /// Makes the bucket; it may be there already.
    pub async fn create(endpoint: &str, name: &str) -> Result<Self> {
        let store = client(endpoint, name)?;
        let url = store.signed_url(reqwest::Method::PUT, &Key::default(), Duration::from_mins(1)).await?;
        let http = reqwest::Client::new();
        let start = Instant::now();
        loop {
            let status = http.put(url.clone()).send().await?.status();
            if status.is_success() || status == reqwest::StatusCode::CONFLICT {
                return Ok(Self {
                    name: name.to_owned(),
                    root: format!("s3://{name}"),
                    store: Arc::new(store),
                    known: Arc::default(),
                });
            }
            // MinIO listens before it serves.
            ensure!(status.is_server_error(), "cannot make the bucket {name}: {status}");
            ensure!(start.elapsed() < Duration::from_secs(30), "the server does not get ready: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A folder, which must be there.
    pub fn folder(folder: &Path) -> Result<Self> {
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder)?);
        let name = folder.display().to_string();
        Ok(Self { root: format!("file://{name}"), name, store, known: Arc::default() })
    }

    /// Its name, or the path of the folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the urls of its objects begin with, without a slash at the end.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The store behind it.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Replaces the lifecycle rules of the bucket.
    pub async fn set_lifecycle(&self, endpoint: &str, xml: &str) -> Result<()> {
        let store = client(endpoint, &self.name)?;
        let mut url = store.signed_url(reqwest::Method::PUT, &Key::default(), Duration::from_mins(1)).await?;
        // Signed in its headers: the client signs keys in urls, and knows of no settings.
        url.set_query(Some("lifecycle="));
        let credential = store.credentials().get_credential().await?;
        let digest = BASE64_STANDARD.encode(Sha256::digest(xml));
        let mut request = HttpRequest::new(HttpRequestBody::from(xml.to_owned()));
        request.headers_mut().insert("x-amz-checksum-sha256", digest.parse()?);
        *request.method_mut() = reqwest::Method::PUT;
        *request.uri_mut() = url.as_str().parse()?;
        AwsAuthorizer::new(&credential, "s3", REGION).authorize(&mut request, None);
        let client = ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true))?;
        let response = client.execute(request).await?;
        let status = response.status();
        ensure!(status.is_success(), "the rules are refused, {status}: {:?}", response.into_body().bytes().await?);
        Ok(())
    }

    /// The content of a listed object. What did not change since is fetched once.
    pub async fn content(&self, object: &ObjectMeta) -> Result<Bytes> {
        let Some(tag) = object.e_tag.clone() else { return self.get(&object.location).await };
        let id = (object.location.clone(), tag);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(content) = known {
            return Ok(content);
        }
        let content = self.get(&object.location).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, content.clone());
        Ok(content)
    }

    /// All objects below a prefix, in the order of their keys.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectMeta>> {
        let mut objects: Vec<ObjectMeta> = self.store.list(Some(&Key::from(prefix))).try_collect().await?;
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(objects)
    }

    /// The content of an object.
    pub async fn get(&self, key: &Key) -> Result<Bytes> {
        Ok(self.store.get(key).await?.bytes().await?)
    }

    /// Writes an object.
    pub async fn put(&self, key: &str, content: impl Into<Bytes>) -> Result<()> {
        self.store.put(&Key::from(key), content.into().into()).await?;
        Ok(())
    }

    /// Copies all objects below a prefix into a folder, for readers of files.
    pub async fn download(&self, prefix: &str, folder: &Path) -> Result<()> {
        for object in self.list(prefix).await? {
            let file = folder.join(object.location.as_ref());
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(file, self.get(&object.location).await?)?;
        }
        Ok(())
    }
}

/// A client of a bucket that tells what the server says: nothing is tried again behind the test's back.
pub fn client(endpoint: &str, bucket: &str) -> Result<AmazonS3> {
    Ok(AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(bucket)
        .with_region(REGION)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .with_allow_http(true)
        .with_virtual_hosted_style_request(false)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_client_options(ClientOptions::new().with_allow_http(true).with_timeout(Duration::from_mins(1)))
        .build()?)
}
