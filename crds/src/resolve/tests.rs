//! Each rule of `resolve` has a manifest that breaks it, made from one that works.

use std::time::Duration as StdDuration;

use super::*;
use crate::manifest::{Manifests, parse};
use crate::plan::{KafkaAuthentication, ParquetCompression, SinkFormat, SourceFormat, TransformStep, plan_hash};

const GLUE_SAMPLE: &str = include_str!("../../../docs/examples/01-glue-sample.yaml");
const HYBRID_CSV: &str = include_str!("../../../docs/examples/02-hybrid-csv.yaml");
const CAMEL_CASE: &str = include_str!("../../../docs/examples/03-camelcase-minute.yaml");

/// A whole and valid world; tests change one text of it.
const BASE: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka, namespace: etl}
spec: {kafka: {bootstrapServers: ["kafka:9092"]}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: lake, namespace: etl}
spec: {s3: {endpoint: "http://s3:9000"}}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: raw, namespace: etl}
spec:
  database: shop
  location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
  format: {json: {}}
  columns: [{name: id, type: string, nullable: false}, {name: amount, type: double}]
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: orders, namespace: etl}
spec:
  database: shop
  location: {objectStore: {url: "s3://lake/shop/orders/", connectionRef: {name: lake}}}
  format: {parquet: {}}
  columns: [{name: id, type: string}, {name: amount, type: double}]
  partitionKeys: [{name: day, type: date}]
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders, namespace: etl, generation: 7}
spec:
  source: {tableRef: {name: raw}}
  transforms: []
  sink: {tableRef: {name: orders}}
"#;

fn manifests(text: &str) -> Manifests {
    parse([("test.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Resolves the only job. `edit` changes objects as a schema would not allow.
fn resolve_with(
    text: &str,
    context: &ResolveContext,
    edit: impl FnOnce(&mut Manifests),
) -> Result<JobPlan, Vec<ResolveError>> {
    let mut manifests = manifests(text);
    edit(&mut manifests);
    let job = manifests.jobs.values().next().expect("a job");
    resolve(job, &manifests.tables, &manifests.connections, context)
}

fn cluster() -> ResolveContext {
    ResolveContext::Cluster { uid: "c1".to_owned() }
}

/// The errors of [`BASE`] with one text replaced by another.
fn errors(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "{from}");
    let result = resolve_with(&BASE.replacen(from, to, 1), &cluster(), |_| {});
    result.expect_err("an error").iter().map(ToString::to_string).collect()
}

/// The errors of [`BASE`] after a change that a schema would not allow.
fn errors_of(edit: impl FnOnce(&mut Manifests)) -> Vec<String> {
    let errors = resolve_with(BASE, &cluster(), edit).expect_err("an error");
    errors.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_one(errors: &[String], expected: &str) {
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0], expected);
}

fn job(manifests: &mut Manifests) -> &mut StreamingJobSpec {
    &mut manifests.jobs.values_mut().next().expect("a job").spec
}

fn table<'m>(manifests: &'m mut Manifests, name: &str) -> &'m mut crate::data_catalog_table::DataCatalogTableSpec {
    &mut manifests.tables.get_mut(&ObjectKey::new("etl", name)).expect("a table").spec
}

