//! Lifecycle rules of a bucket that endanger what lies there are told at the start, and stop nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::s3::Kind;
use sluice_e2e::world::{promise, promise_on};

const HARMFUL: &str = "deletes objects of the ledger";
const UNKNOWN: &str = "are not known (the answer was 501 NotImplemented)";

#[test]
fn a_rule_that_would_delete_the_ledger_is_told_at_the_start() -> Result<()> {
    promise_on("lifecycle_rules", Kind::Minio, async |world| {
        let topic = world.topic("events", 1).await?;
        let job = world.job(&topic);
        let book = Sender::new(&world.kafka(), &topic, 1, Recipe::new(world.seed()))?.send(100)?;
        let output = world.catch_up("without", &job).await?.output()?;
        ensure!(!output.contains(HARMFUL), "there is no rule yet:\n{output}");
        ensure!(output.matches("stale_uploads_expiry").count() == 1, "what MinIO has instead is told once:\n{output}");

        // Older than the records will ever be here: nothing is deleted while the test runs.
        let rule = |prefix: &str| {
            format!(
                "<LifecycleConfiguration><Rule><ID>tidy</ID><Filter><Prefix>{prefix}</Prefix></Filter>\
                 <Status>Enabled</Status><Expiration><Days>3650</Days></Expiration></Rule></LifecycleConfiguration>"
            )
        };
        world.bucket().set_lifecycle(world.endpoint(), &rule("elsewhere/")).await?;
        let output = world.catch_up("elsewhere", &job).await?.output()?;
        ensure!(!output.contains(HARMFUL), "the rule is for another folder:\n{output}");

        world.bucket().set_lifecycle(world.endpoint(), &rule("")).await?;
        let output = world.catch_up("harmful", &job).await?.output()?;
        ensure!(output.contains(HARMFUL) && output.contains("`tidy`"), "the rule is not told:\n{output}");
        world.judge(&job, &book).await
    })
}

#[test]
fn a_server_without_lifecycle_rules_is_worth_one_line() -> Result<()> {
    promise("lifecycle_unknown", async |world| {
        let topic = world.topic("events", 1).await?;
        let worker = world.start("run", &world.job(&topic))?;
        worker.says(UNKNOWN, Duration::from_mins(1)).await?;
        worker.drain().await?;
        let output = worker.output()?;
        ensure!(output.matches(UNKNOWN).count() == 1, "it is told more than once:\n{output}");
        Ok(())
    })
}
