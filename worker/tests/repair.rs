//! A file that was decided and then lost is made again, exactly. A test binary of its own, because it lets the process fail.

#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "pipeline/world.rs"]
mod world;

use std::path::PathBuf;
use std::sync::Arc;

use sluice_crds::condition::Reason;
use sluice_crds::plan::{JobPlan, plan_hash};
use sluice_worker::ledger::record::{Body, FileRole};
use sluice_worker::pipeline::repair::Repairer;
use sluice_worker::pipeline::stores::FileStores;
use tokio::sync::Mutex;

use world::World;

/// Fault points are the process's, so one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs a job up to its first commit, of which nothing becomes visible.
async fn die_before_publishing(world: &World, plan: &JobPlan) {
    fail::cfg("publish.before", "panic").expect("a fault point");
    let stop = world.run_to_the_end(plan).await.expect_err("it dies between commit and publish");
    fail::remove("publish.before");
    assert_eq!(stop.reason, Reason::Internal, "{stop}");
}

/// Every other staged file goes, and all dead letters. Says how many.
fn remove_every_other(world: &World) -> usize {
    let staged = world.staged_files();
    assert!(staged.len() > 4, "{staged:?}");
    let mut removed = 0;
    for (index, file) in staged.iter().enumerate() {
        if index % 2 == 0 || file.to_string_lossy().contains("dl_date") {
            std::fs::remove_file(file).expect("removes");
            removed += 1;
        }
    }
    removed
}