#[test]
fn the_glue_sample_resolves_with_all_defaults() {
    let plan = resolve_with(GLUE_SAMPLE, &ResolveContext::Local, |_| {}).expect("a plan");
    assert_eq!((plan.version, plan.mode), (PLAN_VERSION, Mode::Continuous));
    let job = JobIdentity {
        cluster: "local".to_owned(),
        namespace: "default".to_owned(),
        name: "transactions".to_owned(),
        generation: None,
    };
    assert_eq!(plan.job, job);
    assert_eq!(plan.source.group_id, "sluice.default.transactions");
    assert_eq!(plan.source.topic, "transactions");
    assert_eq!(plan.source.kafka.bootstrap_servers, ["kafka.streaming.svc:9092"]);
    assert_eq!(plan.source.start_position, StartPosition::Earliest);
    assert_eq!(plan.source.on_offset_out_of_range, OnOffsetOutOfRange::Stall);
    assert_eq!((&plan.source.format, plan.source.columns.len()), (&SourceFormat::Json {}, 7));
    assert!(!plan.source.kafka_metadata && plan.source.columns.iter().all(|column| column.nullable));
    assert_eq!(plan.window.period, StdDuration::from_secs(100));
    assert_eq!((plan.retries.per_window, plan.retries.backoff), (3, StdDuration::from_secs(10)));
    assert_eq!(plan.memory_budget, 192 << 20);
    assert_eq!(plan.transforms.len(), 4);
    assert_eq!(plan.transforms[0], TransformStep::Filter("event_id IS NOT NULL AND amount > 0".to_owned()));
    assert_eq!(plan.transforms[3], TransformStep::Drop(vec!["event_time".to_owned(), "metadata".to_owned()]));
    assert_eq!(plan.sink.location.url, "s3://lake/payments/transactions/");
    let parquet = SinkFormat::Parquet { compression: ParquetCompression::Snappy, row_group_bytes: 128 << 20 };
    assert_eq!(plan.sink.format, parquet);
    assert_eq!(plan.sink.columns.as_ref().map(Vec::len), Some(6));
    let keys: Vec<_> = plan.sink.partition_keys.iter().map(|key| (key.name.as_str(), key.type_.to_string())).collect();
    assert_eq!(keys, [("event_date", "date".to_owned()), ("event_hour", "int".to_owned())]);
    let s3 = plan.sink.location.s3.clone().expect("s3");
    assert_eq!((s3.endpoint.as_deref(), s3.path_style), (Some("http://s3.storage.svc:9000"), true));
    assert_eq!(s3.credentials.expect("credentials").secret_access_key.key, "secretAccessKey");
    assert_eq!(plan.checkpoint.url, "s3://lake/payments/_sluice/default.transactions/");
    assert_eq!(plan.checkpoint.s3, plan.sink.location.s3);
    let dead_letter = plan.dead_letter.clone().expect("dead letters");
    assert_eq!(
        (dead_letter.location.url.as_str(), dead_letter.max_percent),
        ("s3://lake/dead-letter/transactions/", None)
    );
    let json = serde_json::to_string(&plan).expect("json");
    assert_eq!(serde_json::from_str::<JobPlan>(&json).expect("a plan"), plan, "a plan survives its ConfigMap");
}

#[test]
fn the_other_examples_need_later_releases_only() {
    for (text, expected) in [
        (
            HYBRID_CSV,
            vec![
                "spec.schedule: a schedule",
                "spec.timeout: a timeout",
                "spec.format.csv: the format csv",
                "spec.schemaDetection.mode: schema detection",
                "spec.sink.table.format.csv: the format csv",
            ],
        ),
        (CAMEL_CASE, vec!["spec.sink.table.location.kafka: a sink in Kafka"]),
    ] {
        let errors = resolve_with(text, &cluster(), |_| {}).expect_err("not yet");
        assert!(errors.iter().all(ResolveError::is_not_supported_yet), "{errors:#?}");
        assert_eq!(errors.len(), expected.len(), "{errors:#?}");
        for (error, expected) in errors.iter().zip(expected) {
            assert!(error.to_string().contains(&format!("{expected} is not supported yet: ")), "{error}");
        }
    }
}

#[test]
fn a_job_in_a_cluster_has_its_generation_and_namespace() {
    let plan = resolve_with(BASE, &cluster(), |_| {}).expect("a plan");
    assert_eq!((plan.job.cluster.as_str(), plan.job.generation), ("c1", Some(7)));
    assert_eq!(plan.source.group_id, "sluice.etl.orders");
    assert_eq!(plan.checkpoint.url, "s3://lake/shop/_sluice/etl.orders/");
    let s3 = plan.sink.location.s3.expect("s3");
    assert_eq!((s3.region.as_str(), s3.path_style, s3.credentials), ("us-east-1", true, None));
    let local = resolve_with(BASE, &ResolveContext::Local, |_| {}).expect("a plan");
    assert_eq!(local.job.generation, None);
}

