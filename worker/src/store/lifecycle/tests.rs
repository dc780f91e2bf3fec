use std::time::Instant;

use super::rules::parse;
use super::*;
use crate::error::chain;
use crate::store::tests::fake_s3::{FakeS3, Fault, Operation};

const ABORT_7: &str =
    "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
const EXPIRE: &str = "<Expiration><Days>365</Days></Expiration>";

/// A configuration as AWS answers it, with rules of (filter, what they do).
fn configuration(rules: &[(&str, &str)]) -> String {
    let rule = |(index, (filter, action)): (usize, &(&str, &str))| {
        format!("<Rule>\n <ID>rule-{index}</ID>\n {filter}\n <Status>Enabled</Status>\n {action}\n</Rule>\n")
    };
    let rules: String = rules.iter().enumerate().map(rule).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n{rules}</LifecycleConfiguration>\n"
    )
}

/// What is found, in short: `never`, `early <rule> <days>`, `expires <rule>`, `server`.
fn judge(xml: &str, folder: &str, holds: Holds) -> Vec<String> {
    let told = Told { rules: rules_of(200, xml).unwrap(), minio: false };
    told.judge("lake", folder, holds).iter().map(short).collect()
}

fn short(finding: &Finding) -> String {
    match finding {
        Finding::NeverAborted { .. } => "never".to_string(),
        Finding::AbortedEarly { rule, days, .. } => format!("early {rule} {days}"),
        Finding::LedgerExpires { rule, .. } => format!("expires {rule}"),
        Finding::ServerAborts { .. } => "server".to_string(),
        Finding::Unknown { why, .. } => format!("unknown: {}", chain(why)),
    }
}

fn uploads(rules: &[(&str, &str)]) -> Vec<String> {
    judge(&configuration(rules), "t/", Holds::Uploads)
}

fn ledger(rules: &[(&str, &str)]) -> Vec<String> {
    judge(&configuration(rules), "_sluice/default.job/", Holds::Ledger)
}

#[test]
fn a_rule_counts_when_it_covers_every_upload_of_the_folder() {
    let nothing: [&str; 0] = [];
    for filter in [
        "<Filter><Prefix>t/</Prefix></Filter>",
        "<Filter><Prefix>t</Prefix></Filter>",
        "<Filter><Prefix></Prefix></Filter>",
        "<Filter><Prefix/></Filter>",
        "<Filter/>",
        "<Filter></Filter>",
        "",
        "<Prefix>t/</Prefix>",
        "<Prefix></Prefix>",
    ] {
        assert_eq!(uploads(&[(filter, ABORT_7)]), nothing, "{filter}");
    }
    for filter in [
        "<Filter><Prefix>u/</Prefix></Filter>",
        "<Filter><Prefix>t/event_date=2026</Prefix></Filter>",
        "<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>",
        "<Filter><And><Prefix>t/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Key>c</Key><Value>d</Value></Tag></And></Filter>",
        "<Filter><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan></Filter>",
        "<Filter><And><Prefix>t/</Prefix><ObjectSizeLessThan>500</ObjectSizeLessThan></And></Filter>",
        "<Prefix>u/</Prefix>",
    ] {
        assert_eq!(uploads(&[(filter, ABORT_7)]), ["never"], "{filter}");
    }
    assert_eq!(uploads(&[]), ["never"]);
    assert_eq!(uploads(&[("<Filter/>", EXPIRE)]), ["never"]);
    let disabled = configuration(&[("", ABORT_7)]).replace("Enabled", "Disabled");
    assert_eq!(judge(&disabled, "t/", Holds::Uploads), ["never"]);
    // The table is the whole bucket: a rule for a part of it is not enough.
    let part = configuration(&[("<Prefix>t/</Prefix>", ABORT_7)]);
    assert_eq!(judge(&part, "", Holds::Uploads), ["never"]);
}

#[test]
fn of_several_rules_the_first_to_abort_decides_also_when_it_aborts_only_some() {
    let days = |days: u32| ABORT_7.replace('7', &days.to_string());
    let (three, thirty) = (days(3), days(30));
    assert_eq!(uploads(&[("", &three)]), ["early rule-0 3"]);
    assert_eq!(uploads(&[("", ABORT_7), ("<Prefix>t/</Prefix>", &three), ("", &thirty)]), ["early rule-1 3"]);
    assert_eq!(uploads(&[("", &thirty), ("<Prefix>t/event_date=</Prefix>", &three)]), ["early rule-1 3"]);
    assert_eq!(uploads(&[("<Prefix>t/event_date=</Prefix>", &three)]), ["early rule-0 3", "never"]);
    let others = [("", thirty.as_str()), ("<Prefix>u/</Prefix>", &three), ("<Filter><Tag/></Filter>", &three)];
    assert_eq!(uploads(&others), [""; 0]);
}

