//! What is asked of a topic.

use super::*;

#[test]
fn a_topic_is_described_with_its_id_partitions_and_offsets() {
    let world = World::new("t", 3);
    world.produce("t", 1, 0..5);
    let topic = TopicClient::new(&world.kafka(), "t", Path::new(NO_SECRETS), "ns.job").unwrap();
    let info = topic.describe(PATIENCE).unwrap();
    assert_eq!((info.partitions.clone(), info.topic_id.len()), (vec![0, 1, 2], 22), "{info:?}");
    assert_eq!(topic.describe(PATIENCE).unwrap(), info, "the id stays");
    assert_eq!(topic.beginnings(&info.partitions, PATIENCE).unwrap(), same(0..3, 0));
    let ends = BTreeMap::from([(0, 0), (1, 5), (2, 0)]);
    assert_eq!(topic.ends(&info.partitions, PATIENCE).unwrap(), ends);
    assert_eq!(topic.start_positions(&info.partitions, StartPosition::Earliest, PATIENCE).unwrap(), same(0..3, 0));
    assert_eq!(topic.start_positions(&info.partitions, StartPosition::Latest, PATIENCE).unwrap(), ends);
    // The mock has no time index: every time is behind the last record.
    let time = StartPosition::Timestamp { time: jiff::Timestamp::now() };
    assert_eq!(topic.start_positions(&info.partitions, time, PATIENCE).unwrap(), ends);
    assert!(!topic.cluster_id(PATIENCE).unwrap().is_empty());
    assert_eq!(topic.trouble(), None);
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let world = World::new("t", 1);
    let topic = TopicClient::new(&world.kafka(), "other", Path::new(NO_SECRETS), "ns.job").unwrap();
    let error = topic.describe(PATIENCE).unwrap_err();
    assert_eq!(error.reason(), Reason::ReferenceNotFound);
    assert!(error.to_string().contains("`other` does not exist"), "{error}");
}

#[test]
fn brokers_that_do_not_answer_are_named_within_the_time_out() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let servers = format!("127.0.0.1:{port}");
    let topic = TopicClient::new(&kafka(&servers), "t", Path::new(NO_SECRETS), "ns.job").unwrap();
    let start = Instant::now();
    let error = topic.describe(Duration::from_secs(2)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!((error.reason(), error.retry()), (Reason::SourceUnavailable, true));
    let text = error.to_string();
    assert!(text.contains(&servers) && text.contains("refused"), "{text}");
}
