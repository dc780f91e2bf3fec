//! Each validation rule of the resources has an object that passes and one that fails, and no rule is without them.
//!
//! The rules are run by the same engine and on the same schema as in the command line; the API server runs them too.

use std::collections::BTreeSet;

use kube::core::cel::Validator;
use serde_json::Value;
use sluice_crds::crd::Kind;
use sluice_crds::manifest::parse;
use sluice_crds::reference::{is_secret_key, is_secret_name};
use sluice_crds::streaming_job::StreamingJob;

const KAFKA: &str = "kafka: {bootstrapServers: ['k:9092']";
const TOPIC: &str = "{database: d, location: {kafka: {connectionRef: {name: k}, topic: t}}, format: {json: {}}";
const FOLDER: &str =
    "{database: d, location: {objectStore: {url: 's3://b/t/', connectionRef: {name: l}}}, format: {parquet: {}}";
const JOB: &str = "{source: {tableRef: {name: a}}, sink: {tableRef: {name: b}}";

/// Kind, a spec that passes, a spec that breaks one rule only, and a part of that rule's message.
fn table() -> Vec<(Kind, String, String, &'static str)> {
    let mut cases = connections();
    cases.extend(secrets());
    cases.extend(tables());
    cases.extend(jobs());
    cases
}

fn connections() -> Vec<(Kind, String, String, &'static str)> {
    let login = |text: &str| format!("{{{KAFKA}, tls: {{}}, authentication: {{{text}}}}}}}");
    let s3 = |text: &str| format!("{{s3: {{{text}}}}}");
    let (password, oauth) = (
        "passwordSecret: {secretName: s, password: p}",
        "type: oauthbearer, tokenEndpointUri: u, clientSecret: {secretName: s, key: k}",
    );
    let keys = "credentials: {secretName: s, accessKeyId: a, secretAccessKey: b}";
    [
        (format!("{{{KAFKA}}}}}"), "{}".to_owned(), "exactly one of kafka and s3"),
        (s3("region: r"), format!("{{{KAFKA}}}, s3: {{region: r}}}}"), "exactly one of kafka and s3"),
        (
            format!("{{{KAFKA}}}, probe: {{period: 10s}}}}"),
            format!("{{{KAFKA}}}, probe: {{period: 9s}}}}"),
            "probe.period must be at least 10s",
        ),
        (
            login("type: tls, certificateAndKey: {secretName: s, certificate: c, key: k}"),
            format!("{{{KAFKA}, authentication: {{type: tls, certificateAndKey: {{secretName: s, certificate: c, key: k}}}}}}}}"),
            "works over TLS only",
        ),
        (
            login(&format!("type: plain, username: u, {password}")),
            login(&format!("type: plain, username: u, {password}, certificateAndKey: {{secretName: s, certificate: c, key: k}}")),
            "type tls, and no other, needs certificateAndKey",
        ),
        (
            login(&format!("type: scram-sha-256, username: u, {password}")),
            login(&format!("type: scram-sha-256, {password}")),
            "need username and passwordSecret",
        ),
        (
            login(&format!("type: scram-sha-512, username: u, {password}")),
            login("type: scram-sha-512, username: u"),
            "need username and passwordSecret",
        ),
        (login(&format!("{oauth}, clientId: c, scope: x")), login(oauth), "needs tokenEndpointUri, clientId and clientSecret"),
        (login(&format!("type: aws-msk-iam, region: r, {keys}")), login("type: aws-msk-iam"), "type aws-msk-iam, and no other"),
        (
            login(&format!("{oauth}, clientId: c")),
            login(&format!("type: plain, username: u, {password}, scope: x")),
            "scope belongs to type oauthbearer",
        ),
        (s3("endpoint: 'http://s3'"), s3("accessStyle: Path"), "AWS needs a region"),
        (s3("endpoint: 'https://s3'"), s3("endpoint: s3.corp"), "endpoint must begin with http:// or https://"),
        (
            s3("region: r, encryption: {type: SSE-KMS, keyId: k}"),
            s3("region: r, encryption: {type: SSE-S3, keyId: k}"),
            "keyId belongs to type SSE-KMS",
        ),
    ]
    .map(|(good, bad, message)| (Kind::Connection, good, bad, message))
    .into()
}

