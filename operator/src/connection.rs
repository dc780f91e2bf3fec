//! The reconcile of a `Connection`: sees to the agent of its namespace, and tells what the agent found.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use sluice_crds::condition::{ConditionType, Reason, StateReason};
use sluice_crds::connection::{Connection, ConnectionStatus};
use sluice_crds::reference::ObjectKey;
use sluice_crds::report::ConnectionReport;

use crate::agent;
use crate::caches::{self, Caches};
use crate::condition::{self, Aspect, Truth};
use crate::context::Context;
use crate::error::{Class, Error};
use crate::uses;

/// The kind, in metrics and messages.
pub const KIND: &str = "Connection";
/// A connection that was tested is looked at so often. The agent tests it again by itself.
const AT_REST: Duration = Duration::from_secs(15);
/// A connection that waits for its test is looked at so often, for [`PATIENCE`].
const WAITING: Duration = Duration::from_secs(1);
/// An agent that needs longer than this does not start by itself.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);
/// Users that status shows.
pub const MOST_USERS: usize = 50;

/// See the module.
pub async fn reconcile(connection: Arc<Connection>, context: Arc<Context>) -> Result<Action, Error> {
    if connection.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (key, now) = (ObjectKey::of(&connection.metadata), Timestamp::now());
    let before = connection.status.clone().unwrap_or_default();
    let failure = agent::ensure(&context, &key.namespace).await.err();
    let pod = agent::pod(&context.caches, &key.namespace);
    let address = pod.as_ref().filter(|_| failure.is_none()).and_then(|pod| pod.address);
    let report = match address {
        Some(address) => context.reports.agent(&key.namespace, address, WAITING / 2).await.ok(),
        None => None,
    };
    let generation = connection.metadata.generation.unwrap_or(0);
    let found = report.as_ref().and_then(|report| report.connections.iter().find(|it| it.name == key.name));
    let found = found.filter(|found| found.is_about(&connection.metadata));
    let facts = Facts {
        generation,
        found,
        failure: failure.as_ref(),
        silence: agent::silence(pod.as_ref()),
        used_by: used_by(&key, &context.caches),
        now,
    };
    let status = status(&facts, &before);
    if status != before {
        // It works, as it did: then only its users are new.
        let only_users = ConnectionStatus { used_by: before.used_by.clone(), ..status.clone() } == before;
        if failure.is_none() && only_users && context.may_wait(&connection.uid().unwrap_or_default(), now) {
            return Ok(Action::requeue(pace(found.is_some(), &status, now)));
        }
        let conditions = (before.conditions.as_slice(), status.conditions.as_slice());
        crate::status::write(&context, KIND, connection.as_ref(), &status, conditions).await?;
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(Action::requeue(pace(found.is_some(), &status, now))),
    }
}

/// When to look again: soon while a test is about to come. An agent that cannot start makes nobody hurry: the namespace has many
/// connections, and when its pod runs at last, all of them are looked at.
fn pace(tested: bool, status: &ConnectionStatus, now: Timestamp) -> Duration {
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    let young = ready.is_some_and(|ready| now.duration_since(ready.last_transition_time.0) < PATIENCE);
    if !tested && young { WAITING } else { AT_REST }
}

/// What status is made from.
struct Facts<'a> {
    generation: i64,
    /// What the agent found about this generation.
    found: Option<&'a ConnectionReport>,
    failure: Option<&'a Error>,
    silence: String,
    used_by: Vec<String>,
    now: Timestamp,
}

/// Pure.
fn status(facts: &Facts<'_>, before: &ConnectionStatus) -> ConnectionStatus {
    let aspects = aspects(facts, before);
    let conditions = condition::merge(&before.conditions, aspects, facts.generation, facts.now);
    let base = ConnectionStatus {
        observed_generation: facts.generation,
        conditions,
        used_by: facts.used_by.clone(),
        ..before.clone()
    };
    match facts.found {
        // What was known of the generation before stays until something newer is known.
        None => base,
        Some(found) => ConnectionStatus {
            kafka: found.kafka.clone(),
            s3: found.s3.clone(),
            certificate_expiry: found.certificate_expiry.map(|time| Time(condition::seconds(time))),
            last_probe_time: Some(Time(condition::seconds(found.time))),
            ..base
        },
    }
}

