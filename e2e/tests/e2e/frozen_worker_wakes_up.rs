//! A worker is frozen at the worst moment, others take over and go on, and then it wakes up and finishes what it had begun.

use std::time::Duration;

use anyhow::{Result, ensure};
use sluice_e2e::job::Job;
use sluice_e2e::ledger::Ledger;
use sluice_e2e::load::Load;
use sluice_e2e::produce::{Recipe, Sender};
use sluice_e2e::proxy::Proxy;
use sluice_e2e::proxy::fault::{Fault, Gate, Operation, Rule};
use sluice_e2e::world::{World, promise};

/// The group gives up a silent member after ten seconds; the machine may be busy.
const TAKE_OVER: Duration = Duration::from_mins(1);
/// The exit code of a worker that finds a newer plan at work.
const SUPERSEDED: i32 = 7;

/// Where it is frozen, and what the one who takes over runs.
struct Scene {
    name: &'static str,
    operation: Operation,
    key: &'static str,
    gate: Gate,
    new_plan: bool,
}

#[test]
fn frozen_before_the_put() -> Result<()> {
    freeze(Scene {
        name: "frozen_before_put",
        operation: Operation::Put,
        key: "/ledger/",
        gate: Gate::before_effect(),
        new_plan: false,
    })
}

#[test]
fn frozen_after_the_put() -> Result<()> {
    freeze(Scene {
        name: "frozen_after_put",
        operation: Operation::Put,
        key: "/ledger/",
        gate: Gate::after_effect(),
        new_plan: false,
    })
}

#[test]
fn frozen_before_the_publish() -> Result<()> {
    freeze(Scene {
        name: "frozen_before_publish",
        operation: Operation::Complete,
        key: "/lake/",
        gate: Gate::before_effect(),
        new_plan: false,
    })
}

#[test]
fn frozen_after_the_publish() -> Result<()> {
    freeze(Scene {
        name: "frozen_after_publish",
        operation: Operation::Complete,
        key: "/lake/",
        gate: Gate::after_effect(),
        new_plan: false,
    })
}

#[test]
fn frozen_before_the_put_while_a_new_plan_takes_over() -> Result<()> {
    freeze(Scene {
        name: "frozen_old_plan_put",
        operation: Operation::Put,
        key: "/ledger/",
        gate: Gate::before_effect(),
        new_plan: true,
    })
}

#[test]
fn frozen_before_the_publish_while_a_new_plan_takes_over() -> Result<()> {
    freeze(Scene {
        name: "frozen_old_plan_publish",
        operation: Operation::Complete,
        key: "/lake/",
        gate: Gate::before_effect(),
        new_plan: true,
    })
}

/// No request is held: when it wakes up, its window is due and its partitions are lost, both at once.
#[test]
fn frozen_in_the_middle_of_a_window() -> Result<()> {
    promise("frozen_in_a_window", async |world| {
        let topic = world.topic("events", 4).await?;
        let job = world.job(&topic);
        let load = Load::start(Sender::new(&world.kafka(), &topic, 4, Recipe::new(world.seed()))?, 2000);
        let watcher = world.watch(&job);
        let workers = [world.start("one", &job)?, world.start("two", &job)?];
        for round in 0..world.rounds(6)? as usize {
            let commits = world.ledger(&job).await?.commits.len();
            let both = |ledger: &Ledger| ledger.commits.len() >= commits + 4;
            world.until("they commit", &job, TAKE_OVER, both).await?;
            let frozen = &workers[round % 2];
            frozen.freeze()?;
            let ends = world.kafka().ends(&topic)?;
            world.until("the other one has taken over", &job, TAKE_OVER, |ledger| ledger.reaches(&ends)).await?;
            frozen.wake()?;
        }
        let (_, book) = load.stop().await?;
        for worker in workers {
            worker.drain().await?;
        }
        watcher.until_rows(1, TAKE_OVER).await?;
        let last = world.catch_up("last", &job).await;
        watcher.finish().await?;
        last?;
        world.judge(&job, &book).await
    })
}

fn freeze(scene: Scene) -> Result<()> {
    promise(scene.name, async |world| play(world, &scene).await)
}

async fn play(world: World, scene: &Scene) -> Result<()> {
    let topic = world.topic("events", 3).await?;
    let proxy = Proxy::start(world.endpoint()).await?;
    let old = Job { endpoint: proxy.endpoint(), ..world.job(&topic) };
    let new = if scene.new_plan { Job { stamp: "second".to_owned(), ..old.clone() } } else { old.clone() };
    let load = Load::start(Sender::new(&world.kafka(), &topic, 3, Recipe::new(world.seed()))?, 2000);
    let watcher = world.watch(&old);

    let frozen = world.start("frozen", &old)?;
    let before = world.until("two commits", &old, TAKE_OVER, |ledger| ledger.commits.len() >= 2).await?;
    proxy.inject(Rule::once(scene.operation, scene.key, Fault::Hold(scene.gate.clone())));
    scene.gate.reached(TAKE_OVER).await?;
    frozen.freeze()?;
    let other = world.start("other", &new)?;
    let went_on = |ledger: &Ledger| ledger.commits.len() >= before.commits.len() + 5;
    world.until("the other one has taken over", &old, TAKE_OVER, went_on).await?;

    // What was held reaches the store now, and its sender hears of it.
    scene.gate.open();
    frozen.wake()?;
    if scene.new_plan {
        frozen.expect(SUPERSEDED, TAKE_OVER).await?;
    }
    let (_, book) = load.stop().await?;
    let ends = world.kafka().ends(&topic)?;
    world.until("everything is committed", &old, TAKE_OVER, |ledger| ledger.reaches(&ends)).await?;
    if !scene.new_plan {
        frozen.drain().await?;
    }
    other.drain().await?;
    world.catch_up("last", &new).await?;
    let seen = watcher.finish().await?;
    eprintln!("{}: {seen:?}, voided {:?}", scene.name, world.ledger(&new).await?.voided);
    let plans = world.ledger(&new).await?.plans.len();
    ensure!(!scene.new_plan || plans >= 2, "{plans} plans");
    world.judge(&new, &book).await
}