fn secrets() -> Vec<(Kind, String, String, &'static str)> {
    let s3 = |name: &str, key: &str| {
        format!("{{s3: {{region: r, credentials: {{secretName: {name}, accessKeyId: a, secretAccessKey: {key}}}}}}}")
    };
    [
        (s3("a.b-1", "b"), s3("../a", "b"), "this is no name of a Secret"),
        (s3("a", ".b_C-1.d"), s3("a", "../b"), "this is no key of a Secret"),
    ]
    .map(|(good, bad, message)| (Kind::Connection, good, bad, message))
    .into()
}

fn tables() -> Vec<(Kind, String, String, &'static str)> {
    let avro = |text: &str| TOPIC.replace("json: {}", &format!("avro: {{{text}}}")) + "}";
    [
        (
            format!("{FOLDER}, partitionKeys: [{{name: a, type: int}}]}}"),
            format!("{TOPIC}, partitionKeys: []}}"),
            "belong to a table in an objectStore",
        ),
        (
            format!("{FOLDER}, compaction: {{}}}}"),
            format!("{TOPIC}, compaction: {{}}}}"),
            "belong to a table in an objectStore",
        ),
        (format!("{TOPIC}}}"), TOPIC.replace("json", "parquet") + "}", "a Kafka topic cannot hold parquet"),
        (
            format!("{TOPIC}, schemaDetection: {{mode: Once}}}}"),
            format!("{FOLDER}, schemaDetection: {{mode: Once}}}}"),
            "schemaDetection samples a topic",
        ),
        (
            format!("{FOLDER}, tableFormat: Delta}}"),
            FOLDER.replace("parquet", "json") + ", tableFormat: Iceberg}",
            "tableFormat Iceberg and Delta need",
        ),
        (
            format!("{TOPIC}}}"),
            TOPIC.replace("topic: t}", "topic: t}, objectStore: {url: 'file:///a/'}") + "}",
            "exactly one of kafka and objectStore",
        ),
        (
            TOPIC.replace("topic: t", "topic: a.B-c_1") + "}",
            TOPIC.replace("topic: t", "topic: 'a b'") + "}",
            "a topic's name has letters",
        ),
        (
            FOLDER.replace(", connectionRef: {name: l}", "").replace("s3://b", "file:///b") + "}",
            FOLDER.replace(", connectionRef: {name: l}", "") + "}",
            "needs a connectionRef",
        ),
        (
            format!("{TOPIC}}}"),
            TOPIC.replace("json: {}", "json: {}, csv: {}") + "}",
            "exactly one of json, avro, csv, xml and parquet",
        ),
        (
            avro("schemaRegistry: {}"),
            avro("schemaRegistry: {}, schema: '{}'"),
            "exactly one of schemaRegistry and schema",
        ),
    ]
    .map(|(good, bad, message)| (Kind::DataCatalogTable, good, bad, message))
    .into()
}

