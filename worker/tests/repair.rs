//! A file that was decided and then lost is made again, exactly. A test binary of its own, because it lets the process fail.

#![allow(missing_docs, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "pipeline/world.rs"]
mod world;

use sluice_crds::condition::Reason;
use sluice_worker::ledger::record::Body;

use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_somebody_removed_after_the_commit_are_made_again_exactly() {
    let world = World::new(3);
    let mut records: Vec<String> = (0..900)
        .map(|i| format!(r#"{{"id":"r{i}","amount":{},"at":{}}}"#, if i % 10 == 0 { -1 } else { 1 }, i * 600_000))
        .collect();
    records.extend((0..3).map(|_| "{broken".to_owned()));
    world.produce(&records);

    fail::cfg("publish.before", "panic").expect("a fault point");
    let stop = world.run_to_the_end(&world.plan("")).await.expect_err("it dies between commit and publish");
    fail::remove("publish.before");
    assert_eq!(stop.reason, Reason::Internal, "{stop}");
    assert_eq!((world.ids().len(), world.dead_letters().len()), (0, 0), "nothing is visible yet");

    // Every other staged file goes, and all dead letters.
    let staged = world.staged_files();
    assert!(staged.len() > 4, "{staged:?}");
    let mut removed = 0;
    for (index, file) in staged.iter().enumerate() {
        if index % 2 == 0 || file.to_string_lossy().contains("dl_date") {
            std::fs::remove_file(file).expect("removes");
            removed += 1;
        }
    }

    let report = world.run_to_the_end(&world.plan("")).await.expect("the next run mends it");
    assert_eq!(report.totals.read, 0, "nothing is read anew");
    assert_eq!(world.ids(), (0..900).filter(|i| i % 10 != 0).map(|i| format!("r{i}")).collect());
    assert_eq!(world.dead_letters().len(), 3);
    world.audit().await;
    let repairs = world.records().await.iter().filter(|body| matches!(body, Body::Repair(_))).count();
    assert_eq!(repairs, removed);
    assert_eq!(world.staged_files(), Vec::<std::path::PathBuf>::new(), "nothing is left behind");
}
