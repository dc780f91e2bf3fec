//! Namespaces of the level `restricted` let in everything that the operator makes, and the operator too.

use anyhow::{Result, ensure};
use sluice_e2e::k8s::kinds::{EVENT, POD};
use sluice_e2e::k8s::operator::{self, Operator};
use sluice_e2e::k8s::stage::{SOON, promise};
use sluice_e2e::k8s::{condition, run};

#[test]
fn a_restricted_namespace_admits_everything() -> Result<()> {
    promise("kube_restricted", async |stage| {
        let (mut sender, mut job) = stage.job(1).await?;
        let book = sender.send(500)?;
        stage.start(&job).await?;
        stage.judge(&job, &book).await?;
        // A bounded run is made of other objects.
        job.name = "once".to_owned();
        job.folder = "once".to_owned();
        job.spec.push("mode: UntilCaughtUp".to_owned());
        stage.kube.apply(&job.streaming_job()).await?;
        let complete = |job: &serde_json::Value| {
            condition(job, "Ready").is_some_and(|ready| ready["status"] == "True" && ready["reason"] == "Completed")
        };
        stage.until(&job, "the run is complete", SOON, complete).await?;
        for event in stage.kube.list(EVENT, "").await? {
            let note = event["note"].as_str().unwrap_or_default();
            ensure!(!note.contains("violates PodSecurity"), "something was not let in: {event}");
        }
        // The operator's own namespace: the API server says what it would not let in.
        let operator = Operator::shared().await?.kube();
        ensure!(!operator.list(POD, operator::PODS).await?.is_empty(), "there is no operator");
        let level = "pod-security.kubernetes.io/enforce=restricted";
        let label = ["label", "namespace", operator::NAMESPACE, level, "--overwrite", "--dry-run=server"];
        let said = run("kubectl", &label, "").await?;
        ensure!(said.ok && !said.err.contains("violate"), "the operator is not restricted: {}", said.err);
        Ok(())
    })
}
