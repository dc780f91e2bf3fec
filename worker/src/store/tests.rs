pub(super) mod fake_s3;

use std::fs;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use sluice_crds::condition::Reason;
use sluice_crds::plan::Location;
use tokio::runtime::Handle;

use self::fake_s3::{FakeS3, Fault, Operation};
use super::{Publication, StagedUpload, Staging, Store, StoreError, greet};
use crate::budget::Budget;
use crate::error::{Classified, chain};
use crate::ledger::record::{FileRecord, FileRole, Upload};

/// A folder name for each kind of character that an encoder likes to change.
const KEYS: [&str; 5] = [
    "part-0.parquet",
    "a=b/part-0.parquet",
    "discount=50%25/city=S%C3%A3o Paulo/part-0.parquet",
    "größe=1+1/x=a%2Fb/part 0.parquet",
    "_k=#1?&;'<>\"/a==/part-0.parquet",
];

const ERROR_200: &str = "<Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>";
const DENIED_200: &str = "<Error><Code>AccessDenied</Code><Message>not now</Message></Error>";

fn local(root: &Path) -> Store {
    let url = format!("file://{}/", root.display());
    Store::open(&Location { url, s3: None }, Path::new("/nonexistent")).unwrap()
}

fn begin(store: &Store, key: &str) -> Staging {
    store.begin(key, &Handle::current(), &Budget::new(1 << 30))
}

async fn stage(store: &Store, key: &str, text: &'static str) -> FileRecord {
    let mut staging = begin(store, key);
    staging.push(Bytes::from(text));
    record(staging.finish().await.unwrap())
}

fn record(staged: StagedUpload) -> FileRecord {
    let StagedUpload { url, bytes, upload } = staged;
    FileRecord { role: FileRole::Table, url, rows: 1, bytes, partition: Vec::new(), sources: Vec::new(), upload }
}

async fn listed(store: &Store) -> Vec<String> {
    let mut urls: Vec<_> = store.list_table().await.unwrap().into_iter().map(|file| file.url).collect();
    urls.sort();
    urls
}

async fn read(store: &Store, relative: &str) -> Bytes {
    let (objects, prefix) = store.objects();
    let key = if prefix.is_root() { relative.to_string() } else { format!("{prefix}/{relative}") };
    objects.get(&object_store::path::Path::parse(key).unwrap()).await.unwrap().bytes().await.unwrap()
}

