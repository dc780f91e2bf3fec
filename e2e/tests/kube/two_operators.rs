//! Of two operators one acts; when it is gone the other one does.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_e2e::k8s::kinds::POD;
use sluice_e2e::k8s::operator::PODS;
use sluice_e2e::k8s::stage::{Stage, promise_alone, tell};
use sluice_e2e::load::Load;

/// Fifteen seconds of the lease, and what a busy machine adds.
const TAKE_OVER: Duration = Duration::from_secs(45);

#[test]
fn of_two_operators_one_leads_and_the_other_takes_over() -> Result<()> {
    promise_alone("kube_two_operators", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let (load, watcher) = (Load::start(sender, 200), stage.world.watch(&job));
        stage.operator.scale(2).await?;
        stage.start(&job).await?;
        let leader = stage.operator.leader_other_than("", TAKE_OVER).await?;
        let leading = leading(&stage).await?;
        ensure!(leading == [leader.clone()], "the lease says {leader}, and {leading:?} act");

        let start = Instant::now();
        let force = ["delete", "pod", leader.as_str(), "--grace-period=0", "--force"];
        stage.operator.kube().kubectl(&force).await?;
        stage.operator.leader_other_than(&leader, TAKE_OVER).await?;
        tell(&stage, "from the death of the leader to the next one", start);
        stage.change(&job, json!({"workers": {"replicas": 2}})).await?;
        stage.until_workers(&job, 2).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await?;
        stage.operator.scale(1).await
    })
}

/// The operators that say of themselves that they act.
async fn leading(stage: &Stage) -> Result<Vec<String>> {
    let kube = stage.operator.kube();
    let mut leading = Vec::new();
    for pod in kube.list(POD, PODS).await? {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let metrics = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/metrics", kube.namespace());
        let metrics = kube.kubectl(&["get", "--raw", &metrics]).await?;
        if metrics.lines().any(|line| line == "sluice_operator_leader 1") {
            leading.push(name.to_owned());
        }
    }
    Ok(leading)
}
