//! The world of one test on a cluster: beside its topics and its bucket, a namespace in which only pods of the level `restricted` are let in.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::RwLock;

use super::kinds::{POD, STREAMING_JOB};
use super::operator::Operator;
use super::{Kube, evidence, is_ready};
use crate::job::Job;
use crate::ledger::Ledger;
use crate::produce::{Book, Recipe, Sender};
use crate::world::{self, World};

/// What usually takes seconds, on a machine that does other things too.
pub const SOON: Duration = Duration::from_mins(2);

/// Tests that need the operator as it is share it; those that stop or replace it have it alone.
static OPERATOR: RwLock<()> = RwLock::const_new(());

/// What one test works with.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Topics, bucket, judgement.
    pub world: World,
    /// The namespace of the test.
    pub kube: Kube,
    /// The operator.
    pub operator: &'static Operator,
}

/// Runs one test in a namespace of its own, beside others.
pub fn promise<F>(name: &str, test: impl FnOnce(Stage) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    world::promise(name, move |world| async move {
        let shared = OPERATOR.read().await;
        let outcome = on_stage(world, test).await;
        drop(shared);
        outcome
    })
}

/// Runs one test that does something to the operator, while no other one runs.
pub fn promise_alone<F>(name: &str, test: impl FnOnce(Stage) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    world::promise(name, move |world| async move {
        let alone = OPERATOR.write().await;
        let outcome = on_stage(world, test).await;
        // Whatever it did: the others find the operator as it was.
        let mended = Operator::shared().await?.install(&[]).await;
        drop(alone);
        outcome.and(mended)
    })
}

async fn on_stage<F>(world: World, test: impl FnOnce(Stage) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    ensure!(
        std::env::var_os("SLUICE_HOST").is_some(),
        "SLUICE_HOST is not set: the address at which pods reach Kafka and S3 of this machine"
    );
    let folder = world.folder().to_owned();
    let operator = Operator::shared().await.context("the operator cannot be installed");
    let operator = match operator {
        Ok(operator) => operator,
        Err(error) => {
            evidence::keep(&Kube::new(super::operator::NAMESPACE).await?, &folder).await?;
            return Err(error);
        }
    };
    // Random, for a namespace of an earlier run may still be on its way out.
    let namespace = format!("e2e-{}-{:04x}", world.name().replace('_', "-"), rand::random::<u16>());
    let kube = Kube::new(&namespace).await?;
    kube.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels: {{pod-security.kubernetes.io/enforce: restricted}}\n"
    ))
    .await?;
    let outcome = AssertUnwindSafe(test(Stage { world, kube: kube.clone(), operator })).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        for place in [&kube, operator.kube()] {
            evidence::keep(place, &folder).await?;
        }
    }
    if std::env::var_os("SLUICE_KEEP").is_none() {
        kube.try_kubectl(&["delete", "namespace", &namespace, "--wait=false", "--ignore-not-found"], "").await?;
    }
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Stage {
    /// A topic of this many partitions, and a job that reads it, with windows of a second.
    pub async fn job(&self, partitions: i32) -> Result<(Sender, Job)> {
        let topic = self.world.topic("events", partitions).await?;
        let job =
            Job { namespace: self.kube.namespace().to_owned(), name: "events".to_owned(), ..self.world.job(&topic) };
        let sender = Sender::new(&self.world.kafka(), &topic, partitions, Recipe::new(self.world.seed()))?;
        Ok((sender, job))
    }

    /// Applies everything of a job, and waits until it is ready.
    pub async fn start(&self, job: &Job) -> Result<Value> {
        self.kube.apply(&job.manifests()).await?;
        self.until_ready(job).await
    }

    /// Waits until a job is ready, by its present generation.
    pub async fn until_ready(&self, job: &Job) -> Result<Value> {
        self.until(job, "the job is ready", SOON, is_ready).await
    }

    /// Waits until a job is as it should be.
    pub async fn until(&self, job: &Job, what: &str, limit: Duration, done: impl Fn(&Value) -> bool) -> Result<Value> {
        self.kube.until(STREAMING_JOB, &job.name, what, limit, done).await
    }

    /// Changes fields of the spec of a job.
    pub async fn change(&self, job: &Job, spec: Value) -> Result<()> {
        self.kube.change(STREAMING_JOB, &job.name, &json!({ "spec": spec })).await
    }

    /// The pods of a job: those of its workers.
    pub async fn workers(&self, job: &Job) -> Result<Vec<Value>> {
        self.kube.list(POD, &workers_of(job)).await
    }

    /// Waits until so many workers are ready, and no further ones are there.
    pub async fn until_workers(&self, job: &Job, wanted: usize) -> Result<()> {
        let as_many =
            |pods: &std::collections::BTreeMap<String, Value>| pods.len() == wanted && pods.values().all(is_running);
        let what = format!("{wanted} workers run");
        self.kube.until_all(POD, &workers_of(job), &what, SOON, as_many).await.map(drop)
    }

    /// Waits until everything that is in the topic now is committed.
    pub async fn until_caught_up(&self, job: &Job) -> Result<Ledger> {
        let ends = self.world.kafka().ends(&job.topic)?;
        self.world.until("all records are committed", job, SOON, |ledger| ledger.reaches(&ends)).await
    }

    /// Lets a job come to rest, and judges it: every record of the book is where it must be, exactly once.
    pub async fn judge(&self, job: &Job, book: &Book) -> Result<()> {
        self.until_caught_up(job).await?;
        // A commit is visible a moment later, and what an older one left is published with the next.
        self.world.until("all files are visible", job, SOON, |ledger| ledger.unpublished.is_empty()).await?;
        self.world.judge_data(job, book).await
    }

    /// Kills what runs in a pod, as a power cut would: with SIGKILL where its processes can be seen from here, as on a node of this
    /// machine; else by deleting the pod without grace.
    pub async fn kill(&self, kube: &Kube, pod: &str) -> Result<()> {
        let Some(object) = kube.get(POD, pod).await? else { bail!("there is no pod {pod}") };
        let id = object["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
        let id = id.rsplit('/').next().filter(|id| !id.is_empty()).with_context(|| format!("{pod} does not run"))?;
        let seen = processes_of(id)?;
        if seen.is_empty() {
            return kube.kubectl(&["delete", "pod", pod, "--grace-period=0", "--force"]).await.map(drop);
        }
        for pid in seen {
            // It may be gone already.
            super::run("kill", &["-KILL", &pid.to_string()], "").await?;
        }
        Ok(())
    }
}

/// The selector of the workers of a job.
pub fn workers_of(job: &Job) -> String {
    format!("sluice.dev/job={}", job.name)
}

/// Does a pod run, with all its containers ready, and will it stay?
pub fn is_running(pod: &Value) -> bool {
    let ready = super::condition(pod, "Ready").is_some_and(|ready| ready["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// The processes of a container that can be seen from here: those whose control group carries its id.
fn processes_of(container: &str) -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // It may end while it is looked at.
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        if groups.contains(container) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// Says how long something took, for the person who runs the tests.
pub fn tell(stage: &Stage, what: &str, since: Instant) {
    eprintln!("{}: {what}: {:.1} s", stage.world.name(), since.elapsed().as_secs_f64());
}
