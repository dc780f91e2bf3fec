//! What one worker leaves behind, another one finishes: nothing is doubled or lost when workers die, join and are replaced.
//!
//! A test binary of its own, and one test at a time, because some let the process fail.

#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "pipeline/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::util::display::array_value_to_string;
use jiff::Timestamp;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use sluice_crds::condition::Reason;
use sluice_crds::plan::{JobPlan, Mode, StartPosition};
use sluice_crds::report::WorkerReport;
use sluice_worker::ledger::record::{Body, Commit, Counts, OffsetRange, Published};
use sluice_worker::ledger::{Decision, Ledger};
use sluice_worker::pipeline::stores::Stores;
use sluice_worker::write::read_back;
use tokio::sync::{Mutex, MutexGuard};

use world::World;

/// Fault points are of the whole process.
async fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// `n` good records; every tenth is filtered out by the usual job.
fn good(n: usize) -> Vec<String> {
    (0..n)
        .map(|i| format!(r#"{{"id":"r{i}","amount":{},"at":{}}}"#, if i % 10 == 0 { -1 } else { 1 }, i * 600_000))
        .collect()
}

fn all_of(n: usize) -> BTreeSet<String> {
    (0..n).filter(|i| i % 10 != 0).map(|i| format!("r{i}")).collect()
}

/// A job that goes on for ever, and whose windows stay open.
fn continuous(world: &World) -> JobPlan {
    JobPlan { mode: Mode::Continuous, ..world.plan("") }
}

fn read(report: &WorkerReport) -> i64 {
    report.partitions.iter().map(|partition| partition.position).sum()
}

/// A worker that dies at a fault point before anything is visible.
async fn die(world: &World, plan: &JobPlan, point: &str) {
    fail::cfg(point, "panic").expect("a fault point");
    let stop = world.run_to_the_end(plan).await.expect_err("it dies");
    fail::remove(point);
    assert_eq!(stop.reason, Reason::Internal, "{stop}");
    assert_eq!(world.ids().len(), 0, "nothing is visible yet");
}

/// Another member of the job, which looks at nothing but the ledger.
async fn member(plan: &JobPlan) -> Ledger {
    let stores = Stores::open(plan, Path::new("/nonexistent")).expect("stores");
    let (objects, prefix) = stores.checkpoint.objects();
    let url = &plan.checkpoint.url;
    let found = Ledger::open_existing(objects.clone(), prefix.clone(), url).await.expect("a ledger");
    Ledger::open(objects, prefix, url, found.owner()).await.expect("the same ledger")
}

/// The position of partition 0 as the consumer group has it.
fn told_to_the_group(plan: &JobPlan) -> Option<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", plan.source.kafka.bootstrap_servers.join(","))
        .set("group.id", &plan.source.group_id)
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition(&plan.source.topic, 0);
    let list = consumer.committed_offsets(list, Duration::from_secs(30)).expect("an answer");
    match list.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_worker_decided_is_visible_before_its_partitions_are_read_on() {
    let _alone = alone().await;
    let world = World::new(2);
    world.produce(&good(100));
    die(&world, &world.plan(""), "publish.before").await;
    let next = world.start(continuous(&world));
    next.until(|report| !report.partitions.is_empty()).await;
    assert_eq!(world.ids(), all_of(100));
    next.drain().await.expect("drains");
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_group_is_told_of_what_is_visible_and_of_nothing_else() {
    let _alone = alone().await;
    let world = World::new(1);
    let plan = world.plan("");
    world.produce(&good(50));
    die(&world, &plan, "publish.before").await;
    assert_ne!(told_to_the_group(&plan), Some(50), "decided, but not visible");
    let next = world.start(continuous(&world));
    next.until(|report| !report.partitions.is_empty()).await;
    assert_eq!(world.ids(), all_of(50), "the next worker publishes");
    let told = async {
        while told_to_the_group(&plan) != Some(50) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it tells the group when it gets a partition");
    next.drain().await.expect("drains");
    world.run_to_the_end(&plan).await.expect("the first run ends where it was to end");
    world.produce(&good(20));
    world.run_to_the_end(&plan).await.expect("a batch of its own");
    assert_eq!(told_to_the_group(&plan), Some(70));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_where_it_was_decided_to_end_whoever_finishes_it() {
    let _alone = alone().await;
    for (point, left) in [("commit.before", 100), ("publish.before", 0)] {
        let world = World::new(2);
        world.produce(&good(100));
        die(&world, &world.plan(""), point).await;
        world.produce(&(0..50).map(|i| format!(r#"{{"id":"late{i}","amount":1,"at":0}}"#)).collect::<Vec<_>>());
        let joined = world.run_to_the_end(&world.plan("")).await.expect("the rest of the run");
        assert_eq!((joined.totals.read, world.ids()), (left, all_of(100)), "{point}");
        let next = world.run_to_the_end(&world.plan("")).await.expect("another run");
        assert_eq!(next.totals.read, 50);
        world.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_at_the_end_is_the_end_of_every_partition() {
    let _alone = alone().await;
    let world = World::new(3);
    world.produce(&good(100));
    let mut plan = world.plan("");
    plan.source.start_position = StartPosition::Latest;
    let first = world.run_to_the_end(&plan).await.expect("there is nothing to read");
    assert_eq!(first.totals.read, 0);
    world.produce(&good(30));
    let second = world.run_to_the_end(&plan).await.expect("what came since");
    assert_eq!((second.totals.read, world.ids()), (30, all_of(30)));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_visible_before_the_next_one_is_committed() {
    let _alone = alone().await;
    let world = World::new(1);
    let mut plan = continuous(&world);
    plan.window.period = Duration::from_millis(100);
    // Much longer than a window, so that the next one is due while the files are not visible.
    fail::cfg("publish.before", "sleep(600)").expect("a fault point");
    let running = world.start(plan);
    for batch in 1..=3 {
        world.produce(&good(20));
        world.until_committed(20 * batch).await;
    }
    running.drain().await.expect("drains");
    fail::remove("publish.before");
    let mut visible = BTreeSet::new();
    let mut before = None;
    for (seq, body) in (0..).zip(world.records().await) {
        match body {
            Body::Commit(commit) => {
                visible.extend(commit.published);
                assert!(before.is_none_or(|before| visible.contains(&before)), "{before:?} was not visible at {seq}");
                before = Some(seq);
            }
            Body::Published(published) => visible.extend(published.seqs),
            _ => {}
        }
    }
    assert!(visible.len() >= 3, "{visible:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_batch_goes_back_to_the_ledger_with_all_partitions_and_leaves_nothing_behind() {
    let _alone = alone().await;
    let world = World::new(2);
    world.produce(&good(100));
    let mut plan = continuous(&world);
    plan.window.max_records = Some(200);
    let running = world.start(plan.clone());
    running.until(|report| read(report) == 100).await;

    // Somebody else commits partition 0, as one does who was given it by mistake or while this worker was frozen.
    let mut other = member(&plan).await;
    let state = other.state();
    let range = OffsetRange {
        topic: plan.source.topic.clone(),
        topic_id: state.topic_id.clone().expect("a topic"),
        partition: 0,
        from: 0,
        to: 50,
    };
    let commit = Commit {
        worker: "other".to_owned(),
        batch: "other".to_owned(),
        plan: state.plan.clone().expect("a plan").hash,
        window_start: Timestamp::now(),
        window_end: Timestamp::now(),
        ranges: vec![range],
        files: Vec::new(),
        counts: Counts { read: 50, filtered: 50, ..Counts::default() },
        published: Vec::new(),
    };
    let record = other.record(Body::Commit(commit));
    let Ok(Decision::Decided { seq }) = other.decide(&record).await else { panic!("nobody else is there") };
    let record = other.record(Body::Published(Published { seqs: vec![seq] }));
    other.decide(&record).await.expect("decides");

    world.produce(&good(100));
    running.until(|report| report.totals.voided == 1).await;
    // The window that is open now has 150 records of what was dropped, and is full with these.
    world.produce(&good(100));
    world.until_committed(50 + 200).await;
    let report = running.drain().await.expect("drains");
    assert_eq!(report.totals.voided, 1);
    assert_eq!(world.staged_files(), Vec::<PathBuf>::new());
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_commits_the_open_window_before_the_partitions_go() {
    let _alone = alone().await;
    let world = World::new(2);
    world.produce(&good(100));
    let first = world.start(continuous(&world));
    first.until(|report| read(report) == 100).await;
    assert_eq!(world.ids().len(), 0, "the window is open for an hour");
    let second = world.start(continuous(&world));
    world.until_committed(100).await;
    second.until(|report| !report.partitions.is_empty()).await;
    assert_eq!(world.ids(), all_of(100));
    let (one, two) = (first.drain().await.expect("drains"), second.drain().await.expect("drains"));
    assert_eq!((one.totals.read, two.totals.read), (100, 0));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_lost_partitions_is_dropped_and_read_again() {
    let _alone = alone().await;
    let world = World::new(1);
    let kafka = MockCluster::new(1).expect("a broker");
    kafka.create_topic("orders", 2, 1).expect("a topic");
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", kafka.bootstrap_servers()).create().expect("a producer");
    for (partition, record) in (0..2).cycle().zip(&good(100)) {
        let record = BaseRecord::<(), _>::to("orders").partition(partition).payload(record);
        producer.send(record).map_err(|(error, _)| error).expect("produces");
    }
    producer.flush(Duration::from_secs(30)).expect("arrives");
    let mut plan = continuous(&world);
    plan.source.kafka.bootstrap_servers = vec![kafka.bootstrap_servers()];
    plan.source.kafka.config.insert("heartbeat.interval.ms".to_owned(), "200".to_owned());
    let running = world.start(plan);
    running.until(|report| read(report) == 100).await;
    // The group has given it up, as it does with a worker that was frozen.
    kafka.request_errors(RDKafkaApiKey::Heartbeat, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID]);
    running.until(|report| report.partitions.is_empty()).await;
    running.until(|report| read(report) == 100).await;
    let report = running.drain().await.expect("drains");
    assert_eq!((report.totals.read, world.ids()), (100, all_of(100)));
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_an_older_plan_stops_when_a_newer_one_is_at_work() {
    let _alone = alone().await;
    let world = World::new(2);
    world.produce(&good(100));
    let old = world.start(continuous(&world));
    old.until(|report| read(report) == 100).await;
    let mut plan = continuous(&world);
    plan.parameters.insert("least".to_owned(), "-5".to_owned());
    let new = world.start(plan);
    let stop = old.ended().await.expect_err("its plan is not in force any more");
    assert_eq!(stop.reason, Reason::Superseded, "{stop}");
    new.until(|report| read(report) == 100).await;
    new.drain().await.expect("drains");
    assert_eq!(world.ids().len(), 100, "by the new plan, each once");
    world.audit().await;
}

/// Rewrites the commit record that lies in the folder of the ledger.
fn tamper(plan: &JobPlan, change: impl Fn(&mut serde_json::Value)) {
    let folder = plan.checkpoint.url.strip_prefix("file://").expect("a folder");
    let mut commits = 0;
    for entry in std::fs::read_dir(Path::new(folder).join("ledger")).expect("a ledger") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read(&path).expect("a record");
        let mut record: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        if record["kind"] == "Commit" {
            change(&mut record);
            std::fs::write(&path, record.to_string()).expect("writes");
            commits += 1;
        }
    }
    assert_eq!(commits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_whose_ranges_give_another_number_of_rows_is_never_published() {
    let _alone = alone().await;
    let world = World::new(1);
    let plan = world.plan("");
    world.produce(&good(100));
    die(&world, &plan, "publish.before").await;
    world.staged_files().iter().for_each(|file| std::fs::remove_file(file).expect("removes"));
    tamper(&plan, |record| {
        let rows = record["files"][0]["rows"].as_u64().expect("rows");
        record["files"][0]["rows"] = (rows + 1).into();
    });
    let stop = world.run_to_the_end(&plan).await.expect_err("a record is missing");
    assert_eq!(stop.reason, Reason::DataLossRisk, "{stop}");
    assert!(!world.records().await.iter().any(|body| matches!(body, Body::Repair(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_made_again_has_the_time_of_its_window() {
    let _alone = alone().await;
    let world = World::new(1);
    world.produce(&good(100));
    // Almost seventeen hours of records from noon on are two days, so two files.
    let day = "CAST(to_timestamp_millis(at + 43200000) AS DATE)";
    let plan = world.plan(&format!(r#"[{{derive: {{day: "{day}", seen: "CAST(now() AS STRING)"}}}}]"#));
    die(&world, &plan, "publish.before").await;
    std::fs::remove_file(&world.staged_files()[0]).expect("removes");
    let next = world.run_to_the_end(&plan).await.expect("the next run mends it");
    assert_eq!((next.totals.read, world.ids().len()), (0, 100));
    let folder = plan.sink.location.url.strip_prefix("file://").expect("a folder");
    let mut times = BTreeMap::new();
    for batch in read_back::parquet_folder(Path::new(folder)).expect("sound files") {
        let column = batch.column_by_name("seen").expect("the column");
        for row in 0..batch.num_rows() {
            *times.entry(array_value_to_string(column, row).expect("a text")).or_insert(0) += 1;
        }
    }
    assert_eq!(times.into_values().collect::<Vec<_>>(), [100], "one window, one time");
}