/// The whole life of some files, with a second worker that knows only what the ledger says.
async fn live(mine: Store, other: Store) {
    let mut expected = Vec::new();
    for key in KEYS {
        let file = stage(&mine, key, "some rows").await;
        assert_eq!((file.url.as_str(), file.bytes), (mine.url(key).as_str(), 9));
        assert_eq!(mine.relative(&file.url), Some(key));
        assert_eq!((other.size(&file.url).await.unwrap(), listed(&other).await), (None, expected.clone()), "{key}");

        assert_eq!(other.publish(&file).await.unwrap(), Publication::Visible);
        assert_eq!(mine.publish(&file).await.unwrap(), Publication::Visible);
        assert_eq!(other.publish(&file).await.unwrap(), Publication::Visible);
        expected.push(file.url.clone());
        expected.sort();
        assert_eq!((mine.size(&file.url).await.unwrap(), listed(&mine).await), (Some(9), expected.clone()), "{key}");
        assert_eq!(read(&mine, key).await, "some rows");
    }

    let dropped = stage(&mine, "b/part-1.parquet", "void").await;
    other.discard(&dropped.url, &dropped.upload).await.unwrap();
    mine.discard(&dropped.url, &dropped.upload).await.unwrap();
    assert_eq!(mine.publish(&dropped).await.unwrap(), Publication::Missing);
    assert!(!mine.exists(&dropped.url).await.unwrap());
    assert_eq!(listed(&other).await, expected);

    // A repair is staged under the same key while the first try may still be published by somebody.
    let again = stage(&mine, "b/part-1.parquet", "void").await;
    assert_ne!(again.upload, dropped.upload);
    assert_eq!(other.publish(&again).await.unwrap(), Publication::Visible);
    assert_eq!(mine.publish(&dropped).await.unwrap(), Publication::Visible);

    // Something else at the key is neither "visible" nor "missing".
    let (short, long) =
        (stage(&mine, "c/part-2.parquet", "rows").await, stage(&mine, "c/part-2.parquet", "more rows").await);
    assert_eq!(other.publish(&long).await.unwrap(), Publication::Visible);
    other.discard(&short.url, &short.upload).await.unwrap();
    let error = mine.publish(&short).await.unwrap_err();
    assert!(matches!(error, StoreError::Size { expected: 4, found: 9, .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_in_memory_is_invisible_until_it_is_published_and_publishing_is_idempotent() {
    let store = Store::memory();
    live(store.clone(), store).await;
}

#[tokio::test]
async fn a_local_file_is_invisible_until_it_is_published_and_publishing_is_idempotent() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new folder/50%25");
    local(&root).probe().await.unwrap();
    live(local(&root), local(&root)).await;
    let on_disk = root.join(KEYS[2]);
    assert_eq!(fs::read(&on_disk).unwrap(), b"some rows", "{on_disk:?} holds the name letter by letter");
}

#[tokio::test]
async fn an_s3_file_is_invisible_until_it_is_published_and_publishing_is_idempotent() {
    let s3 = FakeS3::start().await;
    s3.open().probe().await.unwrap();
    assert_eq!(s3.uploads(), 0);
    live(s3.open(), s3.open()).await;
    assert_eq!((s3.uploads(), s3.count(Operation::Complete)), (0, 3 * KEYS.len() + 5));
    assert!(s3.object(&format!("t/{}", KEYS[2])).is_some(), "the key is what the url says, letter by letter");
}

#[tokio::test]
async fn publishing_by_many_at_once_ends_with_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = FakeS3::start().await;
    for store in [local(dir.path()), Store::memory(), s3.open()] {
        let file = stage(&store, "k=v/part-0.parquet", "rows").await;
        let all = futures::future::join_all((0..16).map(|_| store.publish(&file))).await;
        assert!(all.iter().all(|result| matches!(result, Ok(Publication::Visible))), "{store:?}: {all:?}");
        assert_eq!(listed(&store).await, [file.url]);
    }
}

#[tokio::test]
async fn a_completion_that_worked_is_seen_whatever_the_answer_said() {
    let s3 = FakeS3::start().await;
    let answers = [(200, ERROR_200), (200, DENIED_200), (500, ""), (503, "slow down"), (412, ""), (409, ""), (404, "")];
    for (index, (status, body)) in answers.into_iter().enumerate() {
        let store = s3.open();
        let file = stage(&store, &format!("part-{index}.parquet"), "rows").await;
        s3.fail(Operation::Complete, Fault::After(status, body));
        assert_eq!(store.publish(&file).await.unwrap(), Publication::Visible, "{status} {body}");
    }
}

#[tokio::test]
async fn a_completion_that_did_nothing_is_an_error_that_may_pass() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    for (index, (status, body)) in [(200, DENIED_200), (400, ""), (404, ""), (412, "")].into_iter().enumerate() {
        let file = stage(&store, &format!("part-{index}.parquet"), "rows").await;
        s3.fail(Operation::Complete, Fault::Before(status, body));
        let error = store.publish(&file).await.unwrap_err();
        assert_eq!((error.reason(), error.retry()), (Reason::SinkUnavailable, true), "{status}: {}", chain(&error));
        assert!(!store.exists(&file.url).await.unwrap());
        assert_eq!(store.publish(&file).await.unwrap(), Publication::Visible);
    }
}

#[tokio::test]
async fn an_error_in_an_answer_of_200_is_tried_again() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    let file = stage(&store, "part-0.parquet", "rows").await;
    s3.fail(Operation::Complete, Fault::Before(200, ERROR_200));
    assert_eq!(store.publish(&file).await.unwrap(), Publication::Visible);
    assert_eq!(s3.count(Operation::Complete), 2);
}

#[tokio::test]
async fn a_completion_that_only_claims_to_have_worked_is_not_believed() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    let file = stage(&store, "part-0.parquet", "rows").await;
    let claim = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
    s3.fail(Operation::Complete, Fault::Before(200, claim));
    assert_eq!(store.publish(&file).await.unwrap(), Publication::Missing);
    assert_eq!(store.publish(&file).await.unwrap(), Publication::Visible);
}

#[tokio::test]
async fn only_a_missing_upload_and_a_missing_key_together_are_missing() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    let file = stage(&store, "part-0.parquet", "rows").await;
    // The key cannot be looked at: nothing is known.
    store.discard(&file.url, &file.upload).await.unwrap();
    s3.fail(Operation::Head, Fault::Before(403, ""));
    assert_eq!(store.publish(&file).await.unwrap_err().reason(), Reason::AuthorizationFailed);
    assert_eq!(store.publish(&file).await.unwrap(), Publication::Missing);
    // A page of a proxy is not S3's word.
    let file = stage(&store, "part-1.parquet", "rows").await;
    s3.fail(Operation::Complete, Fault::Before(404, "<html><body>default backend</body></html>"));
    s3.fail(Operation::Head, Fault::Before(404, ""));
    assert!(store.publish(&file).await.is_err());
}

