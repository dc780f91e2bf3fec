//! Against a real broker.

use super::*;

/// Needs a real broker: `SLUICE_TEST_KAFKA` is a plaintext listener, `SLUICE_TEST_KAFKA_SASL` a listener with TLS and SASL PLAIN, and
/// `SLUICE_TEST_KAFKA_CA` the folder of its `ca.crt`.
#[test]
#[ignore = "needs a real broker: make e2e runs it"]
#[allow(clippy::too_many_lines)] // One broker, one story.
fn transactions_are_read_committed_and_a_refused_login_is_named() {
    let servers = std::env::var("SLUICE_TEST_KAFKA").expect("SLUICE_TEST_KAFKA");
    let config = |id: &str| ClientConfig::new().set("bootstrap.servers", &servers).set("transactional.id", id).clone();
    let topic = format!("t{}", jiff::Timestamp::now().as_nanosecond());
    let world = World { producer: config(&topic).create().unwrap(), cluster: MockCluster::new(1).unwrap() };
    let client = TopicClient::new(&kafka(&servers), &topic, Path::new(NO_SECRETS), "j").unwrap();
    assert_eq!(client.describe(PATIENCE).unwrap_err().reason(), Reason::ReferenceNotFound);
    let admin: rdkafka::admin::AdminClient<_> =
        ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let new = rdkafka::admin::NewTopic::new(&topic, 1, rdkafka::admin::TopicReplication::Fixed(1));
    futures::executor::block_on(admin.create_topics(&[new], &rdkafka::admin::AdminOptions::new())).unwrap();
    world.producer.init_transactions(PATIENCE).unwrap();
    world.producer.begin_transaction().unwrap();
    world.produce(&topic, 0, 0..5);
    world.producer.commit_transaction(PATIENCE).unwrap();
    let between = jiff::Timestamp::now();
    world.producer.begin_transaction().unwrap();
    world.produce(&topic, 0, 0..3);
    world.producer.abort_transaction(PATIENCE).unwrap();
    // Five records, a marker, three aborted records, a marker.
    assert_eq!(client.ends(&[0], PATIENCE).unwrap(), same([0], 10));
    let info = client.describe(PATIENCE).unwrap();
    assert_eq!((info.topic_id.len(), info.partitions.as_slice()), (22, &[0][..]));
    let after = StartPosition::Timestamp { time: between };
    // The marker has a time, too, and it may be a little later than the commit.
    let found = client.start_positions(&[0], after, PATIENCE).unwrap();
    assert!((5..=6).contains(&found[&0]), "{found:?}");
    let mut running = world.reader(&topic, |config| {
        config.source.kafka = kafka(&servers);
        config.source.group_id.clone_from(&topic);
    });
    running.assign(&same([0], 0));
    let (got, positions) = running.read_to_end(&same([0], 10));
    assert_eq!((got[&0].as_slice(), positions), (&[0, 1, 2, 3, 4][..], same([0], 10)));
    // An open transaction is behind the end.
    world.producer.begin_transaction().unwrap();
    world.produce(&topic, 0, 0..2);
    assert_eq!(client.ends(&[0], PATIENCE).unwrap(), same([0], 10));
    assert_eq!(running.close(1), (Got::new(), same([0], 10)));
    world.producer.commit_transaction(PATIENCE).unwrap();
    let (got, positions) = running.read_to_end(&same([0], 13));
    assert_eq!((got[&0].as_slice(), positions), (&[10, 11][..], same([0], 13)));
    running.reader.send(Command::CommitGroup { positions: same([0], 13), metadata: "sluice:7".into() });
    running.stop();

    let mut refused = kafka(&std::env::var("SLUICE_TEST_KAFKA_SASL").expect("SLUICE_TEST_KAFKA_SASL"));
    let folder = tempfile::tempdir().unwrap();
    let file = |key: &str| sluice_crds::plan::SecretFile { secret_name: "s".into(), key: key.into() };
    std::fs::create_dir(folder.path().join("s")).unwrap();
    let ca = std::env::var("SLUICE_TEST_KAFKA_CA").expect("SLUICE_TEST_KAFKA_CA");
    std::fs::copy(Path::new(&ca).join("ca.crt"), folder.path().join("s/ca.crt")).unwrap();
    std::fs::write(folder.path().join("s/password"), "wr0ng-one").unwrap();
    let certificates = vec![file("ca.crt")];
    refused.tls = Some(sluice_crds::plan::TlsPlan { trusted_certificates: certificates, hostname_verification: true });
    refused.authentication =
        Some(sluice_crds::plan::KafkaAuthentication::Plain { username: "bob".into(), password: file("password") });
    let start = Instant::now();
    let error = TopicClient::new(&refused, &topic, folder.path(), "j").unwrap().describe(PATIENCE).unwrap_err();
    assert_eq!(error.reason(), Reason::AuthenticationFailed, "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "told long before the time-out: {:?}", start.elapsed());
    assert!(!error.to_string().contains("wr0ng-one"), "{error}");
    std::fs::write(folder.path().join("s/password"), "bob-secret").unwrap();
    let allowed = TopicClient::new(&refused, &topic, folder.path(), "j").unwrap();
    assert_eq!(allowed.describe(PATIENCE).unwrap(), info);
    refused.tls = Some(sluice_crds::plan::TlsPlan { trusted_certificates: Vec::new(), hostname_verification: true });
    let error = TopicClient::new(&refused, &topic, folder.path(), "j").unwrap().describe(PATIENCE).unwrap_err();
    assert_eq!(error.reason(), Reason::AuthenticationFailed, "{error}");
    println!("{error}");
}
