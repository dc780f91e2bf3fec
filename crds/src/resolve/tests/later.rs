//! What a later release does.

use super::*;

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
