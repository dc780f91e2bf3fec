//! What is named must be there, and of the right kind.

use super::*;

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
fn a_path_is_no_secret_and_is_never_repeated() {
    let file = |name: &str, key: &str| {
        errors_of(|all| {
            let keys = format!(r#"{{"secretName": "{name}", "accessKeyId": "id", "secretAccessKey": "{key}"}}"#);
            let lake = all.connections.get_mut(&ObjectKey::new("etl", "lake")).expect("a connection");
            lake.spec.s3.as_mut().expect("s3").credentials = Some(serde_json::from_str(&keys).expect("keys"));
        })
    };
    let name = file("../lake", "key");
    assert!(
        name[0].starts_with("Connection etl/lake: spec.s3.credentials.secretName is no name of a Secret"),
        "{name:?}"
    );
    for wrong in ["../../token", "..", "hunter 2"] {
        let key = file("lake", wrong);
        assert!(
            key[0].starts_with("Connection etl/lake: spec.s3.credentials.secretAccessKey is no key of a Secret"),
            "{key:?}"
        );
        assert!(key.iter().all(|error| !error.contains(wrong)), "it may be the value itself: {key:?}");
    }
    let login = |member: &str| {
        errors_of(|all| {
            let kafka = all.connections.get_mut(&ObjectKey::new("etl", "kafka")).expect("a connection");
            let kafka = kafka.spec.kafka.as_mut().expect("kafka");
            kafka.tls = Some(
                serde_json::from_str(
                    r#"{"trustedCertificates": [{"secretName": "ca", "certificate": "/etc/passwd"}]}"#,
                )
                .expect("tls"),
            );
            kafka.authentication = Some(serde_json::from_str(&format!("{{{member}}}")).expect("a login"));
        })
    };
    let certificate = "spec.kafka.tls.trustedCertificates[0].certificate is no key of a Secret";
    for (member, place) in [
        (
            r#""type": "tls", "certificateAndKey": {"secretName": "a", "certificate": "c", "key": "a/b"}"#,
            "certificateAndKey.key is no key",
        ),
        (
            r#""type": "plain", "username": "u", "passwordSecret": {"secretName": "A", "password": "p"}"#,
            "passwordSecret.secretName is no name",
        ),
    ] {
        let told = login(member);
        assert!(told.len() == 2 && told.iter().any(|error| error.contains(place)), "{told:?}");
        assert!(told.iter().any(|error| error.contains(certificate)), "{told:?}");
    }
}
