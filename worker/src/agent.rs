//! The agent of a namespace: looks at connections, tables and jobs from where workers run, and tells what it finds.
//!
//! It is given the objects of the namespace whenever they change (who watches them is not its affair) and serves an
//! [`AgentReport`](sluice_crds::report::AgentReport). It reads ledgers and never writes one, joins no consumer group, and takes from a
//! topic nothing but the times of records.
//!
//! ```text
//! objects ─► world (what each says, pure) ─► agenda (what is due, pure) ─► looks, side by side ─► desk ─► GET /report
//!                                                ▲ a clock, changed secrets      connection, table, check, job
//! ```
//!
//! It promises: a look that hangs, fails or panics concerns its own object and no other; there are few looks at a time of each kind; the
//! desk answers from memory.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

mod agenda;
mod brokers;
mod check;
mod connection;
mod desk;
mod finding;
mod job;
mod lakes;
mod metrics;
mod secrets;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod visible;
mod world;

pub use desk::Desk;
pub use world::{Objects, World};

use agenda::{Agenda, Kind, Look, Subject};
use brokers::Brokers;
use lakes::Lakes;
use secrets::Secrets;

/// How often mounted secrets are compared with what they were. The kubelet brings a change within a minute or so.
const SECRETS_AGAIN: Duration = Duration::from_secs(10);
/// The lag of a job. Status shows it no more often.
const JOB_AGAIN: Duration = Duration::from_secs(15);
/// The ends of a topic: the rate in status is that of a minute.
const TOPIC_AGAIN: Duration = Duration::from_mins(1);
/// A folder that could be written can be written, as a rule.
const FOLDER_AGAIN: Duration = Duration::from_mins(5);
/// What failed may pass.
const FAILED_AGAIN: Duration = Duration::from_mins(1);
/// Every look has time-outs of its own, which together are shorter.
const LONGEST_LOOK: Duration = Duration::from_mins(2);
/// Looks of one kind at the same time: a connection that hangs must not hold up the plans of others.
const AT_ONCE: usize = 8;

/// What looks work with.
struct Tools {
    secrets: Secrets,
    brokers: Brokers,
    lakes: Lakes,
}

/// What a look found, with what it leaves for the next one.
enum Found {
    Connection(sluice_crds::report::ConnectionReport),
    Table(sluice_crds::report::TableReport, Option<table::Sample>),
    Check(sluice_crds::report::PlanCheck),
    Job(job::JobLook, Box<job::Kept>),
}

type Work = Pin<Box<dyn Future<Output = Found> + Send>>;
/// What a task ends with; nothing when it took too long.
type Ended = (Option<Found>, Duration);

/// The agent of one namespace.
pub struct Agent {
    desk: Arc<Desk>,
    tools: Arc<Tools>,
    world: Arc<World>,
    agenda: Agenda,
    tasks: JoinSet<Ended>,
    looks: HashMap<Id, Look>,
    permits: [Arc<Semaphore>; 4],
    samples: HashMap<String, table::Sample>,
    kept: HashMap<String, job::Kept>,
}

impl Agent {
    /// An agent with this folder of mounted secrets, that tells what it finds at this desk.
    pub fn new(desk: Arc<Desk>, secrets: impl Into<std::path::PathBuf>) -> Self {
        let secrets = Secrets::new(secrets);
        let (brokers, lakes) = (Brokers::new(secrets.clone()), Lakes::new(secrets.clone()));
        Self {
            desk,
            tools: Arc::new(Tools { secrets, brokers, lakes }),
            world: Arc::default(),
            agenda: Agenda::default(),
            tasks: JoinSet::new(),
            looks: HashMap::new(),
            permits: std::array::from_fn(|_| Arc::new(Semaphore::new(AT_ONCE))),
            samples: HashMap::new(),
            kept: HashMap::new(),
        }
    }