fn jobs() -> Vec<(Kind, String, String, &'static str)> {
    let job = |text: &str| format!("{JOB}, {text}}}");
    let step = |text: &str| format!("{JOB}, transforms: [{{drop: [x]}}, {{{text}}}]}}");
    let start = |text: &str| JOB.replace("name: a}", &format!("name: a}}, startPosition: {{{text}}}")) + "}";
    [
        (
            job("workers: {replicas: 2}"),
            job("workers: {replicas: 2}, autoscaling: {maxReplicas: 3}"),
            "exclude each other",
        ),
        (
            job("schedule: {cron: '1 * * * *'}, mode: UntilCaughtUp"),
            job("schedule: {cron: '1 * * * *'}"),
            "schedule needs mode: UntilCaughtUp",
        ),
        (job("window: {period: 12h}"), job("window: {period: 12h1s}"), "window.period must be from 1s to 12h"),
        (job("window: {period: 1s}"), job("window: {period: 999ms}"), "window.period must be from 1s to 12h"),
        (
            format!("{JOB}}}"),
            JOB.replace("sink: {", &format!("sink: {{table: {FOLDER}}}, ")) + "}",
            "exactly one of tableRef and table must be given",
        ),
        (
            JOB.replace("tableRef: {name: a}", &format!("table: {TOPIC}}}")) + "}",
            JOB.replace("tableRef: {name: a}", "") + "}",
            "exactly one of tableRef and table must be given",
        ),
        (
            start("type: Timestamp, time: '2026-01-31T00:00:00Z'"),
            start("type: Timestamp"),
            "type Timestamp, and no other, needs time",
        ),
        (
            start("type: Latest"),
            start("type: Latest, time: '2026-01-31T00:00:00Z'"),
            "type Timestamp, and no other, needs time",
        ),
        (step("filter: a"), step("filter: a, drop: [b]"), "each step has exactly one of"),
        (step("explode: {column: a}"), step(""), "each step has exactly one of"),
        (step("sql: SELECT, scope: Batch"), step("filter: a, scope: Batch"), "scope stands beside sql"),
        (
            step("cast: {a: int}, onError: Fail"),
            step("sql: SELECT, onError: Fail"),
            "onError stands beside cast and derive",
        ),
        (
            step("aggregate: {select: {n: a}, scope: Batch}"),
            step("aggregate: {select: {n: a}}"),
            "an aggregate needs scope: Batch",
        ),
        (
            job("autoscaling: {minReplicas: 3, maxReplicas: 3}"),
            job("autoscaling: {minReplicas: 4, maxReplicas: 3}"),
            "minReplicas must not be above maxReplicas",
        ),
    ]
    .map(|(good, bad, message)| (Kind::StreamingJob, good, bad, message))
    .into()
}

fn document(kind: Kind, name: &str, spec: &str) -> String {
    format!("{{apiVersion: sluice.dev/v1alpha1, kind: {}, metadata: {{name: {name}}}, spec: {spec}}}", kind.as_str())
}

fn problems(kind: Kind, name: &str, spec: &str) -> Vec<String> {
    let text = document(kind, name, spec);
    parse([("it.yaml", text.as_str())])
        .err()
        .map_or(Vec::new(), |errors| errors.0.iter().map(ToString::to_string).collect())
}

/// All messages of all rules in a schema.
fn messages(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
                found.insert(rule["message"].as_str().unwrap_or("a rule without a message").to_owned());
            }
            members.values().for_each(|member| messages(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| messages(element, found)),
        _ => {}
    }
}

#[test]
fn each_rule_lets_the_right_object_pass_and_tells_the_wrong_one_how_to_mend_it() {
    for (kind, good, bad, message) in table() {
        assert_eq!(problems(kind, "a", &good), Vec::<String>::new(), "{good}");
        let problems = problems(kind, "a", &bad);
        assert!(problems.len() == 1 && problems[0].contains(message), "{bad}: {message}: {problems:#?}");
    }
}

#[test]
fn no_rule_is_without_a_case() {
    let mut all = BTreeSet::new();
    for kind in Kind::ALL {
        messages(kind.schema(), &mut all);
    }
    // These have tests of their own, below.
    let own = ["groupId cannot", "the name of a StreamingJob", "there is no such type"];
    all.retain(|message| !own.iter().any(|start| message.starts_with(start)));
    let cases = table();
    for message in &all {
        assert!(cases.iter().any(|(_, _, _, part)| message.contains(part)), "no case for the rule: {message}");
    }
    assert!(all.len() >= 25, "{}", all.len());
}

#[test]
fn the_name_of_a_job_leaves_room_for_its_pods() {
    let spec = format!("{JOB}}}");
    assert!(problems(Kind::StreamingJob, &"a".repeat(52), &spec).is_empty());
    let problems = problems(Kind::StreamingJob, &"a".repeat(53), &spec);
    assert!(problems[0].contains("at most 52 characters"), "{problems:?}");
}

