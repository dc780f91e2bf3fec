//! Whole manifests and the plans that they become.

use super::*;

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
    let (compression, compatibility) = (ParquetCompression::Snappy, ParquetCompatibility::Legacy);
    let parquet = SinkFormat::Parquet { compression, row_group_bytes: 128 << 20, compatibility };
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
    assert_eq!(hash(&BASE.replace("format: {parquet: {}}", "format: {parquet: {compatibility: Legacy}}")), base);
    for (from, to) in [
        ("transforms: []", "transforms: [{filter: 'amount > 0'}]"),
        ("{name: amount, type: double}", "{name: amount, type: bigint}"),
        ("format: {parquet: {}}", "format: {parquet: {compression: ZSTD}}"),
        ("format: {parquet: {}}", "format: {parquet: {compatibility: Current}}"),
        ("topic: orders", "topic: orders2"),
        ("s3://lake/shop/orders/", "s3://lake/shop/orders2/"),
    ] {
        assert_ne!(hash(&BASE.replacen(from, to, 1)), base, "{to}");
    }
}

/// A plan of another hash is another plan: where operators are upgraded, all workers of every job would leave together and begin again. Who
/// changes what `resolve` writes (a default that is written out, a field without `skip_serializing_if`) sees it here. If it has to be, note it in
/// the changelog as a restart of all jobs, and put the new hash here.
#[test]
fn a_plan_keeps_its_hash_from_release_to_release() {
    let plan = resolve_with(GLUE_SAMPLE, &ResolveContext::Local, |_| {}).expect("a plan");
    assert_eq!(plan_hash(&plan), "a22ea79ddb36ead8ab7f1b7d6d97d3c3");
}