#[tokio::test]
async fn a_part_is_tried_again_and_a_refused_one_fails_the_file_and_leaves_nothing() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    s3.fail(Operation::Part, Fault::Before(503, ""));
    stage(&store, "part-0.parquet", "rows").await;
    assert_eq!((s3.count(Operation::Part), s3.uploads()), (2, 1));

    s3.fail(Operation::Part, Fault::Before(403, DENIED_200));
    let budget = Budget::new(1 << 30);
    let mut staging = store.begin("part-1.parquet", &Handle::current(), &budget);
    staging.push(Bytes::from("rows"));
    let error = staging.finish().await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::AuthorizationFailed, false));
    assert!(error.to_string().contains("s3://lake/t/part-1.parquet"), "{error}");
    assert_eq!((s3.uploads(), s3.count(Operation::Abort), budget.used()), (1, 1, 0));
}

#[tokio::test]
async fn a_large_file_goes_up_in_equal_parts_and_its_bytes_are_counted_until_they_are_up() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    let budget = Budget::new(1 << 30);
    let mut staging = store.begin("part-0.parquet", &Handle::current(), &budget);
    let megabyte = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..7 {
        staging.push(megabyte.clone());
    }
    tokio::task::yield_now().await;
    assert_eq!((staging.in_flight(), budget.used(), s3.count(Operation::Create)), (7 << 20, 7 << 20, 0));
    for _ in 0..12 {
        staging.push(megabyte.clone());
    }
    assert_eq!(staging.bytes(), 19 << 20);
    let staged = staging.finish().await.unwrap();
    let mut sizes = s3.part_sizes();
    sizes.sort_unstable();
    assert_eq!((sizes, budget.used(), staged.bytes), (vec![3 << 20, 8 << 20, 8 << 20], 0, 19 << 20));
    let file = record(staged);
    assert_eq!(store.publish(&file).await.unwrap(), Publication::Visible);
    assert!(read(&store, "part-0.parquet").await.iter().all(|byte| *byte == 7));
}

#[tokio::test]
async fn at_most_four_parts_of_a_file_go_up_at_once() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    for _ in 0..6 {
        s3.fail(Operation::Part, Fault::Hold);
    }
    let mut staging = begin(&store, "part-0.parquet");
    for _ in 0..6 {
        staging.push(Bytes::from(vec![1; 8 << 20]));
    }
    while s3.count(Operation::Part) < 4 {
        tokio::task::yield_now().await;
    }
    assert_eq!(staging.in_flight(), 6 * (8 << 20));
    let finished = staging.finish();
    for released in 1..=6 {
        assert!(s3.count(Operation::Part) < 4 + released);
        s3.release();
        while s3.count(Operation::Part) < (4 + released).min(6) {
            tokio::task::yield_now().await;
        }
    }
    finished.await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_given_up_leaves_nothing_behind() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    let mut staging = begin(&store, "part-0.parquet");
    s3.fail(Operation::Part, Fault::Hold);
    staging.push(Bytes::from(vec![1; 9 << 20]));
    while s3.count(Operation::Part) == 0 {
        tokio::task::yield_now().await;
    }
    staging.abandon();
    while s3.uploads() > 0 {
        tokio::task::yield_now().await;
    }
    s3.release();
    // Nobody waits for the answer.
    let mut staging = begin(&store, "part-1.parquet");
    staging.push(Bytes::from("rows"));
    drop(staging.finish());
    while s3.count(Operation::Abort) < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(s3.uploads(), 0);
    // Nothing was handed over yet: nothing was ever created.
    let mut staging = begin(&store, "part-2.parquet");
    staging.push(Bytes::from("rows"));
    staging.abandon();
    assert_eq!(s3.count(Operation::Create), 2);
}

