//! The store refuses, does the work and denies it, loses replies, and answers errors with a 200.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sluice_e2e::job::Job;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::proxy::Proxy;
use sluice_e2e::proxy::fault::{Fault, Operation, Rule};
use sluice_e2e::s3::Kind;
use sluice_e2e::worker::Worker;
use sluice_e2e::world::{World, promise, promise_on};

/// How long until a worker sends a request of a kind that it sends in every window.
const NEXT: Duration = Duration::from_mins(1);

#[test]
fn no_single_fault_loses_or_doubles_anything() -> Result<()> {
    promise("store_faults", async |world| {
        under_load(world, async |_, proxy, keeper| {
            for (operation, key, fault) in single_faults() {
                proxy.inject(Rule::once(operation, key, fault.clone()));
                let start = Instant::now();
                while proxy.count(operation, &fault) == 0 {
                    ensure!(start.elapsed() < NEXT, "no {operation:?} on {key} came for {fault:?}");
                    keeper.keep()?;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            Ok(())
        })
        .await
    })
}

#[test]
fn no_mixture_of_faults_loses_or_doubles_anything() -> Result<()> {
    promise("store_fault_mixture", async |world| under_load(world, mixture).await)
}

#[test]
fn no_mixture_of_faults_loses_or_doubles_anything_on_minio() -> Result<()> {
    promise_on("store_fault_mixture_minio", Kind::Minio, async |world| under_load(world, mixture).await)
}

async fn mixture(world: &World, proxy: &Proxy, keeper: &mut Keeper<'_>) -> Result<()> {
    proxy.mix(world.seed(), 0.05);
    let end = Instant::now() + Duration::from_secs(world.rounds(2)? * 10);
    while Instant::now() < end {
        keeper.keep()?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn single_faults() -> Vec<(Operation, &'static str, Fault)> {
    let everywhere = [Fault::Error, Fault::SlowDown, Fault::ErrorAfterEffect, Fault::LostRequest, Fault::LostReply];
    let mut faults = Vec::new();
    for (operation, key) in [
        (Operation::Put, "/ledger/"),
        (Operation::Complete, "/lake/"),
        (Operation::CreateUpload, "/lake/"),
        (Operation::UploadPart, "/lake/"),
    ] {
        faults.extend(everywhere.iter().map(|fault| (operation, key, fault.clone())));
    }
    faults.extend([Fault::Conflict, Fault::ExistsAfterEffect].map(|fault| (Operation::Put, "/ledger/", fault)));
    for effect in [false, true] {
        faults.push((Operation::Complete, "/lake/", Fault::ErrorBody { effect }));
    }
    faults
}

/// Starts the worker anew whenever it has given up, as a cluster does.
struct Keeper<'a> {
    world: &'a World,
    job: &'a Job,
    worker: Worker,
    starts: usize,
}

impl Keeper<'_> {
    fn keep(&mut self) -> Result<()> {
        if self.worker.exited() {
            self.starts += 1;
            ensure!(self.starts < 50, "the worker gives up again and again; its last words:\n{}", self.worker.tail()?);
            self.worker = self.world.start(&format!("worker-{}", self.starts), self.job)?;
        }
        Ok(())
    }
}

async fn under_load<F>(world: World, play: F) -> Result<()>
where
    F: AsyncFnOnce(&World, &Proxy, &mut Keeper<'_>) -> Result<()>,
{
    let topic = world.topic("events", 4).await?;
    let proxy = Proxy::start(world.endpoint()).await?;
    let job = Job { endpoint: proxy.endpoint(), ..world.job(&topic) };
    let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 1000);
    let watcher = world.watch(&job);
    let mut keeper = Keeper { world: &world, job: &job, worker: world.start("worker-0", &job)?, starts: 0 };
    world.until("the first commit", &job, NEXT, |ledger| !ledger.commits.is_empty()).await?;
    play(&world, &proxy, &mut keeper).await?;
    proxy.calm();
    let (_, book) = load.stop().await?;
    // Its retries may still be running; the last run must not depend on how it ends.
    keeper.worker.terminate()?;
    keeper.worker.code(Duration::from_secs(90)).await?;
    world.catch_up("last", &job).await?;
    eprintln!("{}: {:?}, {} restarts, {:?}", job.name, watcher.finish().await?, keeper.starts, proxy.injected());
    world.judge(&job, &book).await
}
