//! Why a job does not get on, from whoever knows it best.

use jiff::Timestamp;
use sluice_crds::condition::{Reason, StateReason};
use sluice_crds::report::Phase;

use super::Facts;
use super::progress::patience;

/// The exit code of a worker that an object store sent home.
const STORE_EXIT: i32 = 4;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the worker or the agent calls it; nothing when a process just died.
    pub reason: Option<Reason>,
    /// Is it the store's, and not the source's?
    pub store: bool,
    /// For people.
    pub message: String,
}

impl Trouble {
    /// The worst that workers tell: what they say while they live, how they died, what the agent says of their connections.
    pub fn of(facts: &Facts<'_>) -> Option<Self> {
        let mut troubles: Vec<Self> = by_workers(facts).chain(by_deaths(facts)).collect();
        if troubles.is_empty() {
            troubles.extend(by_connections(facts));
        }
        // What needs a person comes before what passes.
        troubles.into_iter().max_by_key(|trouble| (trouble.stalls().is_some(), trouble.reason.is_some()))
    }

    /// The reason of `Stalled`, when it will not get better without a person.
    pub fn stalls(&self) -> Option<&'static str> {
        let reason = self.reason?;
        match reason {
            Reason::ConfigInvalid | Reason::TransformInvalid | Reason::SchemaMismatch => {
                Some(Reason::ConfigInvalid.as_str())
            }
            Reason::AuthenticationFailed
            | Reason::AuthorizationFailed
            | Reason::OffsetOutOfRange
            | Reason::TopicRecreated
            | Reason::RecordRejected
            | Reason::RetriesExhausted
            | Reason::DeadLetterRateExceeded
            | Reason::DataLossRisk
            | Reason::TimedOut
            | Reason::CheckpointForeign
            | Reason::CheckpointMoved
            | Reason::ConditionalWritesUnsupported => Some(reason.as_str()),
            // The topic or the secret may be made any moment; servers come back; a newer plan is at work.
            Reason::ReferenceNotFound
            | Reason::SourceUnavailable
            | Reason::SinkUnavailable
            | Reason::Superseded
            | Reason::Internal => None,
        }
    }

    /// The reason of `Ready=False`.
    pub fn not_ready(&self) -> &'static str {
        match self.reason {
            Some(_) if self.is_config() => Reason::ConfigInvalid.as_str(),
            Some(Reason::SourceUnavailable) => Reason::SourceUnavailable.as_str(),
            Some(Reason::SinkUnavailable | Reason::ConditionalWritesUnsupported) => Reason::SinkUnavailable.as_str(),
            Some(Reason::AuthenticationFailed | Reason::AuthorizationFailed) => {
                if self.store {
                    Reason::SinkUnavailable.as_str()
                } else {
                    Reason::SourceUnavailable.as_str()
                }
            }
            _ => StateReason::WorkersCrashing.as_str(),
        }
    }

    /// Is it a matter of `ConfigValid`?
    pub fn is_config(&self) -> bool {
        use Reason::{ConfigInvalid, ReferenceNotFound, SchemaMismatch, TransformInvalid};
        matches!(self.reason, Some(ConfigInvalid | ReferenceNotFound | SchemaMismatch | TransformInvalid))
    }

    /// `Reason: message`
    pub fn text(&self) -> String {
        match self.reason {
            Some(reason) => format!("{reason}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

fn by_workers<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = Trouble> + 'a {
    let hash = facts.valid.map(|valid| valid.hash.as_str());
    let workers = facts.observed.workers.iter();
    // A worker that has not opened its ledger does not know its plan yet.
    let of_plan =
        workers.filter(move |worker| worker.phase == Phase::Starting || Some(worker.plan_hash.as_str()) == hash);
    of_plan.filter_map(|worker| {
        let text = worker.trouble.as_deref()?;
        let (word, message) = text.split_once(": ").unwrap_or(("", text));
        let reason = Reason::from_word(word);
        let message = if reason.is_some() { message } else { text };
        Some(Trouble { reason, store: names_a_store(facts, message), message: message.to_owned() })
    })
}

/// A worker that has run for long since it died is past that: what it died of is not what ails it now.
fn by_deaths<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = Trouble> + 'a {
    let hash = facts.valid.map(|valid| valid.hash.as_str());
    let recovered = move |since: Timestamp| facts.now.duration_since(since) > patience(facts);
    let pods = facts.world.pods.iter().filter(move |pod| pod.plan_hash.as_deref() == hash && !pod.terminating);
    let pods = pods.filter(move |pod| !pod.running_since.is_some_and(recovered));
    pods.filter_map(|pod| {
        let crash = pod.crash.as_ref()?;
        let message = match crash.reason {
            Some(_) => crash.message.clone(),
            None => format!("Pod {}: {}", pod.name, crash.message),
        };
        Some(Trouble { reason: crash.reason, store: crash.exit_code == STORE_EXIT, message })
    })
}

/// What the agent found about the connections of the plan.
fn by_connections(facts: &Facts<'_>) -> Vec<Trouble> {
    let (Some(valid), Some(agent)) = (facts.valid, &facts.observed.agent) else { return Vec::new() };
    let (source, stores) = valid.plan.connections();
    let bad = agent.connections.iter().filter(|report| !report.finding.ok && facts.world.is_current(report));
    let used = bad.filter(|report| report.name == source || stores.contains(report.name.as_str()));
    used.map(|report| {
        let store = report.name != source;
        let general = if store { Reason::SinkUnavailable } else { Reason::SourceUnavailable };
        Trouble {
            // `Unreachable` and `CertificateInvalid` are words of connections; a job says which end is away.
            reason: Reason::from_word(&report.finding.reason).or(Some(general)),
            store,
            message: format!("Connection {}: {}", report.name, report.finding.message),
        }
    })
    .collect()
}

/// A worker that lives tells no exit code; its message names the place.
fn names_a_store(facts: &Facts<'_>, message: &str) -> bool {
    let plain = message.contains("s3://");
    let named = facts.valid.is_some_and(|valid| {
        let (source, stores) = valid.plan.connections();
        let quoted = |name: &str| message.contains(&format!("`{name}`"));
        !quoted(source) && stores.into_iter().any(quoted)
    });
    plain || named
}
