//! Servers, properties, parameters and bounds.

use super::*;

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
