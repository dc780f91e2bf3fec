//! A mistake that only a planner can see.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluice_e2e::k8s::kinds::{CONNECTION, STATEFUL_SET};
use sluice_e2e::k8s::stage::{SOON, promise, tell};
use sluice_e2e::k8s::{condition, has_condition, is_ready};

/// What is promised.
const TOLD: Duration = Duration::from_secs(10);

#[test]
fn bad_sql_is_told_with_its_place_within_ten_seconds_and_nothing_is_started() -> Result<()> {
    promise("kube_bad_sql", async |stage| {
        let (_, job) = stage.job(1).await?;
        // The agent comes with the first connection of a namespace, once.
        stage.kube.apply(&job.connections()).await?;
        stage.kube.apply(&job.tables()).await?;
        for name in ["kafka", "lake"] {
            stage.kube.until(CONNECTION, name, "the connection works", SOON, is_ready).await?;
        }
        let bad = job.streaming_job().replace("event_id IS NOT NULL AND", "event_id IS NOT NULL AND AND");
        let start = Instant::now();
        stage.kube.apply(&bad).await?;
        let told = |job: &serde_json::Value| has_condition(job, "ConfigValid", "False", "TransformInvalid");
        let found = stage.until(&job, "the mistake is told", TOLD, told).await?;
        tell(&stage, "from apply to the mistake", start);
        let message = condition(&found, "ConfigValid").map(|condition| condition["message"].to_string());
        let message = message.unwrap_or_default();
        ensure!(message.contains("transforms[0].filter") && message.contains("column"), "no place in {message}");
        ensure!(has_condition(&found, "Stalled", "True", "ConfigInvalid"), "it does not ask for a person: {found}");
        let sets = stage.kube.list(STATEFUL_SET, "").await?;
        ensure!(sets.is_empty() && stage.workers(&job).await?.is_empty(), "something was started: {sets:?}");
        // Mended, it starts without further help.
        stage.start(&job).await.map(drop)
    })
}
