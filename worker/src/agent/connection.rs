//! The test of a connection: what a worker needs of it, tried from where workers run, with their secrets, by a fresh client.

use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use sluice_crds::condition::{Reason, StateReason};
use sluice_crds::connection::{KafkaFindings, S3Findings};
use sluice_crds::plan::{KafkaPlan, Location, S3Plan};
use sluice_crds::report::{ConnectionReport, Finding};
use sluice_crds::resolve::Endpoint;
use sluice_crds::units;

use super::brokers::CLIENT;
use super::finding::{bad, good, of_errors, of_stop};
use super::secrets::Secrets;
use super::world::ConnectionFacts;
use crate::error::Stop;
use crate::source::{ClusterInfo, TopicClient};
use crate::store::{Store, greet};

/// How long brokers may take: a person who just changed something is looking.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a test found.
struct Found {
    finding: Finding,
    kafka: Option<KafkaFindings>,
    s3: Option<S3Findings>,
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { finding, kafka: None, s3: None }
    }
}

/// Tests a connection. Takes less than a minute.
pub async fn test(facts: &ConnectionFacts, secrets: &Secrets) -> ConnectionReport {
    let found = match (&facts.endpoint, secrets.missing(&facts.secrets)) {
        (Err(errors), _) => of_errors(errors).into(),
        (Ok(_), Some(words)) => bad(StateReason::SecretNotFound, words).into(),
        (Ok(Endpoint::Kafka(plan)), None) => kafka(plan, secrets).await,
        (Ok(Endpoint::S3(plan)), None) => s3(plan, &facts.locations, secrets).await,
    };
    report(facts, found, secrets)
}

/// The report of a test that came to no end.
pub fn untested(facts: &ConnectionFacts, why: &str, secrets: &Secrets) -> ConnectionReport {
    report(facts, bad(StateReason::Unreachable, why).into(), secrets)
}

fn report(facts: &ConnectionFacts, found: Found, secrets: &Secrets) -> ConnectionReport {
    ConnectionReport {
        name: facts.name.clone(),
        uid: facts.uid.clone(),
        generation: facts.generation,
        finding: found.finding,
        kafka: found.kafka,
        s3: found.s3,
        certificate_expiry: secrets.expiry(&facts.secrets),
        time: Timestamp::now(),
    }
}

async fn kafka(plan: &KafkaPlan, secrets: &Secrets) -> Found {
    let (plan, folder) = (plan.clone(), secrets.folder().to_owned());
    // The client ends where it was made: its end waits for threads.
    let looked = tokio::task::spawn_blocking(move || {
        TopicClient::new(&plan, "", &folder, CLIENT)?.cluster(PATIENCE).map_err(Stop::from)
    });
    match looked.await {
        Ok(Ok(cluster)) => of_cluster(&cluster),
        Ok(Err(stop)) => of_stop(&stop).into(),
        Err(error) => bad(Reason::Internal, format!("the test broke off: {error}")).into(),
    }
}

fn of_cluster(cluster: &ClusterInfo) -> Found {
    let findings = KafkaFindings {
        cluster_id: Some(cluster.id.clone()),
        brokers: i64::try_from(cluster.brokers).ok(),
        round_trip: Some(milliseconds(cluster.round_trip).max(units::Duration::from_millis(1))),
    };
    let message = format!("Kafka cluster {} with {} broker(s) lets us in", cluster.id, cluster.brokers);
    Found { finding: good(StateReason::Connected, message), kafka: Some(findings), s3: None }
}

fn milliseconds(duration: Duration) -> units::Duration {
    units::Duration::from_millis(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
}

async fn s3(plan: &S3Plan, locations: &[Location], secrets: &Secrets) -> Found {
    let visits = join_all(locations.iter().map(|location| visit(location, secrets)));
    let (greeting, visits) = tokio::join!(greet(plan, secrets.folder()), visits);
    judge(greeting.map_err(Stop::from), visits)
}

/// What a worker tries at its start: to list, to begin an upload and abort it, to create a key twice. Answers whether the second create fails.
async fn visit(location: &Location, secrets: &Secrets) -> Result<bool, Stop> {
    let store = Store::open(location, secrets.folder())?;
    store.probe().await?;
    Ok(store.creates_once().await?)
}

/// Pure. A location that works proves the connection, whatever is wrong with another one: that is told on its table.
fn judge(greeting: Result<Option<Duration>, Stop>, visits: Vec<Result<bool, Stop>>) -> Found {
    let clock_skew = greeting.as_ref().ok().copied().flatten().map(milliseconds);
    let found = |finding, conditional_writes: Option<bool>| {
        // A visit has begun and aborted an upload before it came to conditions.
        let s3 = S3Findings { conditional_writes, multipart: conditional_writes.map(|_| true), clock_skew };
        Found { finding, kafka: None, s3: Some(s3) }
    };
    let once: Vec<bool> = visits.iter().filter_map(|visit| visit.as_ref().ok().copied()).collect();
    if once.contains(&false) {
        let message = "the endpoint ignores If-None-Match on PUT, without which exactly once cannot be kept: use a store or a version that supports it";
        return found(bad(Reason::ConditionalWritesUnsupported, message), Some(false));
    }
    if !once.is_empty() {
        let message = "the locations of its tables and jobs can be listed and written, and create each key once";
        return found(good(StateReason::Connected, message), Some(true));
    }
    let failed = greeting.err().or_else(|| visits.into_iter().find_map(Result::err));
    if let Some(stop) = failed {
        return found(of_stop(&stop), None);
    }
    let message = "the endpoint answers; no table and no job uses the connection yet, so nothing was written";
    found(good(StateReason::Connected, message), None)
}

#[cfg(test)]
mod tests;