#[tokio::test]
async fn an_empty_file_and_a_key_that_leads_elsewhere_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for store in [Store::memory(), local(dir.path())] {
        assert!(matches!(begin(&store, "a/b").finish().await, Err(StoreError::Empty { .. })));
        for key in ["../b", "a//b", "/a", "a/", ""] {
            let mut staging = begin(&store, key);
            staging.push(Bytes::from("rows"));
            assert!(matches!(staging.finish().await, Err(StoreError::Key { .. })), "{key}");
        }
        let elsewhere = FileRecord { url: "s3://other/x".into(), ..stage(&store, "x", "rows").await };
        assert!(matches!(store.publish(&elsewhere).await, Err(StoreError::Elsewhere { .. })));
        assert_eq!(store.relative(store.location()), None);
    }
    let file = FileRecord {
        upload: Upload::Rename { from: "../../etc/passwd".into() },
        ..stage(&local(dir.path()), "y", "rows").await
    };
    assert!(matches!(local(dir.path()).publish(&file).await, Err(StoreError::UploadKind { .. })));
}

#[tokio::test]
async fn a_staged_local_file_lies_hidden_beside_its_name_and_half_a_file_is_never_published() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    let file = stage(&store, "k=v/part-0.parquet", "rows").await;
    let Upload::Rename { from } = &file.upload else { panic!("{:?}", file.upload) };
    assert!(from.starts_with(".part-0.parquet.") && from.ends_with(".inprogress"), "{from}");
    assert!(dir.path().join("k=v").join(from).exists() && listed(&store).await.is_empty());

    fs::write(dir.path().join("k=v").join(from), "r").unwrap();
    let error = store.publish(&file).await.unwrap_err();
    assert_eq!(error.reason(), Reason::DataLossRisk);
    assert!(!store.exists(&file.url).await.unwrap());
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let store = local(&dir.path().join("file"));
    let error = chain(&store.probe().await.unwrap_err());
    assert!(error.contains("/file/"), "{error}");
    let mut staging = begin(&store, "x");
    staging.push(Bytes::from("rows"));
    assert!(staging.finish().await.is_err());
}

#[tokio::test]
async fn the_table_has_no_hidden_names_and_no_folder_markers() {
    let s3 = FakeS3::start().await;
    for key in ["t/a/x", "t/_k=1/x", "t/.x", "t/_SUCCESS", "t/_temporary/x", "t/a/.b/x", "u/x", "tx"] {
        s3.put(key, "rows");
    }
    s3.put("t/a/", "");
    assert_eq!(listed(&s3.open()).await, ["s3://lake/t/_k=1/x", "s3://lake/t/a/x"]);
}

#[tokio::test]
async fn a_probe_names_a_wrong_key_a_missing_bucket_a_refusal_and_a_dead_endpoint() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    s3.set_key("wrong-key");
    let error = store.probe().await.unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::AuthenticationFailed, false));
    let text = format!("{} {error:?} {store:?}", chain(&error));
    assert!(text.contains("InvalidAccessKeyId") && text.contains("s3://lake/t/"), "{text}");
    assert!(!text.contains("wrong-key") && !text.contains("hunter2"), "{text}");

    s3.set_key("good-key");
    store.probe().await.unwrap();
    let error = s3.open_bucket("nowhere").probe().await.unwrap_err();
    assert_eq!(error.reason(), Reason::ConfigInvalid);
    assert!(error.to_string().contains("no such bucket"), "{error}");
    for operation in [Operation::List, Operation::Head, Operation::Create, Operation::Abort] {
        s3.fail(operation, Fault::Before(403, DENIED_200));
        assert_eq!(store.probe().await.unwrap_err().reason(), Reason::AuthorizationFailed, "{operation:?}");
    }
    store.probe().await.unwrap();
    s3.fail(Operation::Create, Fault::Before(403, DENIED_200));
    assert_eq!(store.probe().await.unwrap_err().reason(), Reason::AuthorizationFailed);

    // A connection that is open may outlive the server.
    let fresh = s3.open();
    drop(s3);
    let error = tokio::time::timeout(Duration::from_secs(15), fresh.probe()).await.unwrap().unwrap_err();
    assert_eq!((error.reason(), error.retry()), (Reason::SinkUnavailable, true));
}

#[tokio::test]
async fn the_objects_of_a_location_can_be_created_once() {
    let dir = tempfile::tempdir().unwrap();
    for store in [Store::memory(), local(&dir.path().join("a"))] {
        let (objects, prefix) = store.objects();
        let key = prefix.join("ledger").join("1.json");
        let create = || PutOptions::from(PutMode::Create);
        objects.put_opts(&key, "one".into(), create()).await.unwrap();
        let second = objects.put_opts(&key, "two".into(), create()).await;
        assert!(matches!(second, Err(object_store::Error::AlreadyExists { .. })), "{second:?}");
        assert_eq!(read(&store, "ledger/1.json").await, "one");
    }
}

