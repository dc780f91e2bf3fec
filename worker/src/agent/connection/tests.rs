//! What is said of connections, of those that work and of those that do not.

use std::path::Path;

use super::super::testing;
use super::*;
use crate::source::EmbeddedKafka;

fn stop(reason: Reason) -> Stop {
    Stop::new(reason, "words")
}

#[test]
fn a_location_that_works_proves_an_s3_connection_and_one_that_overwrites_spoils_it() {
    use Reason::{AuthenticationFailed, AuthorizationFailed, ConfigInvalid, SinkUnavailable};
    let skew = Duration::from_secs(3);
    for (greeting, visits, reason, conditional) in [
        (Ok(Some(skew)), vec![], "Connected", None),
        (Ok(Some(skew)), vec![Ok(true)], "Connected", Some(true)),
        (Ok(None), vec![Err(stop(AuthorizationFailed)), Ok(true)], "Connected", Some(true)),
        // A proxy that lets buckets through and nothing else.
        (Err(stop(SinkUnavailable)), vec![Ok(true)], "Connected", Some(true)),
        (Ok(None), vec![Ok(true), Ok(false)], "ConditionalWritesUnsupported", Some(false)),
        (Ok(None), vec![Err(stop(AuthorizationFailed))], "AuthorizationFailed", None),
        (Ok(None), vec![Err(stop(ConfigInvalid))], "ConfigInvalid", None),
        (Err(stop(AuthenticationFailed)), vec![Err(stop(SinkUnavailable))], "AuthenticationFailed", None),
        (Err(stop(SinkUnavailable)), vec![], "Unreachable", None),
    ] {
        let told = greeting.as_ref().ok().copied().flatten();
        let found = judge(greeting, visits);
        let s3 = found.s3.expect("findings");
        assert_eq!((found.finding.reason.as_str(), s3.conditional_writes), (reason, conditional));
        assert_eq!((s3.clock_skew.map(units::Duration::get), s3.multipart), (told, conditional.map(|_| true)));
        assert_eq!(found.finding.ok, reason == "Connected");
    }
}

/// Tests a connection of these manifests.
async fn tested(text: &str, name: &str, secrets: &Path) -> ConnectionReport {
    let world = testing::world(text);
    test(&world.connections[name], &Secrets::new(secrets)).await
}

#[tokio::test]
async fn a_missing_secret_is_named_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let report = tested(testing::CLUSTER, "lake", folder.path()).await;
    assert_eq!((report.generation, report.finding.reason.as_str()), (4, "SecretNotFound"));
    assert!(report.finding.message.contains("key `key` of Secret `lake` is not there"), "{}", report.finding.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("lake")).unwrap();
    for key in ["key-id", "key"] {
        std::fs::write(folder.path().join("lake").join(key), "hunter2").unwrap();
    }
    let text = testing::CLUSTER.replace("kafka-0:9092", "127.0.0.1:1");
    let (s3, kafka) = tokio::join!(tested(&text, "lake", folder.path()), tested(&text, "kafka", folder.path()));
    for report in [s3, kafka] {
        assert_eq!(report.finding.reason, "Unreachable", "{report:?}");
        assert!(report.finding.message.contains("refused"), "the system's own words: {}", report.finding.message);
        assert!(!format!("{report:?}").contains("hunter2"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_answers_is_connected_and_described() {
    let (broker, _producer) = EmbeddedKafka::start("orders", 1).unwrap();
    let text = testing::CLUSTER.replace("kafka-0:9092", &broker.bootstrap_servers());
    let report = tested(&text, "kafka", Path::new("/nonexistent")).await;
    assert!(report.finding.ok && report.finding.reason == "Connected", "{report:?}");
    let kafka = report.kafka.expect("findings");
    assert_eq!(kafka.brokers, Some(1));
    assert!(kafka.cluster_id.is_some_and(|id| !id.is_empty()) && kafka.round_trip.is_some());
}

#[tokio::test]
async fn a_connection_that_cannot_be_understood_says_why() {
    let text = testing::CLUSTER.replacen("bootstrapServers: [\"kafka-0:9092\"]", "bootstrapServers: [\"kafka-0\"]", 1);
    let report = tested(&text, "kafka", Path::new("/nonexistent")).await;
    assert_eq!(report.finding.reason, "ConfigInvalid");
    assert!(report.finding.message.contains("`kafka-0` is not host:port"), "{}", report.finding.message);
}
