//! What cannot be right is refused by the API server, with words that help, also while no operator runs.

use anyhow::{Result, ensure};
use sluice_e2e::k8s::stage::promise;

/// A line of the test job, what somebody made of it, and words of the refusal.
const MISTAKES: [(&str, &str, &str); 9] = [
    ("  window: {period: 1s}", "  window: {period: 13h}", "window.period must be from 1s to 12h"),
    ("  window: {period: 1s}", "  window: {perod: 1s}", "unknown field \"spec.window.perod\""),
    ("  - drop: [_kafka, event_time]", "  - {drop: [_kafka], filter: \"true\"}", "each step has exactly one of"),
    ("  - drop: [_kafka, event_time]", "  - cast: {event_time: strng}", "there is no such type: use boolean"),
    ("    tableRef: {name: events-raw}", "", "exactly one of tableRef and table must be given"),
    ("  deadLetter:", "  schedule: {cron: \"* * * * *\"}\n  deadLetter:", "schedule needs mode: UntilCaughtUp"),
    (
        "  deadLetter:",
        "  workers: {replicas: 1}\n  autoscaling: {maxReplicas: 2}\n  deadLetter:",
        "workers.replicas and autoscaling exclude each other",
    ),
    ("    tableRef: {name: events-raw}", "    tableRef: {name: [events-raw]}", "must be of type string"),
    (
        "metadata: {name: events}",
        "metadata: {name: a-name-that-is-much-longer-than-the-names-of-pods-may-become}",
        "at most 52 characters",
    ),
];

#[test]
fn a_bad_manifest_is_refused_with_words_that_help() -> Result<()> {
    promise("kube_refused", async |stage| {
        let (_, job) = stage.job(1).await?;
        let good = job.streaming_job();
        for (line, mistake, words) in MISTAKES {
            let bad = good.replacen(line, mistake, 1);
            ensure!(bad != good, "the test job has no line {line}");
            let refusal = stage.kube.refused(&bad).await?;
            ensure!(refusal.contains(words), "of `{mistake}` for `{line}` it is said, without `{words}`:\n{refusal}");
        }
        for (spec, words) in [
            ("{kafka: {bootstrapServers: [\"a:1\"]}, s3: {region: x}}", "exactly one of"),
            (
                "{s3: {region: x, credentials: {secretName: a, accessKeyId: ../b, secretAccessKey: c}}}",
                "is no key of a Secret",
            ),
        ] {
            let connection =
                format!("apiVersion: sluice.dev/v1alpha1\nkind: Connection\nmetadata: {{name: bad}}\nspec: {spec}\n");
            let refusal = stage.kube.refused(&connection).await?;
            ensure!(refusal.contains(words), "of `{spec}` it is said, without `{words}`:\n{refusal}");
        }
        // The good one is let in.
        stage.kube.apply(&good).await
    })
}
