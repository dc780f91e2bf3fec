//! An object of the same name that belongs to somebody else is left alone.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::k8s::has_condition;
use sluice_e2e::k8s::kinds::SERVICE;
use sluice_e2e::k8s::stage::{SOON, promise};

#[test]
fn somebody_elses_object_is_not_touched_and_named() -> Result<()> {
    promise("kube_name_conflict", async |stage| {
        let (_, job) = stage.job(1).await?;
        let theirs = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {}, labels: {{owner: somebody}}}}\nspec: {{ports: [{{port: 80}}], selector: {{app: other}}}}\n",
            job.name
        );
        stage.kube.apply(&theirs).await?;
        stage.kube.apply(&job.manifests()).await?;
        let told = |job: &Value| {
            has_condition(job, "Ready", "False", "NameConflict")
                && has_condition(job, "Stalled", "True", "NameConflict")
        };
        stage.until(&job, "the conflict is told", SOON, told).await?;
        let kept = stage.kube.get(SERVICE, &job.name).await?.unwrap_or_default();
        ensure!(
            kept["metadata"]["labels"] == json!({"owner": "somebody"})
                && kept["spec"]["selector"] == json!({"app": "other"}),
            "it was changed: {kept}"
        );
        ensure!(stage.workers(&job).await?.is_empty(), "workers were started");
        // It heals when the name is free.
        stage.kube.delete(SERVICE, &job.name).await?;
        stage.until_ready(&job).await.map(drop)
    })
}