#[test]
fn the_consumer_group_cannot_be_changed() {
    let job = |source: &str| -> StreamingJob {
        let text = document(Kind::StreamingJob, "a", &(JOB.replace("name: a}", &format!("name: a}}{source}")) + "}"));
        let manifests = parse([("it.yaml", text.as_str())]).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        manifests.jobs.into_values().next().expect("a job")
    };
    let (none, one, two) = (job(""), job(", groupId: one"), job(", groupId: two"));
    one.validate_cel_update(&one).expect("no change");
    none.validate_cel_update(&none).expect("no change");
    for (new, old) in [(&two, &one), (&one, &none), (&none, &one)] {
        let errors = new.validate_cel_update(old).expect_err("a change");
        assert!(errors[0].message.contains("groupId cannot be changed"), "{errors}");
    }
}

/// What the API server says of a field with this value.
fn refused(kind: Kind, field: &str, value: &Value) -> bool {
    let mut schema = kind.schema();
    for name in field.split('.') {
        schema = &schema[if matches!(name, "items" | "additionalProperties") { name } else { "properties" }];
        schema = if matches!(name, "items" | "additionalProperties") { schema } else { &schema[name] };
    }
    assert!(schema.get("x-kubernetes-validations").is_some(), "{field}");
    Validator::new().validate(schema, value, None).is_err()
}

#[test]
fn a_word_that_is_no_type_is_refused_wherever_a_type_stands() {
    for (kind, field) in [
        (Kind::DataCatalogTable, "spec.columns.items.type"),
        (Kind::DataCatalogTable, "spec.partitionKeys.items.type"),
        (Kind::DataCatalogTable, "status.columns.items.type"),
        (Kind::StreamingJob, "spec.source.table.columns.items.type"),
        (Kind::StreamingJob, "spec.sink.table.partitionKeys.items.type"),
        (Kind::StreamingJob, "spec.transforms.items.cast.additionalProperties"),
    ] {
        for wrong in ["strng", "text", "varchar(10)", "int4", "bool", "timestamp_tz", "", "list<int>"] {
            assert!(refused(kind, field, &wrong.into()), "{field}: {wrong}");
        }
        for right in ["string", "BIGINT", "decimal(12,2)", "Array<Struct<sku:string,qty:int>>", "timestamp_ntz"] {
            assert!(!refused(kind, field, &right.into()), "{field}: {right}");
        }
    }
}

#[test]
fn what_is_no_name_of_a_secret_or_of_its_key_is_refused_wherever_one_stands() {
    let members = [
        ("tls.trustedCertificates.items", &["certificate"][..]),
        ("authentication.passwordSecret", &["password"]),
        ("authentication.certificateAndKey", &["certificate", "key"]),
        ("authentication.clientSecret", &["key"]),
        ("authentication.credentials", &["accessKeyId", "secretAccessKey"]),
        ("schemaRegistry.authentication.passwordSecret", &["password"]),
    ];
    for (at, keys) in members {
        let at = format!("spec.kafka.{at}");
        for wrong in ["../x", "a/b", "A", "a_b", "-a", "a-", ".a", "a.", "a..b", "ä", "a\n", ""] {
            assert!(refused(Kind::Connection, &format!("{at}.secretName"), &wrong.into()), "{at}: {wrong}");
            assert!(!is_secret_name(wrong), "{wrong}");
        }
        for right in ["a", "0", "a-b", "a.b-c.0"] {
            assert!(!refused(Kind::Connection, &format!("{at}.secretName"), &right.into()), "{at}: {right}");
            assert!(is_secret_name(right), "{right}");
        }
        for key in keys {
            for wrong in ["../x", "a/b", ".", "..", "..a", "a b", "ä", "a\n", ""] {
                assert!(refused(Kind::Connection, &format!("{at}.{key}"), &wrong.into()), "{at}.{key}: {wrong}");
                assert!(!is_secret_key(wrong), "{wrong}");
            }
            for right in ["a", ".a", "A_b-1.crt", "a..b", "-"] {
                assert!(!refused(Kind::Connection, &format!("{at}.{key}"), &right.into()), "{at}.{key}: {right}");
                assert!(is_secret_key(right), "{right}");
            }
        }
    }
    assert!(!is_secret_name(&"a".repeat(254)) && !is_secret_key(&"a".repeat(254)), "longer than Kubernetes allows");
}