#[test]
fn a_rule_that_deletes_records_of_the_ledger_is_found() {
    let date = "<Expiration><Date>2027-01-01T00:00:00.000Z</Date></Expiration>";
    for (filter, action) in [
        ("<Filter/>", EXPIRE),
        ("<Filter><Prefix>_sluice/</Prefix></Filter>", date),
        ("<Prefix>_sluice/default.job/ledger/0000</Prefix>", EXPIRE),
        ("<Prefix>_sluice/default.job/job.json</Prefix>", EXPIRE),
        ("<Filter><ObjectSizeLessThan>5000</ObjectSizeLessThan></Filter>", EXPIRE),
    ] {
        assert_eq!(ledger(&[("<Prefix>u/</Prefix>", EXPIRE), (filter, action)]), ["expires rule-1"], "{filter}");
    }
    let marker = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let old = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>";
    for (filter, action) in [
        ("<Filter><Prefix>t/</Prefix></Filter>", EXPIRE),
        ("<Prefix>_sluice/default.job/snapshots/</Prefix>", EXPIRE),
        ("<Prefix>_sluice/default.job/probe-</Prefix>", EXPIRE),
        ("<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>", EXPIRE),
        ("<Filter/>", marker),
        ("<Filter/>", old),
        ("<Filter/>", ABORT_7),
    ] {
        assert_eq!(ledger(&[(filter, action)]), [""; 0], "{filter} {action}");
    }
}

#[test]
fn a_warning_names_the_bucket_and_holds_the_rule_that_mends_it() {
    let bucket = || "lake".to_string();
    let told = |rules| Told { rules, minio: false };
    let text = told(Vec::new()).judge("lake", "a \"b\"/", Holds::Uploads)[0].to_string();
    let rule: serde_json::Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
    assert_eq!(rule["Filter"]["Prefix"], "a \"b\"/");
    let days = &rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"];
    assert_eq!((days.as_u64(), rule["Status"].as_str()), (Some(7), Some("Enabled")));
    assert!(text.contains("bucket `lake`"), "{text}");
    for finding in [
        Finding::AbortedEarly { bucket: bucket(), prefix: "t/".into(), rule: "r".into(), days: 1 },
        Finding::LedgerExpires { bucket: bucket(), prefix: "t/".into(), rule: "r".into() },
        Finding::ServerAborts { bucket: bucket() },
        Finding::Unknown { bucket: bucket(), why: Unknown::Silent },
    ] {
        assert!(finding.to_string().contains("bucket `lake`"), "{finding}");
    }
}

#[test]
fn what_minio_answers_is_understood() {
    // Letter by letter from a server: it has no namespace, and the status stands in front of the filter.
    let xml = "<LifecycleConfiguration><Rule><ID>ttl</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter><Expiration>\
               <Days>30</Days></Expiration></Rule><Rule><ID>old</ID><Status>Disabled</Status><Prefix>x/</Prefix><Expiration>\
               <Days>30</Days></Expiration></Rule></LifecycleConfiguration>";
    let told = Told { rules: parse(xml).unwrap(), minio: true };
    let found = |holds| told.judge("lake", "t/", holds).iter().map(short).collect::<Vec<_>>();
    assert_eq!(found(Holds::Ledger), ["expires ttl"]);
    assert_eq!(found(Holds::Uploads), ["server"]);
}

#[tokio::test]
async fn whatever_the_server_answers_there_is_a_finding_and_no_failure() {
    let s3 = FakeS3::start().await;
    let store = s3.open();
    let rules = configuration(&[("<Filter><Prefix>t/</Prefix></Filter>", ABORT_7)]);
    let found = async |holds| store.lifecycle(holds).await.iter().map(short).collect::<Vec<_>>();
    assert_eq!(found(Holds::Uploads).await, ["never"]);
    assert_eq!(found(Holds::Ledger).await, [""; 0]);
    s3.fail(Operation::Lifecycle, Fault::Before(200, rules.leak()));
    assert_eq!(found(Holds::Uploads).await, [""; 0]);
    for (status, body, why) in [
        (403, "<Error><Code>AccessDenied</Code></Error>", "the answer was 403 AccessDenied"),
        (501, "<Error><Code>NotImplemented</Code></Error>", "the answer was 501 NotImplemented"),
        (404, "<html>", "the answer was 404 "),
        (503, "", "the answer was 503 "),
        (200, "<html>&", "the answer cannot be understood"),
    ] {
        s3.fail(Operation::Lifecycle, Fault::Before(status, body));
        let found = found(Holds::Uploads).await;
        assert!(found[0].contains(why), "{found:?}");
    }
    // One try for each question: none of these answers made it ask again.
    assert_eq!(s3.count(Operation::Lifecycle), 8);
    s3.set_key("another-key");
    let refused = store.lifecycle(Holds::Uploads).await;
    let text = format!("{refused:?} {}", refused[0]);
    assert!(
        text.contains("InvalidAccessKeyId") && !text.contains("another-key") && !text.contains("hunter2"),
        "{text}"
    );
    assert!(Store::memory().lifecycle(Holds::Uploads).await.is_empty());
}

#[tokio::test]
async fn a_server_that_is_silent_holds_nobody_up_for_long() {
    let s3 = FakeS3::start().await;
    s3.fail(Operation::Lifecycle, Fault::Hold);
    let start = Instant::now();
    let found = s3.open().lifecycle(Holds::Uploads).await;
    assert!(matches!(found[..], [Finding::Unknown { why: Unknown::Silent, .. }]), "{found:?}");
    assert!(start.elapsed() < PATIENCE * 2, "{:?}", start.elapsed());
}
