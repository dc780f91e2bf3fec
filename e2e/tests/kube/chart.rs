//! The life of a release: installed, tested, upgraded, uninstalled, installed again, and no job notices.

use anyhow::{Result, ensure};
use sluice_e2e::k8s::kinds::{POD, STREAMING_JOB};
use sluice_e2e::k8s::operator::{PODS, RELEASE};
use sluice_e2e::k8s::stage::{SOON, promise_alone};
use sluice_e2e::load::Load;

#[test]
fn a_release_is_tested_upgraded_uninstalled_and_installed_while_a_job_runs() -> Result<()> {
    promise_alone("kube_chart", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let (load, watcher) = (Load::start(sender, 200), stage.world.watch(&job));
        stage.start(&job).await?;
        let said = stage.operator.helm(&["test", RELEASE, "--timeout", "2m"]).await?;
        ensure!(said.ok, "helm test: {}{}", said.out, said.err);
        stage.operator.install(&["log.format=text", "podLabels.upgraded=yes"]).await?;
        let upgraded = stage.operator.kube().list(POD, &format!("{PODS},upgraded=yes")).await?;
        ensure!(upgraded.len() == 1, "{} operators are of the upgrade", upgraded.len());

        let said = stage.operator.helm(&["uninstall", RELEASE, "--wait", "--timeout", "2m"]).await?;
        ensure!(said.ok, "helm uninstall: {}{}", said.out, said.err);
        let kept = stage.kube.get(STREAMING_JOB, &job.name).await?;
        ensure!(kept.is_some(), "the job went with the operator");
        stage.until_caught_up(&job).await?;
        stage.operator.install(&[]).await?;
        stage.until_ready(&job).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await?;
        stage
            .until(&job, "its status tells of the end", SOON, |job| job["status"]["lag"]["records"] == 0)
            .await
            .map(drop)
    })
}