async fn repairs(world: &World) -> usize {
    world.records().await.iter().filter(|body| matches!(body, Body::Repair(_))).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_somebody_removed_after_the_commit_are_made_again_exactly() {
    let _alone = ALONE.lock().await;
    let world = World::new(3);
    let mut records: Vec<String> = (0..900)
        .map(|i| format!(r#"{{"id":"r{i}","amount":{},"at":{}}}"#, if i % 10 == 0 { -1 } else { 1 }, i * 600_000))
        .collect();
    records.extend((0..3).map(|_| "{broken".to_owned()));
    // No folder has the name of its day.
    records.push(r#"{"id":"far","amount":1,"at":400000000000000}"#.to_owned());
    world.produce(&records);

    die_before_publishing(&world, &world.plan("")).await;
    assert_eq!((world.ids().len(), world.dead_letters().len()), (0, 0), "nothing is visible yet");

    let removed = remove_every_other(&world);

    let report = world.run_to_the_end(&world.plan("")).await.expect("the next run mends it");
    assert_eq!(report.totals.read, 0, "nothing is read anew");
    assert_eq!(world.ids(), (0..900).filter(|i| i % 10 != 0).map(|i| format!("r{i}")).collect());
    assert_eq!(world.dead_letters().len(), 4);
    world.audit().await;
    assert_eq!(repairs(&world).await, removed);
    assert_eq!(world.staged_files(), Vec::<PathBuf>::new(), "nothing is left behind");
}

/// A row for each day and amount, which says what it was made of and when its window was.
const AGGREGATE: &str = r#"[
    {derive: {day: "CAST(to_timestamp_millis(at) AS DATE)", part: "100 / CAST(amount AS INT)"}},
    {aggregate: {groupBy: [day, part], select: {n: "count(*)", least: "min(id)"}, scope: Batch}},
    {derive: {of: "concat_ws('/', CAST(day AS STRING), CAST(part AS STRING), CAST(n AS STRING), least, CAST(now() AS STRING))"}},
]"#;

/// Every seventh amount is zero, and the last three records are broken.
fn amounts() -> Vec<String> {
    let good = (0..900).map(|i| format!(r#"{{"id":"r{i}","amount":{},"at":{}}}"#, i % 7, i * 600_000));
    good.chain((0..3).map(|_| "{broken".to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_files_of_an_aggregate_are_made_again_from_the_whole_batch() {
    let _alone = ALONE.lock().await;
    let world = World::new(3);
    world.produce(&amounts());
    let plan = world.plan(AGGREGATE);
    die_before_publishing(&world, &plan).await;
    let rows = world.staged_column("of");
    assert!(rows.len() > 20, "{rows:?}");
    let removed = remove_every_other(&world);
    world.run_to_the_end(&plan).await.expect("the next run mends it");
    assert_eq!(repairs(&world).await, removed);
    assert_eq!(world.column("of"), rows, "the same rows as before, with the time of the same window");
    assert_eq!(world.dead_letters().len(), 129 + 3);
    world.audit_of(true).await;
    assert_eq!(world.staged_files(), Vec::<PathBuf>::new(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_an_aggregate_is_not_made_again_when_its_batch_gives_other_results() {
    let _alone = ALONE.lock().await;
    let world = World::new(3);
    world.produce(&amounts());
    die_before_publishing(&world, &world.plan(AGGREGATE)).await;
    let records = world.records().await;
    let commit = records.into_iter().find_map(|body| if let Body::Commit(commit) = body { Some(commit) } else { None });
    let commit = commit.expect("a commit");
    let file = commit.files.iter().find(|file| file.role == FileRole::Table).expect("a table file").clone();
    let other = commit.files.iter().rposition(|file| file.role == FileRole::Table).expect("another one");
    let ledger = Arc::new(Mutex::new(world.ledger().await));
    let plan = world.plan(AGGREGATE);
    let current = (plan_hash(&plan), Arc::new(plan));
    let stores = Arc::new(FileStores::new(current, Arc::new(world.stores()), ledger, PathBuf::new()));
    let repairer = Repairer::new(stores, PathBuf::new());
    let again = repairer.remake(&commit, &file).await.expect("what was decided comes out again");
    assert_eq!(again.url, file.url);

    let mut changed = commit.clone();
    changed.files[other].rows += 1;
    let mut doubled = commit.clone();
    doubled.files.push(doubled.files[other].clone());
    let mut shorter = commit.clone();
    shorter.ranges.pop();
    for (commit, why) in [
        (changed, "other results now"),
        (doubled, "several files of one partition"),
        (shorter, "903 and 132 were decided"),
    ] {
        let stop = repairer.remake(&commit, &file).await.expect_err(why);
        assert_eq!(stop.reason, Reason::DataLossRisk, "{stop}");
        assert!(stop.message.contains(why) && stop.message.contains(&file.url), "{stop}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_earlier_plan_become_visible_where_that_plan_wanted_them() {
    let _alone = ALONE.lock().await;
    let world = World::new(3);
    world.produce(&amounts());
    die_before_publishing(&world, &world.plan("")).await;
    let staged = world.staged_files();
    assert!(staged.len() > 2, "{staged:?}");
    // One is lost, too: the earlier plan makes it again.
    std::fs::remove_file(&staged[0]).expect("removes");
    let mut moved = world.plan("");
    for location in [&mut moved.sink.location, &mut moved.dead_letter.as_mut().expect("dead letters").location] {
        location.url = location.url.replace("/orders/", "/moved/").replace("/dead/", "/moved-dead/");
    }
    world.produce(&[r#"{"id":"new","amount":1,"at":0}"#.to_owned(), "{broken".to_owned()]);
    world.run_to_the_end(&moved).await.expect("the next plan publishes what the first has decided");
    world.run_to_the_end(&moved).await.expect("that run had its ends already; this one reads on");
    assert_eq!(world.ids(), (0..900).filter(|i| i % 7 != 0).map(|i| format!("r{i}")).collect());
    assert_eq!(world.dead_letters().len(), 3);
    assert_eq!(world.column_in("moved", "id"), ["new".to_owned()].into());
    world.audit().await;
    assert_eq!(world.staged_files(), Vec::<PathBuf>::new(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_whose_records_are_gone_stalls_the_job() {
    let _alone = ALONE.lock().await;
    let world = World::new(1);
    world.produce(&amounts());
    let plan = world.plan("");
    die_before_publishing(&world, &plan).await;
    remove_every_other(&world);
    // The embedded Kafka keeps 5 MiB of a partition.
    let filler = "x".repeat(20_000);
    world.produce(&(0..600).map(|i| format!(r#"{{"id":"{i}{filler}","amount":1,"at":0}}"#)).collect::<Vec<_>>());
    let stop = world.run_to_the_end(&plan).await.expect_err("the rows cannot be made again");
    assert_eq!((stop.reason, stop.exit_code), (Reason::DataLossRisk, 5), "{stop}");
    assert!(stop.message.contains("its records are gone from the topic"), "{stop}");
}