fn aspects(facts: &Facts<'_>, before: &ConnectionStatus) -> Vec<Aspect> {
    if let Some(error) = facts.failure.filter(|error| error.class() == Class::User) {
        let conflict = matches!(error, Error::NameConflict { .. });
        let reason = if conflict { StateReason::NameConflict.as_str() } else { Reason::ConfigInvalid.as_str() };
        return vec![
            Aspect::new(ConditionType::Ready, false, reason, error.chain()),
            Aspect::new(ConditionType::Stalled, true, reason, error.chain()),
        ];
    }
    let Some(found) = facts.found else {
        return untested(facts, before);
    };
    let finding = &found.finding;
    let mut aspects = vec![Aspect::new(ConditionType::Ready, finding.ok, &finding.reason, &finding.message)];
    if !finding.ok && stalls(&finding.reason) {
        aspects.push(Aspect::new(ConditionType::Stalled, true, &finding.reason, &finding.message));
    }
    aspects
}

/// A result of this very generation stays while the agent is away for a moment.
fn untested(facts: &Facts<'_>, before: &ConnectionStatus) -> Vec<Aspect> {
    let known = condition::find(&before.conditions, ConditionType::Ready)
        .filter(|ready| ready.observed_generation == Some(facts.generation) && ready.status != Truth::Unknown.as_str());
    if let Some(known) = known {
        let mut aspects =
            vec![Aspect::new(ConditionType::Ready, known.status == "True", &known.reason, &known.message)];
        if known.status == "False" && stalls(&known.reason) {
            aspects.push(Aspect::new(ConditionType::Stalled, true, &known.reason, &known.message));
        }
        return aspects;
    }
    vec![
        Aspect::new(ConditionType::Ready, Truth::Unknown, StateReason::Starting, &facts.silence),
        Aspect::new(ConditionType::Reconciling, true, StateReason::NewGeneration, &facts.silence),
    ]
}

/// Will it stay like this until somebody changes something? A secret may be made, and a server may come back, any moment.
fn stalls(reason: &str) -> bool {
    [
        Reason::AuthenticationFailed.as_str(),
        Reason::AuthorizationFailed.as_str(),
        Reason::ConditionalWritesUnsupported.as_str(),
        Reason::ConfigInvalid.as_str(),
        StateReason::CertificateInvalid.as_str(),
    ]
    .contains(&reason)
}

