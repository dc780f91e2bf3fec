//! A small S3 with one bucket, `lake`, that answers wrongly when it is told to.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use sluice_crds::plan::{Location, S3Credentials, S3Plan, SecretFile};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::store::Store;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    List,
    Create,
    Part,
    Complete,
    Abort,
    Head,
    Get,
    Put,
    Lifecycle,
    Buckets,
}

/// How a request goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// This answer, and nothing is done.
    Before(u16, &'static str),
    /// It is done, and then this answer.
    After(u16, &'static str),
    /// Waits until [`FakeS3::release`] is called.
    Hold,
}

#[derive(Default)]
struct Content {
    uploads: HashMap<String, Upload>,
    objects: BTreeMap<String, Bytes>,
    faults: Vec<(Operation, Fault)>,
    seen: Vec<Operation>,
    last_id: u64,
    overwrites: bool,
}

#[derive(Default)]
struct Upload {
    key: String,
    parts: BTreeMap<usize, (String, Bytes)>,
}

#[derive(Default)]
struct Shared {
    content: Mutex<Content>,
    release: Notify,
}

pub struct FakeS3 {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    secrets: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeS3 {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let secrets = tempfile::tempdir().unwrap();
        fs::create_dir(secrets.path().join("lake")).unwrap();
        fs::write(secrets.path().join("lake/id"), "good-key\n").unwrap();
        fs::write(secrets.path().join("lake/secret"), "hunter2\n").unwrap();
        Self { address, shared, secrets, task }
    }

    /// A new connection to `s3://<bucket>/t/`.
    pub fn open_bucket(&self, bucket: &str) -> Store {
        Store::open(&Location { url: format!("s3://{bucket}/t/"), s3: Some(self.plan()) }, self.secrets()).unwrap()
    }

    pub fn secrets(&self) -> &Path {
        self.secrets.path()
    }

    pub fn plan(&self) -> S3Plan {
        let file = |key: &str| SecretFile { secret_name: "lake".into(), key: key.into() };
        let credentials = S3Credentials { access_key_id: file("id"), secret_access_key: file("secret") };
        S3Plan {
            connection: "lake".into(),
            endpoint: Some(format!("http://{}", self.address)),
            region: "eu-central-1".into(),
            path_style: true,
            credentials: Some(credentials),
            trusted_certificates: Vec::new(),
        }
    }

    /// From now on `If-None-Match` is ignored.
    pub fn overwrite(&self) {
        self.shared.content.lock().unwrap().overwrites = true;
    }

    pub fn open(&self) -> Store {
        self.open_bucket("lake")
    }

    /// Replaces the mounted access key id.
    pub fn set_key(&self, key: &str) {
        fs::write(self.secrets.path().join("lake/id"), key).unwrap();
    }

    /// The next request of this kind that has no fault yet goes wrong.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        self.shared.content.lock().unwrap().faults.push((operation, fault));
    }

    pub fn release(&self) {
        self.shared.release.notify_one();
    }

    pub fn count(&self, operation: Operation) -> usize {
        self.shared.content.lock().unwrap().seen.iter().filter(|seen| **seen == operation).count()
    }

    pub fn uploads(&self) -> usize {
        self.shared.content.lock().unwrap().uploads.len()
    }

    /// Sizes of the parts of all uploads.
    pub fn part_sizes(&self) -> Vec<usize> {
        let content = self.shared.content.lock().unwrap();
        content.uploads.values().flat_map(|upload| upload.parts.values().map(|(_, bytes)| bytes.len())).collect()
    }

    pub fn object(&self, key: &str) -> Option<Bytes> {
        self.shared.content.lock().unwrap().objects.get(key).cloned()
    }

    pub fn put(&self, key: &str, bytes: &'static str) {
        self.shared.content.lock().unwrap().objects.insert(key.into(), bytes.into());
    }
}

struct Asked {
    operation: Operation,
    key: String,
    query: HashMap<String, String>,
    once: bool,
    body: Bytes,
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if let Some(refused) = refuse_key(&head.headers) {
        return refused;
    }
    let path = percent_encoding::percent_decode_str(head.uri.path()).decode_utf8().unwrap().into_owned();
    let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    if bucket != "lake" && path != "/" {
        return error(404, "NoSuchBucket");
    }
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let operation = match (&head.method, query.contains_key("uploadId")) {
        (&Method::POST, true) => Operation::Complete,
        (&Method::POST, false) => Operation::Create,
        (&Method::PUT, true) => Operation::Part,
        (&Method::PUT, false) => Operation::Put,
        (&Method::DELETE, _) => Operation::Abort,
        (&Method::HEAD, _) => Operation::Head,
        _ if path == "/" => Operation::Buckets,
        _ if query.contains_key("lifecycle") => Operation::Lifecycle,
        _ if key.is_empty() => Operation::List,
        _ => Operation::Get,
    };
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let once = head.headers.get("if-none-match").is_some_and(|value| value == "*");
    let asked = Asked { operation, key: key.to_string(), query, once, body };
    let fault = {
        let mut content = shared.content.lock().unwrap();
        content.seen.push(operation);
        let index = content.faults.iter().position(|(at, _)| *at == operation);
        index.map(|index| content.faults.remove(index).1)
    };
    let work = || shared.content.lock().unwrap().work(&asked);
    match fault {
        None => work(),
        Some(Fault::Before(status, body)) => plain(status, body),
        Some(Fault::After(status, body)) => {
            work();
            plain(status, body)
        }
        Some(Fault::Hold) => {
            shared.release.notified().await;
            work()
        }
    }
}

