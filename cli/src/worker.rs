//! `sluice worker`: a plan that the operator resolved, in a pod.
//!
//! It is `sluice run` without manifests: the same pipeline, the same signals, the same exit codes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use sluice_crds::plan::JobPlan;
use sluice_worker::error::chain;
use sluice_worker::report::Board;

use crate::{Failure, run};

#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// The plan of the job, as JSON.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Folder of mounted secrets: <folder>/<secret name>/<key>.
    #[arg(long, value_name = "FOLDER")]
    secrets: PathBuf,
    /// Serve /report, /metrics, /healthz and /readyz at this address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Threads that decode, transform and encode [default: one for each core].
    #[arg(long, value_name = "N")]
    lanes: Option<usize>,
}

/// Runs until the job completes, a signal asks to drain, or it cannot go on.
pub async fn worker(args: WorkerArgs) -> Result<(), Failure> {
    let plan = read(&args.plan)?;
    let board = Board::new();
    run::serve("--listen", args.listen, Arc::clone(&board)).await?;
    Ok(run::work(plan, &args.secrets, args.lanes, board).await?)
}

fn read(path: &Path) -> Result<JobPlan, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::config(format!("--plan {}: {}", path.display(), chain(error)));
    let text = std::fs::read(path).map_err(|error| wrong(&error))?;
    JobPlan::from_json(&text).map_err(|error| wrong(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_cannot_be_used_is_named_with_its_file_and_the_mend() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.json");
        let told = || read(&path).expect_err("refused");
        assert!(told().message.contains("plan.json: No such file"), "{}", told());
        for (text, words) in
            [("{}", "missing field `version`"), (r#"{"version": 9}"#, "run the worker of the operator's own release")]
        {
            std::fs::write(&path, text).expect("a file");
            let failure = told();
            assert!(failure.code == 2 && failure.message.contains(words), "{failure}");
        }
    }

    #[test]
    fn a_plan_is_read_as_the_operator_writes_it() {
        let manifest = include_str!("../../docs/examples/01-glue-sample.yaml");
        let (plan, _secrets) =
            crate::job::load_text("job.yaml", manifest).unwrap_or_else(|failure| panic!("{failure}"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&plan).expect("JSON")).expect("a file");
        assert_eq!(read(&path).expect("the same plan"), plan);
    }
}