fn used_by(key: &ObjectKey, caches: &Caches) -> Vec<String> {
    let tables = caches::of_namespace(&caches.tables, &key.namespace);
    let jobs = caches::of_namespace(&caches.jobs, &key.namespace);
    let tables = tables.iter().filter(|table| uses::connections_of_table(&table.spec).contains(key.name.as_str()));
    let jobs = jobs.iter().filter(|job| uses::connections(&job.spec).contains(key.name.as_str()));
    let tables = tables.map(|table| format!("DataCatalogTable/{}", table.name_any()));
    let mut users: Vec<String> = tables.chain(jobs.map(|job| format!("StreamingJob/{}", job.name_any()))).collect();
    users.sort();
    users.truncate(MOST_USERS);
    users
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(generation: i64, ok: bool, reason: &str) -> ConnectionReport {
        serde_json::from_value(json!({
            "name": "kafka", "generation": generation, "time": "2026-01-31T00:00:00Z",
            "finding": {"ok": ok, "reason": reason, "message": "the server's words"},
            "kafka": {"clusterId": "k1", "brokers": 3},
        }))
        .expect("a report")
    }

    fn facts<'a>(found: Option<&'a ConnectionReport>, failure: Option<&'a Error>) -> Facts<'a> {
        let silence = "nobody looked".to_owned();
        Facts { generation: 2, found, failure, silence, used_by: Vec::new(), now: Timestamp::UNIX_EPOCH }
    }

    fn told(status: &ConnectionStatus) -> Vec<(&str, &str, &str)> {
        let conditions = status.conditions.iter();
        conditions.map(|it| (it.type_.as_str(), it.status.as_str(), it.reason.as_str())).collect()
    }

    #[test]
    fn the_cause_is_the_reason_and_only_what_needs_a_person_stalls() {
        for (ok, reason, stalls) in [
            (true, "Connected", false),
            (false, "SecretNotFound", false),
            (false, "Unreachable", false),
            (false, "CertificateInvalid", true),
            (false, "AuthenticationFailed", true),
            (false, "AuthorizationFailed", true),
            (false, "ConditionalWritesUnsupported", true),
        ] {
            let report = report(2, ok, reason);
            let status = status(&facts(Some(&report), None), &ConnectionStatus::default());
            let mut expected = vec![("Ready", if ok { "True" } else { "False" }, reason)];
            expected.extend(stalls.then_some(("Stalled", "True", reason)));
            assert_eq!(told(&status), expected);
            assert_eq!(status.observed_generation, 2);
            assert_eq!(status.kafka.as_ref().and_then(|kafka| kafka.brokers), Some(3));
        }
    }

    #[test]
    fn before_the_first_test_it_is_unknown_and_on_its_way() {
        let status = status(&facts(None, None), &ConnectionStatus::default());
        assert_eq!(told(&status), [("Ready", "Unknown", "Starting"), ("Reconciling", "True", "NewGeneration")]);
        assert_eq!(status.conditions[0].message, "nobody looked");
    }

    #[test]
    fn a_result_stays_while_the_agent_restarts_and_goes_with_its_generation() {
        let report = report(2, false, "AuthenticationFailed");
        let tested = status(&facts(Some(&report), None), &ConnectionStatus::default());
        let away = status(&facts(None, None), &tested);
        assert_eq!(away, tested);
        let changed = Facts { generation: 3, ..facts(None, None) };
        assert_eq!(told(&status(&changed, &tested))[0], ("Ready", "Unknown", "Starting"));
    }

    #[test]
    fn an_agent_that_cannot_start_is_waited_for_more_and_more_calmly() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let waiting = status(&Facts { now: at(1000), ..facts(None, None) }, &ConnectionStatus::default());
        assert_eq!(pace(false, &waiting, at(1119)), WAITING);
        assert_eq!(pace(false, &waiting, at(1120)), AT_REST);
        assert_eq!(pace(true, &waiting, at(1001)), AT_REST, "it is tested");
        let later = status(&Facts { now: at(1120), ..facts(None, None) }, &waiting);
        assert_eq!(pace(false, &later, at(1120)), AT_REST, "waiting on is no news");
    }

    /// The tests of the health checks for GitOps tools, in `charts/tests`, read this snapshot.
    #[test]
    fn the_states_of_a_connection_that_gitops_tools_judge() {
        let object = |found: Option<&ConnectionReport>| {
            json!({
                "apiVersion": "sluice.dev/v1alpha1",
                "kind": "Connection",
                "metadata": {"name": "kafka", "namespace": "etl", "generation": 2},
                "status": status(&facts(found, None), &ConnectionStatus::default()),
            })
        };
        let tested = |ok: bool, reason: &str| object(Some(&report(2, ok, reason)));
        let states = json!({
            "untested": object(None),
            "connected": tested(true, "Connected"),
            "secret-not-found": tested(false, "SecretNotFound"),
            "unreachable": tested(false, "Unreachable"),
            "authentication-failed": tested(false, "AuthenticationFailed"),
        });
        insta::assert_json_snapshot!("gitops", states);
    }

    #[test]
    fn a_foreign_agent_is_told_on_the_connection() {
        let error = Error::NameConflict {
            kind: "Deployment".into(),
            key: ObjectKey::new("etl", "sluice-agent"),
            owner: "us".into(),
        };
        let status = status(&facts(None, Some(&error)), &ConnectionStatus::default());
        assert_eq!(told(&status), [("Ready", "False", "NameConflict"), ("Stalled", "True", "NameConflict")]);
    }
}
