//! Whichever pod dies, and whenever: every record once, at every moment.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sluice_e2e::job::Job;
use sluice_e2e::k8s::kinds::POD;
use sluice_e2e::k8s::stage::{Stage, is_running, promise, promise_alone};
use sluice_e2e::k8s::{is_ready, operator, run};
use sluice_e2e::load::Load;

/// How long the leader's sudden death may be felt: the lease, and what a busy machine adds.
const TAKE_OVER: Duration = Duration::from_secs(45);

#[test]
fn killed_workers_lose_and_double_nothing() -> Result<()> {
    promise("kube_kill_worker", async |stage| {
        let (sender, mut job) = stage.job(4).await?;
        job.spec.push("workers: {replicas: 2}".to_owned());
        let (load, watcher) = (Load::start(sender, 500), stage.world.watch(&job));
        stage.start(&job).await?;
        let mut random = StdRng::seed_from_u64(stage.world.seed());
        for round in 0..stage.world.rounds(4)? {
            stage.until_workers(&job, 2).await?;
            let workers = stage.workers(&job).await?;
            let victim = name(workers.choose(&mut random).context("there is no worker")?);
            // Any moment of a window is as good as any other.
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
            if round % 2 == 0 {
                stage.kill(&stage.kube, &victim).await?;
            } else {
                let force = ["delete", "pod", &victim, "--grace-period=0", "--force"];
                stage.kube.kubectl(&force).await?;
            }
        }
        stage.until_ready(&job).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        eprintln!("kube_kill_worker: {:?}", watcher.finish().await?);
        Ok(())
    })
}

#[test]
fn a_killed_agent_is_missed_by_nobody() -> Result<()> {
    promise("kube_kill_agent", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let (load, watcher) = (Load::start(sender, 300), stage.world.watch(&job));
        stage.start(&job).await?;
        let selector = "app.kubernetes.io/component=agent";
        let agents = stage.kube.list(POD, selector).await?;
        let killed = name(agents.first().context("there is no agent")?);
        stage.kill(&stage.kube, &killed).await?;
        goes_on(&stage, &job).await?;
        let again = |pods: &std::collections::BTreeMap<String, Value>| pods.values().any(is_running);
        stage.kube.until_all(POD, selector, "the agent is back", TAKE_OVER, again).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        // Only the agent could tell a lag at rest while no worker is asked.
        stage
            .until(&job, "the job is ready, without lag", TAKE_OVER, |job| {
                is_ready(job) && job["status"]["lag"]["records"] == 0
            })
            .await?;
        watcher.finish().await.map(drop)
    })
}

#[test]
fn a_killed_operator_stops_no_data_and_comes_back() -> Result<()> {
    promise_alone("kube_kill_operator", async |stage| {
        let (sender, job) = stage.job(2).await?;
        let (load, watcher) = (Load::start(sender, 300), stage.world.watch(&job));
        stage.start(&job).await?;
        let before = restarts(&stage, &job).await?;
        let leader = stage.operator.leader_other_than("", TAKE_OVER).await?;
        stage.kill(stage.operator.kube(), &leader).await?;
        goes_on(&stage, &job).await?;
        stage.operator.until_ready().await?;
        // It acts again: what is changed now is done.
        stage.change(&job, serde_json::json!({"workers": {"replicas": 2}})).await?;
        stage.until_workers(&job, 2).await?;
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await?;
        let after = restarts(&stage, &job).await?;
        ensure!(after[0] == before[0], "the worker was restarted: {before:?}, then {after:?}");
        eprintln!("kube_kill_operator: the image is {}", operator::image()?);
        Ok(())
    })
}

#[test]
fn a_killed_kubelet_restarts_no_worker_and_starts_new_ones_when_it_is_back() -> Result<()> {
    promise_alone("kube_kill_kubelet", async |stage| {
        let Ok(word) = std::env::var("SLUICE_KUBELET") else {
            eprintln!("kube_kill_kubelet: not tried: the kubelets of this cluster are not processes of this machine");
            return Ok(());
        };
        let (sender, job) = stage.job(4).await?;
        let (load, watcher) = (Load::start(sender, 300), stage.world.watch(&job));
        stage.start(&job).await?;
        let before = restarts(&stage, &job).await?;
        let killed = kubelet(&word)?.context("there is no kubelet")?;
        run("kill", &["-KILL", &killed.to_string()], "").await?;
        goes_on(&stage, &job).await?;
        // Only a kubelet can start the second worker.
        stage.change(&job, serde_json::json!({"workers": {"replicas": 2}})).await?;
        stage.until_workers(&job, 2).await?;
        ensure!(kubelet(&word)?.is_some_and(|now| now != killed), "the kubelet was not restarted");
        let (_, book) = load.stop().await?;
        stage.judge(&job, &book).await?;
        watcher.finish().await?;
        let after = restarts(&stage, &job).await?;
        ensure!(after[0] == before[0], "the worker was restarted: {before:?}, then {after:?}");
        Ok(())
    })
}

/// The process of the kubelet that was started with this word.
fn kubelet(word: &str) -> Result<Option<u32>> {
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // It may end while it is looked at.
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0');
        if words.next().is_some_and(|program| program.ends_with("kubelet")) && words.any(|found| found == word) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Records that are sent after this moment are committed.
async fn goes_on(stage: &Stage, job: &Job) -> Result<()> {
    let commits = stage.world.ledger(job).await?.commits.len();
    let more = |ledger: &sluice_e2e::ledger::Ledger| ledger.commits.len() >= commits + 3;
    stage.world.until("data flow on", job, TAKE_OVER, more).await.map(drop)
}

/// The identity and the restarts of each worker, in the order of their names.
async fn restarts(stage: &Stage, job: &Job) -> Result<Vec<(Value, Value)>> {
    let mut workers = stage.workers(job).await?;
    workers.sort_by_key(name);
    let of =
        |pod: &Value| (pod["metadata"]["uid"].clone(), pod["status"]["containerStatuses"][0]["restartCount"].clone());
    Ok(workers.iter().map(of).collect())
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