    /// Looks at everything in the world that is told last, until nobody tells any more.
    pub async fn run(mut self, mut worlds: watch::Receiver<Option<Arc<World>>>) {
        let mut secrets = tokio::time::interval(SECRETS_AGAIN);
        secrets.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.agenda.next();
            tokio::select! {
                changed = worlds.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let world = worlds.borrow_and_update().clone();
                    if let Some(world) = world {
                        self.adopt(world);
                    }
                }
                _ = secrets.tick() => self.list(),
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
                () = sleep_until(next) => {}
            }
            for look in self.agenda.due(Instant::now()) {
                self.begin(look);
            }
        }
    }

    fn adopt(&mut self, world: Arc<World>) {
        let uid = |world: &World, name: &str| world.tables.get(name).map(|facts| facts.uid.clone());
        self.samples.retain(|name, _| uid(&world, name).is_some_and(|new| uid(&self.world, name) == Some(new)));
        self.kept.retain(|name, _| world.jobs.contains_key(name));
        self.world = world;
        self.list();
        self.desk.keep_only(&self.world);
    }

    /// Puts on the agenda what there is to look at, and what changed.
    fn list(&mut self) {
        let secrets = &self.tools.secrets;
        self.agenda.set(self.world.subjects(|files| secrets.stamp(files)), Instant::now());
    }

    fn begin(&mut self, look: Look) {
        let Some(work) = self.work(&look.subject) else {
            // The agenda lists nothing that is not there.
            self.agenda.done(&look, Instant::now(), None);
            return;
        };
        let permits = Arc::clone(&self.permits[look.subject.kind as usize]);
        let task = self.tasks.spawn(async move {
            // It is never closed.
            let _permit = permits.acquire().await;
            let began = Instant::now();
            (tokio::time::timeout(LONGEST_LOOK, work).await.ok(), began.elapsed())
        });
        self.looks.insert(task.id(), look);
    }

    fn work(&mut self, subject: &Subject) -> Option<Work> {
        let (name, tools) = (&subject.name, Arc::clone(&self.tools));
        let work: Work = match subject.kind {
            Kind::Connection => {
                let facts = Arc::clone(self.world.connections.get(name)?);
                Box::pin(async move { Found::Connection(connection::test(&facts, &tools.secrets).await) })
            }
            Kind::Table => {
                let (facts, before) = (Arc::clone(self.world.tables.get(name)?), self.samples.remove(name));
                Box::pin(async move {
                    let (report, sample) = table::look(&facts, &tools, before).await;
                    Found::Table(report, sample)
                })
            }
            Kind::Check => {
                let facts = Arc::clone(self.world.jobs.get(name)?);
                Box::pin(async move { Found::Check(check::check(&facts).await) })
            }
            Kind::Job => {
                let facts = Arc::clone(self.world.jobs.get(name)?);
                let kept = self.kept.remove(name).unwrap_or_default();
                Box::pin(async move {
                    let (look, kept) = job::look(&facts, &tools, kept).await;
                    Found::Job(look, Box::new(kept))
                })
            }
        };
        Some(work)
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, found, took, words) = match ended {
            Ok((id, (found, took))) => (id, found, took, format!("it did not end within {LONGEST_LOOK:?}")),
            Err(error) => (error.id(), None, Duration::ZERO, format!("it broke off: {error}")),
        };
        let Some(look) = self.looks.remove(&id) else { return };
        let Subject { kind, name } = &look.subject;
        let result = match &found {
            None => "lost",
            Some(found) if found.is_good() => "good",
            Some(_) => "bad",
        };
        self.desk.metrics.looked(*kind, result, took);
        let again = self.again(&look.subject, found.as_ref());
        if !self.agenda.done(&look, Instant::now(), again) {
            return;
        }
        if let Some(found) = found {
            self.lay_down(name, found);
        } else {
            tracing::warn!(kind = kind.as_str(), name, "a look was lost: {words}");
            self.lost(&look.subject, &format!("the look at it was lost: {words}"));
        }
    }

    /// When to look again; none: not before something changes.
    fn again(&self, subject: &Subject, found: Option<&Found>) -> Option<Duration> {
        let good = found.is_some_and(Found::is_good);
        match subject.kind {
            Kind::Connection => {
                let period = self.world.connections.get(&subject.name).map_or(FAILED_AGAIN, |facts| facts.period);
                Some(if good { period } else { period.min(FAILED_AGAIN) })
            }
            Kind::Table => match found {
                Some(Found::Table(report, _)) if good && report.kafka.is_none() => Some(FOLDER_AGAIN),
                _ => Some(TOPIC_AGAIN),
            },
            // The same plan has the same faults.
            Kind::Check => found.is_none().then_some(FAILED_AGAIN),
            Kind::Job => Some(JOB_AGAIN),
        }
    }

    fn lay_down(&mut self, name: &str, found: Found) {
        match found {
            // A look that began before its object was made again tells of the one that is gone.
            Found::Connection(report) if !self.world.has_connection(&report) => {}
            Found::Table(report, _) if !self.world.has_table(&report) => {}
            Found::Connection(report) => self.desk.connection(report),
            Found::Table(report, sample) => {
                self.desk.table(report);
                self.samples.extend(sample.map(|sample| (name.to_owned(), sample)));
            }
            Found::Check(check) => self.desk.check(name, check),
            Found::Job(look, kept) => {
                self.desk.job(name, look);
                self.kept.insert(name.to_owned(), *kept);
            }
        }
    }

    fn lost(&self, subject: &Subject, words: &str) {
        let name = &subject.name;
        match subject.kind {
            Kind::Connection => {
                if let Some(facts) = self.world.connections.get(name) {
                    self.desk.connection(connection::untested(facts, words, &self.tools.secrets));
                }
            }
            Kind::Table => {
                if let Some(facts) = self.world.tables.get(name) {
                    self.desk.table(table::unseen(facts, words));
                }
            }
            Kind::Check => {}
            // What was measured long ago is no measurement.
            Kind::Job => self.desk.job(name, job::JobLook::default()),
        }
    }
}

impl Found {
    fn is_good(&self) -> bool {
        match self {
            Self::Connection(report) => report.finding.ok,
            Self::Table(report, _) => report.finding.ok,
            Self::Check(check) => check.finding.ok,
            Self::Job(_, kept) => kept.is_whole(),
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