/// Answers as S3 does, which repeats the key.
fn refuse_key(headers: &HeaderMap) -> Option<Response> {
    let header = headers.get("authorization")?.to_str().unwrap();
    let key = header.split_once("Credential=")?.1.split('/').next()?;
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>InvalidAccessKeyId</Code><Message>No such key.</Message>\
         <AWSAccessKeyId>{key}</AWSAccessKeyId></Error>"
    );
    (key != "good-key").then(|| plain(403, body))
}

impl Content {
    fn work(&mut self, asked: &Asked) -> Response {
        let id = asked.query.get("uploadId").cloned().unwrap_or_default();
        match asked.operation {
            Operation::List => self.list(asked.query.get("prefix").map_or("", String::as_str)),
            Operation::Create => {
                self.last_id += 1;
                let id = format!("upload-{}", self.last_id);
                self.uploads.insert(id.clone(), Upload { key: asked.key.clone(), ..Upload::default() });
                plain(
                    200,
                    format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
                )
            }
            Operation::Part => {
                let number: usize = asked.query["partNumber"].parse().unwrap();
                let Some(upload) = self.uploads.get_mut(&id) else { return error(404, "NoSuchUpload") };
                let etag = format!("\"etag-{id}-{number}-{}\"", asked.body.len());
                upload.parts.insert(number, (etag.clone(), asked.body.clone()));
                Response::builder().header("etag", etag).body(Body::empty()).unwrap()
            }
            Operation::Put => {
                if asked.once && !self.overwrites && self.objects.contains_key(&asked.key) {
                    return error(412, "PreconditionFailed");
                }
                self.objects.insert(asked.key.clone(), asked.body.clone());
                Response::builder().header("etag", "\"e\"").body(Body::empty()).unwrap()
            }
            Operation::Buckets => plain(200, "<ListAllMyBucketsResult></ListAllMyBucketsResult>"),
            Operation::Lifecycle => error(404, "NoSuchLifecycleConfiguration"),
            Operation::Complete => self.complete(&id, asked),
            Operation::Abort => match self.uploads.remove(&id) {
                Some(_) => plain(204, ""),
                None => error(404, "NoSuchUpload"),
            },
            Operation::Head | Operation::Get => match self.objects.get(&asked.key) {
                Some(bytes) => Response::builder()
                    .header("etag", "\"e\"")
                    .header("last-modified", "Fri, 20 Nov 2026 12:00:00 GMT")
                    .header("content-length", bytes.len())
                    .body(Body::from(bytes.clone()))
                    .unwrap(),
                None => error(404, "NoSuchKey"),
            },
        }
    }

    fn complete(&mut self, id: &str, asked: &Asked) -> Response {
        let Some(upload) = self.uploads.get(id) else { return error(404, "NoSuchUpload") };
        let text = String::from_utf8_lossy(&asked.body).replace("&quot;", "\"");
        let named = upload.parts.values().all(|(etag, _)| text.contains(etag.as_str()));
        if upload.key != asked.key || !named || text.matches("<PartNumber>").count() != upload.parts.len() {
            return error(400, "InvalidPart");
        }
        let whole: Vec<u8> = upload.parts.values().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        self.objects.insert(asked.key.clone(), whole.into());
        self.uploads.remove(id);
        plain(200, "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>")
    }

    fn list(&self, prefix: &str) -> Response {
        let mut body = "<ListBucketResult>".to_string();
        for (key, bytes) in self.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
            let key = key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let size = bytes.len();
            let time = "2026-11-20T12:00:00.000Z";
            write!(body, "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{time}</LastModified></Contents>")
                .unwrap();
        }
        plain(200, body + "</ListBucketResult>")
    }
}

fn error(status: u16, code: &str) -> Response {
    plain(status, format!("<Error><Code>{code}</Code><Message>as told</Message></Error>"))
}

fn plain(status: u16, body: impl Into<Body>) -> Response {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body.into()).unwrap()
}