#[test]
fn a_memory_limit_gives_half_of_it_to_the_budget() {
    let text = BASE.replace("transforms: []", "workers: {resources: {limits: {memory: 512Mi}}}");
    assert_eq!(resolve_with(&text, &cluster(), |_| {}).expect("a plan").memory_budget, 256 << 20);
}

#[test]
fn every_kind_of_login_reaches_the_plan() {
    let base = |login: &str| {
        let kafka = format!(r#"kafka: {{bootstrapServers: ["kafka:9092"], tls: {{}}, authentication: {{{login}}}"#);
        BASE.replacen(r#"kafka: {bootstrapServers: ["kafka:9092"]"#, &kafka, 1)
    };
    let password = "username: etl, passwordSecret: {secretName: s, password: p}";
    for (type_, rest) in [
        ("tls", "certificateAndKey: {secretName: s, certificate: c, key: k}"),
        ("plain", password),
        ("scram-sha-256", password),
        ("scram-sha-512", password),
    ] {
        let plan = resolve_with(&base(&format!("type: {type_}, {rest}")), &cluster(), |_| {}).expect(type_);
        let kafka = plan.source.kafka;
        assert!(kafka.tls.expect("tls").hostname_verification, "on by default");
        let login = serde_json::to_value(kafka.authentication.expect("a login")).expect("json");
        assert_eq!(login["type"], type_);
        let read: KafkaAuthentication = serde_json::from_value(login).expect("a login");
        assert_eq!(matches!(read, KafkaAuthentication::Tls { .. }), type_ == "tls");
    }
}

#[test]
fn a_missing_table_is_named() {
    assert_one(
        &errors("source: {tableRef: {name: raw}}", "source: {tableRef: {name: rav}}"),
        "StreamingJob etl/orders: spec.source.tableRef.name names the DataCatalogTable `etl/rav`, which does not exist: create it, \
         or correct the name",
    );
}

#[test]
fn a_reference_does_not_leave_the_namespace() {
    let errors = errors_of(|all| {
        let raw = all.tables.remove(&ObjectKey::new("etl", "raw")).expect("a table");
        all.tables.insert(ObjectKey::new("other", "raw"), raw);
    });
    assert!(errors[0].contains("`etl/raw`, which does not exist"), "{errors:?}");
}

#[test]
fn a_missing_connection_is_named() {
    assert_one(
        &errors("connectionRef: {name: kafka}", "connectionRef: {name: kavka}"),
        "DataCatalogTable etl/raw: spec.location.kafka.connectionRef.name names the Connection `etl/kavka`, which does not exist: \
         create it, or correct the name",
    );
    assert!(errors("connectionRef: {name: lake}", "connectionRef: {name: like}")[0].contains("`etl/like`"));
}

#[test]
fn a_connection_of_the_wrong_kind_is_refused() {
    assert_one(
        &errors("connectionRef: {name: lake}", "connectionRef: {name: kafka}"),
        "DataCatalogTable etl/orders: spec.location.objectStore.connectionRef.name names the Connection `etl/kafka`, which is not \
         of kind s3: name one with spec.s3",
    );
    assert!(errors("connectionRef: {name: kafka}", "connectionRef: {name: lake}")[0].contains("not of kind kafka"));
}

#[test]
fn a_choice_has_exactly_one_member() {
    let neither = errors_of(|all| job(all).source.table_ref = None);
    assert_one(&neither, "StreamingJob etl/orders: spec.source must have exactly one of tableRef and table");
    let formats = errors_of(|all| table(all, "raw").format.csv = Some(crate::data_catalog_table::CsvFormat::default()));
    assert!(
        formats[0].contains("spec.format must have exactly one of json, avro, csv, xml and parquet"),
        "{formats:?}"
    );
    let location = errors_of(|all| table(all, "raw").location.kafka = None);
    assert!(location[0].contains("spec.location must have exactly one of kafka and objectStore"), "{location:?}");
    let step = errors_of(|all| job(all).transforms = Some(vec![crate::streaming_job::Step::default()]));
    assert!(step[0].contains("spec.transforms[0] must have exactly one of filter, derive"), "{step:?}");
}

#[test]
fn a_field_that_another_one_needs_is_named() {
    let aws = errors_of(|all| {
        let lake = all.connections.get_mut(&ObjectKey::new("etl", "lake")).expect("a connection");
        lake.spec.s3.as_mut().expect("s3").endpoint = None;
    });
    assert_one(&aws, "Connection etl/lake: spec.s3.region is missing: AWS needs it");
    let time = errors_of(|all| {
        job(all).source.start_position = Some(StartPositionSpec { type_: StartPositionType::Timestamp, time: None });
    });
    assert!(time[0].contains("spec.source.startPosition.time is missing"), "{time:?}");
    let name = errors_of(|all| all.jobs.values_mut().for_each(|job| job.metadata.name = None));
    assert!(name[0].contains("metadata.name is missing"), "{name:?}");
    let aggregate = errors_of(|all| {
        let step: crate::streaming_job::Step =
            serde_json::from_str(r#"{"aggregate": {"select": {"n": "count(*)"}}}"#).expect("a step");
        job(all).transforms = Some(vec![step]);
    });
    assert!(aggregate[0].contains("spec.transforms[0].aggregate.scope is missing"), "{aggregate:?}");
    for (login, missing) in [
        (r#"{"type": "tls"}"#, "certificateAndKey"),
        (r#"{"type": "plain", "username": "u"}"#, "passwordSecret"),
        (r#"{"type": "scram-sha-512", "passwordSecret": {"secretName": "s", "password": "p"}}"#, "username"),
    ] {
        let errors = errors_of(|all| {
            let kafka = all.connections.get_mut(&ObjectKey::new("etl", "kafka")).expect("a connection");
            let kafka = kafka.spec.kafka.as_mut().expect("kafka");
            kafka.tls = Some(crate::reference::Tls::default());
            kafka.authentication = Some(serde_json::from_str(login).expect("a login"));
        });
        assert!(errors[0].contains(&format!("spec.kafka.authentication.{missing} is missing")), "{errors:?}");
    }
}

#[test]
fn a_folder_cannot_be_read() {
    assert_one(
        &errors("source: {tableRef: {name: raw}}", "source: {tableRef: {name: orders}}"),
        "DataCatalogTable etl/orders: spec.location is a folder of files, and a job reads topics only: name a table with a kafka \
         location",
    );
}

#[test]
fn a_source_needs_columns() {
    let none = errors("  columns: [{name: id, type: string, nullable: false}, {name: amount, type: double}]\n", "");
    assert!(none[0].starts_with("DataCatalogTable etl/raw: spec.columns is empty: declare"), "{none:?}");
    assert_eq!(none.len(), 1);
}

#[test]
fn a_column_stands_once() {
    let twice = errors_of(|all| {
        let columns = table(all, "raw").columns.as_mut().expect("columns");
        columns.push(columns[0].clone());
    });
    assert_one(
        &twice,
        "DataCatalogTable etl/raw: spec.columns[2]: the column `id` stands twice: rename or remove one of them",
    );
    let keys = errors_of(|all| {
        let keys = table(all, "orders").partition_keys.as_mut().expect("keys");
        keys.push(keys[0].clone());
    });
    assert!(keys[0].contains("spec.partitionKeys[1]: the column `day` stands twice"), "{keys:?}");
}

#[test]
fn a_partition_key_is_no_column() {
    let errors = errors("{name: day, type: date}", "{name: id, type: string}");
    assert!(errors[0].contains("spec.partitionKeys[0]: `id` also stands among columns"), "{errors:?}");
}

#[test]
fn a_partition_key_has_a_type_with_one_spelling() {
    for wrong in ["double", "timestamp", "'decimal(4,2)'", "binary", "'array<int>'"] {
        let errors = errors("type: date", &format!("type: {wrong}"));
        assert!(errors[0].contains("spec.partitionKeys[0]: `day` is of type "), "{errors:?}");
    }
    for right in ["string", "tinyint", "smallint", "int", "bigint", "boolean"] {
        let text = BASE.replace("type: date", &format!("type: {right}"));
        resolve_with(&text, &cluster(), |_| {}).expect(right);
    }
}

#[test]
fn the_column_of_kafka_metadata_is_reserved() {
    let text = BASE
        .replacen("{name: amount, type: double}", "{name: _kafka, type: string}", 1)
        .replace("source: {", "source: {kafkaMetadata: true, ");
    let errors = resolve_with(&text, &cluster(), |_| {}).expect_err("an error");
    assert!(matches!(errors[..], [ResolveError::ReservedColumn { .. }]), "{errors:?}");
}

#[test]
fn a_topic_holds_no_parquet() {
    let errors = errors_of(|all| {
        let table = table(all, "raw");
        table.format = serde_json::from_str(r#"{"parquet": {}}"#).expect("a format");
    });
    assert_one(&errors, "DataCatalogTable etl/raw: spec.format.parquet: a topic cannot hold parquet: use json");
}

#[test]
fn what_a_later_release_does_is_answered_by_name() {
    let kafka = r#"{kafka: {bootstrapServers: ["kafka:9092"]"#;
    let registry = format!("{kafka}, schemaRegistry: {{url: 'http://r'}}");
    let oauth = format!(
        "{kafka}, authentication: {{type: oauthbearer, tokenEndpointUri: u, clientId: c, clientSecret: {{secretName: s, key: k}}}}"
    );
    let msk = format!("{kafka}, tls: {{}}, authentication: {{type: aws-msk-iam, region: r}}");
    for (from, to, expected) in [
        ("transforms: []", "timeout: 1h", "spec.timeout: a timeout"),
        ("transforms: []", "autoscaling: {maxReplicas: 3}", "spec.autoscaling: autoscaling"),
        ("transforms: []", "replay: {nonce: 1, from: {type: Earliest}}", "spec.replay: a replay"),
        ("transforms: []", "transforms: [{fillNulls: {a: b}}]", "spec.transforms[0].fillNulls: fillNulls"),
        ("transforms: []", "transforms: [{dropNulls: [a]}]", "spec.transforms[0].dropNulls: dropNulls"),
        ("transforms: []", "transforms: [{flatten: {}}]", "spec.transforms[0].flatten: flatten"),
        ("transforms: []", "transforms: [{explode: {column: a}}]", "spec.transforms[0].explode: explode"),
        ("transforms: []", "transforms: [{dropDuplicates: [a]}]", "spec.transforms[0].dropDuplicates: dropDuplicates"),
        (
            "transforms: []",
            "transforms: [{cast: {a: int}, onError: 'Null'}]",
            "spec.transforms[0].onError: onError other",
        ),
        (
            "transforms: []",
            "transforms: [{aggregate: {select: {n: 'count(*)'}, window: {column: t, size: 5m}}}]",
            "spec.transforms[0].aggregate.window: an aggregate over event time",
        ),
        ("format: {json: {}}", "format: {csv: {}}", "spec.format.csv: the format csv"),
        ("format: {json: {}}", "format: {avro: {schema: '{}'}}", "spec.format.avro: the format avro"),
        ("format: {json: {}}", "format: {xml: {rowTag: r}}", "spec.format.xml: the format xml"),
        ("format: {parquet: {}}", "format: {json: {}}", "spec.format.json: the format json in an objectStore"),
        ("format: {parquet: {}}", "format: {parquet: {}}\n  tableFormat: Delta", "spec.tableFormat: a table format"),
        ("format: {parquet: {}}", "format: {parquet: {}}\n  compaction: {}", "spec.compaction: compaction"),
        ("format: {json: {}}", "format: {json: {}}\n  onNewField: Capture", "spec.onNewField: onNewField other"),
        (
            "format: {json: {}}",
            "format: {json: {}}\n  schemaDetection: {mode: Continuous}",
            "spec.schemaDetection.mode: schema detection",
        ),
        ("{s3: {", "{s3: {encryption: {type: SSE-S3}, ", "spec.s3.encryption: encryption"),
        ("{s3: {", "{s3: {tls: {hostnameVerification: false}, ", "spec.s3.tls.hostnameVerification: an S3 endpoint"),
        (kafka, &registry, "spec.kafka.schemaRegistry: a schema registry"),
        (kafka, &oauth, "spec.kafka.authentication.type: authentication of type oauthbearer"),
        (kafka, &msk, "spec.kafka.authentication.type: authentication of type aws-msk-iam"),
    ] {
        let errors = errors(from, to);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert!(
            errors[0].contains(expected) && errors[0].contains(" is not supported yet: "),
            "{expected}: {errors:?}"
        );
    }
}

#[test]
fn a_default_that_is_written_out_is_supported() {
    let text = BASE
        .replace("format: {parquet: {}}", "format: {parquet: {}}\n  tableFormat: None")
        .replace("format: {json: {}}", "format: {json: {}}\n  schemaDetection: {mode: Disabled}\n  onNewField: Ignore")
        .replace(
            "transforms: []",
            "transforms: [{cast: {amount: int}, onError: DeadLetter}]\n  restartNonce: 3\n  suspend: true",
        );
    resolve_with(&text, &cluster(), |_| {}).expect("a plan");
}

#[test]
fn a_url_is_a_folder() {
    for (wrong, part) in [
        ("gs://lake/a/", "must begin with s3://"),
        ("s3:///a/", "has no valid bucket"),
        ("s3://Lake/a/", "has no valid bucket"),
        ("s3://lake/a//b/", "empty segments"),
        ("s3://lake/../b/", "empty segments, . or .."),
        ("s3://lake/a b/", "must not hold spaces"),
        ("s3://lake/a?b", "must not hold spaces, control characters, ?"),
        ("file://relative/", "absolute path"),
    ] {
        let errors = errors("s3://lake/shop/orders/", wrong);
        assert!(
            errors[0].contains("spec.location.objectStore.url: `") && errors[0].contains(part),
            "{wrong}: {errors:?}"
        );
    }
    let text = BASE.replace("s3://lake/shop/orders/", "s3://lake/shop/orders");
    let plan = resolve_with(&text, &cluster(), |_| {}).expect("a plan");
    assert_eq!(plan.sink.location.url, "s3://lake/shop/orders/", "the slash at the end is added");
}

#[test]
fn an_endpoint_is_the_root_of_a_server() {
    for (wrong, part) in [
        ("http://s3:9000/path", "without a path"),
        ("http://user:hunter2@s3:9000", "must not hold a user or a password"),
        ("http://", "is not a url"),
    ] {
        let errors = errors("http://s3:9000", wrong);
        assert!(errors[0].contains("spec.s3.endpoint: `") && errors[0].contains(part), "{wrong}: {errors:?}");
        assert!(!errors[0].contains("hunter2"), "a password is not repeated");
    }
    let ftp = errors_of(|all| {
        let lake = all.connections.get_mut(&ObjectKey::new("etl", "lake")).expect("a connection");
        lake.spec.s3.as_mut().expect("s3").endpoint = Some("ftp://s3".to_owned());
    });
    assert!(ftp[0].contains("must begin with http:// or https://"), "{ftp:?}");
}

#[test]
fn a_local_folder_works_in_local_runs_only() {
    let text = BASE.replace("s3://lake/shop/orders/", "file:///tmp/shop/orders");
    let plan = resolve_with(&text, &ResolveContext::Local, |_| {}).expect("a plan");
    assert_eq!((plan.sink.location.url.as_str(), &plan.sink.location.s3), ("file:///tmp/shop/orders/", &None));
    assert_eq!(plan.checkpoint.url, "file:///tmp/shop/_sluice/etl.orders/");
    let errors = resolve_with(&text, &cluster(), |_| {}).expect_err("an error");
    assert!(matches!(errors[..], [ResolveError::FileUrlInCluster { .. }]), "{errors:?}");
}

#[test]
fn a_bucket_needs_a_connection() {
    let errors = errors_of(|all| {
        table(all, "orders").location.object_store.as_mut().expect("a folder").connection_ref = None;
    });
    assert_one(
        &errors,
        "DataCatalogTable etl/orders: spec.location.objectStore.connectionRef is missing: `s3://lake/shop/orders/` needs the name \
         of an s3 Connection, such as {name: lake}",
    );
}

#[test]
fn a_sink_at_the_root_of_a_bucket_needs_a_checkpoint() {
    for root in ["s3://lake/", "s3://lake"] {
        let errors = errors("s3://lake/shop/orders/", root);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("spec.checkpoint is missing: a sink at the root of a bucket"), "{errors:?}");
    }
    let text = BASE.replace("s3://lake/shop/orders/", "s3://lake/orders/");
    let plan = resolve_with(&text, &cluster(), |_| {}).expect("a plan");
    assert_eq!(plan.checkpoint.url, "s3://lake/_sluice/etl.orders/");
    let text = CAMEL_CASE.replace("  checkpoint:", "  # checkpoint:");
    let errors = resolve_with(&text, &cluster(), |_| {}).expect_err("an error");
    assert!(errors.iter().any(|error| error.to_string().contains("a sink in a topic has no place")), "{errors:?}");
}

#[test]
fn what_readers_would_take_for_rows_is_not_inside_of_the_sink() {
    let at = |folder: &str| {
        let folder = format!("deadLetter: {{objectStore: {{url: '{folder}', connectionRef: {{name: lake}}}}}}");
        resolve_with(&BASE.replace("transforms: []", &folder), &cluster(), |_| {})
    };
    for inside in ["s3://lake/shop/orders/dead/", "s3://lake/shop/orders/"] {
        let errors = at(inside).expect_err("an error");
        assert!(matches!(errors[..], [ResolveError::InsideSink { .. }]), "{errors:?}");
    }
    for outside in ["s3://lake/shop/orders/_dead/", "s3://lake/shop/orders-dead/", "s3://lake/shop/"] {
        at(outside).expect(outside);
    }
}

#[test]
fn properties_that_sluice_sets_are_refused_by_name() {
    let from = r#"bootstrapServers: ["kafka:9092"]"#;
    for property in ["group.id", "isolation.level", "sasl.password", "bootstrap.servers", "ssl.ca.location"] {
        let errors = errors(from, &format!("{from}, config: {{{property}: x}}"));
        let expected =
            format!("Connection etl/kafka: spec.kafka.config: the property `{property}` is owned by Sluice: remove it");
        assert!(errors[0].starts_with(&expected), "{errors:?}");
    }
    let text = BASE.replace(from, &format!("{from}, config: {{session.timeout.ms: '20000', fetch.min.bytes: '1'}}"));
    let plan = resolve_with(&text, &cluster(), |_| {}).expect("a plan");
    assert_eq!(plan.source.kafka.config.len(), 2, "others are handed on");
}

#[test]
fn a_server_is_host_and_port() {
    for wrong in ["kafka", "kafka:", ":9092", "kafka:99999", "http://kafka:9092", "a:1,b:2"] {
        let errors = errors("kafka:9092", wrong);
        assert!(errors[0].contains("spec.kafka.bootstrapServers[0]: `"), "{wrong}: {errors:?}");
        assert!(errors[0].ends_with("is not host:port; example: kafka-0.corp:9093"), "{wrong}: {errors:?}");
    }
    resolve_with(&BASE.replace("kafka:9092", "[::1]:9092"), &cluster(), |_| {}).expect("IPv6");
}

#[test]
fn a_client_certificate_needs_tls() {
    let errors = errors_of(|all| {
        let kafka = all.connections.get_mut(&ObjectKey::new("etl", "kafka")).expect("a connection");
        let login = r#"{"type": "tls", "certificateAndKey": {"secretName": "s", "certificate": "c", "key": "k"}}"#;
        kafka.spec.kafka.as_mut().expect("kafka").authentication = Some(serde_json::from_str(login).expect("a login"));
    });
    assert!(
        errors[0].contains("spec.kafka.authentication: authentication of type tls works over TLS only"),
        "{errors:?}"
    );
}

#[test]
fn a_parameter_must_exist() {
    let step = "parameters: {least: '1', most: '9'}\n  transforms: [{drop: [x]}, {filter: 'amount > ${leest} AND amount < ${most}'}]";
    assert_one(
        &errors("transforms: []", step),
        "StreamingJob etl/orders: spec.transforms[1].filter: there is no parameter `leest`: add it to spec.parameters, which has \
         least, most",
    );
    for step in [
        "sql: 'SELECT ${x}'",
        "derive: {a: '${x}'}",
        "select: ['${x}']",
        "aggregate: {select: {a: '${x}'}, scope: Batch}",
    ] {
        let errors = errors("transforms: []", &format!("transforms: [{{{step}}}]"));
        assert!(
            errors[0].contains("there is no parameter `x`: add it to spec.parameters, which has none"),
            "{errors:?}"
        );
    }
}

#[test]
fn a_parameter_is_closed() {
    let errors = errors("transforms: []", "parameters: {a: '1'}\n  transforms: [{derive: {b: '${a'}}]");
    assert_one(&errors, "StreamingJob etl/orders: spec.transforms[0].derive.b: a `${` is never closed: write ${name}");
}

#[test]
fn numbers_and_sizes_have_bounds() {
    let period = errors_of(|all| {
        job(all).window = serde_json::from_str(r#"{"period": "13h"}"#).expect("a window");
    });
    assert_one(&period, "StreamingJob etl/orders: spec.window.period: 13h must be from 1s to 12h");
    let group = errors("format: {parquet: {}}", "format: {parquet: {rowGroupSize: 1k}}");
    assert_one(&group, "DataCatalogTable etl/orders: spec.format.parquet.rowGroupSize: 1k must be from 64Ki to 2Gi");
    let retries = errors_of(|all| {
        job(all).retries = serde_json::from_str(r#"{"perWindow": -1}"#).expect("retries");
    });
    assert_one(&retries, "StreamingJob etl/orders: spec.retries.perWindow: -1 must be from 0 to 1000");
}

#[test]
fn sql_may_say_that_it_sees_one_batch() {
    for (scope, batch_scope) in [("", false), (", scope: Batch", true)] {
        let text = BASE.replace("transforms: []", &format!("transforms: [{{sql: SELECT * FROM input{scope}}}]"));
        let plan = resolve_with(&text, &cluster(), |_| {}).expect("a plan");
        assert_eq!(plan.transforms, [TransformStep::Sql { query: "SELECT * FROM input".to_owned(), batch_scope }]);
    }
}

#[test]
fn all_errors_are_told_at_once() {
    let text = BASE
        .replace("type: date", "type: double")
        .replace("connectionRef: {name: kafka}", "connectionRef: {name: none}")
        .replace("transforms: []", "timeout: 1h\n  transforms: [{filter: '${x}'}]");
    assert_eq!(resolve_with(&text, &cluster(), |_| {}).expect_err("errors").len(), 4);
}

#[test]
fn the_hash_of_a_plan_is_about_rows_and_files_only() {
    let hash = |text: &str| plan_hash(&resolve_with(text, &cluster(), |_| {}).expect("a plan"));
    let base = hash(BASE);
    assert_eq!((base.len(), base.chars().all(|c| c.is_ascii_hexdigit())), (32, true));
    for same in [
        "window: {period: 5s}",
        "retries: {perWindow: 9}",
        "mode: UntilCaughtUp",
        "workers: {replicas: 5, resources: {limits: {memory: 1Gi}}}",
    ] {
        assert_eq!(hash(&BASE.replace("transforms: []", same)), base, "{same}");
    }
    assert_eq!(hash(&BASE.replace("generation: 7", "generation: 8")), base);
    for (from, to) in [
        ("transforms: []", "transforms: [{filter: 'amount > 0'}]"),
        ("{name: amount, type: double}", "{name: amount, type: bigint}"),
        ("format: {parquet: {}}", "format: {parquet: {compression: ZSTD}}"),
        ("topic: orders", "topic: orders2"),
        ("s3://lake/shop/orders/", "s3://lake/shop/orders2/"),
    ] {
        assert_ne!(hash(&BASE.replacen(from, to, 1)), base, "{to}");
    }
}
