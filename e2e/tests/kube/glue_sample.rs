//! The sample job of AWS Glue, by `kubectl apply` and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sluice_e2e::k8s::kinds::STREAMING_JOB;
use sluice_e2e::k8s::stage::{SOON, Stage, promise, tell};
use sluice_e2e::k8s::{is_ready, operator};
use sluice_e2e::ledger::Ledger;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::s3::{ACCESS_KEY, SECRET_KEY};

const RECORDS: u64 = 60_000;

#[test]
fn the_sample_job_is_applied_and_its_records_are_committed() -> Result<()> {
    promise("kube_sample", async |stage| {
        let topic = stage.world.topic("transactions", 8).await?;
        let recipe = Recipe::new(stage.world.seed());
        let book = Sender::new(&stage.world.kafka(), &topic, 8, recipe)?.send(RECORDS)?;
        let start = Instant::now();
        stage.kube.apply(&manifests(&stage, &topic)).await?;
        first_commit(&stage).await?;
        tell(&stage, "from apply to the first commit", start);
        stage.kube.until(STREAMING_JOB, "transactions", "the job is ready", SOON, is_ready).await?;
        tell(&stage, "from apply to Ready", start);

        // Numbers are written every 15 seconds at most.
        let (written, filtered, dead) = (book.written.len(), book.filtered.len(), book.dead.len());
        let told = |job: &serde_json::Value| {
            let totals = &job["status"]["totals"];
            job["status"]["lag"]["records"] == 0
                && totals["read"] == json!(RECORDS)
                && totals["written"] == json!(written)
                && totals["filtered"] == json!(filtered)
                && totals["dead"] == json!(dead)
        };
        let what = "its status tells of all records";
        let job = stage.kube.until(STREAMING_JOB, "transactions", what, SOON, told).await?;
        ensure!(job["status"]["summary"]["workers"] == "2/2", "the summary is {}", job["status"]["summary"]);
        let columns = stage.kube.kubectl(&["get", "streamingjobs.sluice.dev"]).await?;
        ensure!(columns.contains("READY") && columns.contains("True") && columns.contains("2/2"), "{columns}");
        let pods = stage.kube.list(sluice_e2e::k8s::kinds::POD, "sluice.dev/job=transactions").await?;
        let image = operator::image()?;
        ensure!(
            pods.len() == 2 && pods.iter().all(|pod| pod["spec"]["containers"][0]["image"] == json!(image)),
            "the workers are {pods:?}"
        );
        Ok(())
    })
}

async fn first_commit(stage: &Stage) -> Result<()> {
    let checkpoint = format!("payments/_sluice/{}.transactions", stage.kube.namespace());
    let start = Instant::now();
    while Ledger::read(stage.world.bucket(), &checkpoint).await?.commits.is_empty() {
        ensure!(start.elapsed() < SOON, "nothing was committed in {SOON:?}");
        // Objects appear without telling.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The sample as the command line's test has it, with the two workers that the sample asks for.
fn manifests(stage: &Stage, topic: &str) -> String {
    let world = &stage.world;
    let sample = include_str!("../e2e/transactions.yaml").trim_end().to_owned() + "\n  workers: {replicas: 2}\n";
    [
        ("@ACCESS_KEY@", ACCESS_KEY),
        ("@SECRET_KEY@", SECRET_KEY),
        ("@BOOTSTRAP@", world.kafka().bootstrap()),
        ("@ENDPOINT@", world.endpoint()),
        ("@BUCKET@", world.bucket().name()),
        ("@TOPIC@", topic),
    ]
    .iter()
    .fold(sample, |text, (name, value)| text.replace(name, value))
}
