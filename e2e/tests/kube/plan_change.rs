//! Another transform in the middle of the stream: in each partition all rows of the old plan come before all rows of the new one.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_e2e::job::{Job, TABLE};
use sluice_e2e::k8s::stage::{SOON, promise};
use sluice_e2e::load::Load;
use sluice_e2e::table::all_stamps;

#[test]
fn no_row_of_the_old_plan_comes_after_the_first_of_the_new_one() -> Result<()> {
    promise("kube_plan_change", async |stage| {
        let (sender, mut job) = stage.job(4).await?;
        job.spec.push("workers: {replicas: 2}".to_owned());
        let (load, watcher) = (Load::start(sender, 500), stage.world.watch(&job));
        stage.start(&job).await?;
        for stamp in ["second", "third"] {
            let plans = stage.world.ledger(&job).await?.plans.len();
            stage.kube.apply(&Job { stamp: stamp.to_owned(), ..job.clone() }.streaming_job()).await?;
            let ends = stage.world.kafka().ends(&job.topic)?;
            let at_work = |ledger: &sluice_e2e::ledger::Ledger| ledger.plans.len() > plans && ledger.reaches(&ends);
            stage.world.until("the new plan has committed", &job, SOON, at_work).await?;
            stage.until_ready(&job).await?;
        }
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await?;
        let mut seen = BTreeMap::<i32, usize>::new();
        for ((partition, offset), stamp) in all_stamps(stage.world.bucket(), &job.path(TABLE)).await? {
            let plan = ["first", "second", "third"].iter().position(|known| *known == stamp);
            let newest = seen.entry(partition).or_default();
            ensure!(
                plan >= Some(*newest),
                "{partition}/{offset} is of plan {stamp}, and a row before it is of a newer one"
            );
            *newest = plan.unwrap_or_default();
        }
        ensure!(
            seen == BTreeMap::from([(0, 2), (1, 2), (2, 2), (3, 2)]),
            "the newest plan of each partition: {seen:?}"
        );
        Ok(())
    })
}

#[test]
fn a_change_that_cannot_work_leaves_the_workers_at_work() -> Result<()> {
    promise("kube_bad_change", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let load = Load::start(sender, 200);
        stage.start(&job).await?;
        let change = json!({"transforms": [{"filter": "no_such_column > 0"}]});
        stage.change(&job, change).await?;
        let told =
            |job: &serde_json::Value| sluice_e2e::k8s::has_condition(job, "ConfigValid", "False", "TransformInvalid");
        stage.until(&job, "the mistake is told", SOON, told).await?;
        let commits = stage.world.ledger(&job).await?.commits.len();
        let more = |ledger: &sluice_e2e::ledger::Ledger| ledger.commits.len() >= commits + 3;
        stage.world.until("the plan before goes on", &job, SOON, more).await?;
        // Back to what it was: nobody was restarted.
        stage.kube.apply(&job.streaming_job()).await?;
        stage.until_ready(&job).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        let plans = stage.world.ledger(&job).await?.plans.len();
        ensure!(plans == 1, "{plans} plans have begun");
        Ok(())
    })
}