/// The same life on a real server, and its words to a wrong secret. For example
/// `ROOT_ACCESS_KEY=sluice ROOT_SECRET_KEY=sluice-secret versitygw --port 127.0.0.1:7070 posix DIR`, with a folder DIR/lake.
#[tokio::test]
#[ignore = "make e2e runs it; needs SLUICE_TEST_S3=http(s)://host:port with bucket lake, user sluice, secret sluice-secret; SLUICE_TEST_S3_CA=ca.pem for TLS"]
async fn a_file_on_a_real_server_is_invisible_until_it_is_published_and_publishing_is_idempotent() {
    let dir = tempfile::tempdir().unwrap();
    let secret = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        sluice_crds::plan::SecretFile { secret_name: ".".into(), key: name.into() }
    };
    let ca = std::env::var("SLUICE_TEST_S3_CA").ok().map(|path| secret("ca", &fs::read_to_string(path).unwrap()));
    let s3 = sluice_crds::plan::S3Plan {
        connection: "lake".into(),
        endpoint: Some(std::env::var("SLUICE_TEST_S3").unwrap()),
        region: "us-east-1".into(),
        path_style: true,
        credentials: Some(sluice_crds::plan::S3Credentials {
            access_key_id: secret("id", "sluice"),
            secret_access_key: secret("secret", "sluice-secret"),
        }),
        trusted_certificates: ca.into_iter().collect(),
    };
    let open = |bucket: &str| {
        let url = format!("s3://{bucket}/test/{:016x}/", rand::random::<u64>());
        Store::open(&Location { url, s3: Some(s3.clone()) }, dir.path()).unwrap()
    };
    let store = open("lake");
    store.probe().await.unwrap();
    let mut staging = begin(&store, "large");
    staging.push(Bytes::from(vec![7; 20 << 20]));
    let large = record(staging.finish().await.unwrap());
    assert_eq!(store.publish(&large).await.unwrap(), Publication::Visible);
    assert_eq!(store.size(&large.url).await.unwrap(), Some(20 << 20));

    let missing = open("nowhere").probe().await.unwrap_err();
    assert_eq!(missing.reason(), Reason::ConfigInvalid, "{}", chain(&missing));
    for (id, key) in [("sluice", "wrong"), ("nobody", "sluice-secret")] {
        secret("id", id);
        secret("secret", key);
        let error = store.probe().await.unwrap_err();
        println!("{}", chain(&error));
        assert_eq!(error.reason(), Reason::AuthenticationFailed);
    }
    secret("id", "sluice");
    secret("secret", "sluice-secret");
    let fresh = open("lake");
    live(fresh.clone(), fresh).await;
}

#[tokio::test]
async fn a_store_is_asked_whether_it_creates_once_and_keeps_one_hidden_key() {
    let fake = FakeS3::start().await;
    let store = fake.open();
    assert!(store.creates_once().await.unwrap());
    assert_eq!(fake.count(Operation::Put), 2);
    assert!(store.creates_once().await.unwrap());
    assert_eq!(fake.count(Operation::Put), 3, "the key is there already");
    assert_eq!(store.list_table().await.unwrap(), Vec::new());
    fake.overwrite();
    assert!(!store.creates_once().await.unwrap());
}

#[tokio::test]
async fn a_greeting_needs_no_bucket_and_finds_a_key_that_is_unknown() {
    let fake = FakeS3::start().await;
    assert_eq!(greet(&fake.plan(), fake.secrets()).await.unwrap(), Some(Duration::ZERO));
    assert_eq!(fake.count(Operation::Buckets), 1);
    fake.set_key("other-key");
    let error = greet(&fake.plan(), fake.secrets()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::AuthenticationFailed);
    assert!(!chain(&error).contains("other-key"), "{}", chain(&error));
}

#[tokio::test]
async fn locations_of_one_bucket_share_a_client_and_others_do_not() {
    let fake = FakeS3::start().await;
    let store = fake.open();
    let sibling = store.sibling("s3://lake/ledgers/a/").unwrap();
    fake.put("ledgers/a/x", "1");
    fake.put("t/y", "1");
    let listed = sibling.list_table().await.unwrap();
    assert_eq!(listed.iter().map(|file| file.url.as_str()).collect::<Vec<_>>(), ["s3://lake/ledgers/a/x"]);
    for elsewhere in ["s3://pond/t/", "file:///t/", "s3://lake/t"] {
        assert!(store.sibling(elsewhere).is_none(), "{elsewhere}");
    }
}
