//! A process that is killed around its PUT.

use super::*;

/// The folder in which the process below works.
const FOLDER: &str = "SLUICE_TEST_LEDGER";

/// Not a test by itself: the process that the next test starts.
#[tokio::test]
#[ignore = "ends its process: another test runs it in one of its own"]
async fn a_process_that_decides_one_record() {
    let folder = std::env::var(FOLDER).unwrap();
    let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder).unwrap());
    let mut ledger = open(&store).await.unwrap();
    crate::fault::arm().unwrap();
    decide(&mut ledger, start(true, &[(0, 0)])).await;
}

#[tokio::test]
async fn a_process_killed_around_its_put_has_decided_all_or_nothing() {
    for (point, records) in [("ledger.put.before", 0), ("ledger.put.after", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "ledger::tests::killed::a_process_that_decides_one_record"])
            .env(FOLDER, folder.path())
            .env(crate::fault::VARIABLE, format!("{point}=return"))
            .output();
        let child = child.await.unwrap();
        assert!(std::os::unix::process::ExitStatusExt::signal(&child.status).is_some(), "{child:?}");
        let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        let mut ledger = open(&store).await.unwrap();
        assert_eq!(ledger.history().await.unwrap().len(), records, "{point}");
        let again = decide(&mut ledger, start(true, &[(0, 0)])).await;
        assert_eq!(matches!(again, Decision::Decided { seq: 0 }), records == 0, "{point}: {again:?}");
    }
}
