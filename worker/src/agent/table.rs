//! What is at the place of a table: the topic with its partitions, or a folder that can be written.

use std::time::Duration;

use sluice_crds::condition::{Reason, StateReason};
use sluice_crds::data_catalog_table::TopicFindings;
use sluice_crds::plan::{KafkaPlan, Location};
use sluice_crds::report::{Finding, TableReport};
use sluice_crds::resolve::TablePlace;
use tokio::time::Instant;

use super::Tools;
use super::finding::{bad, good, of_errors, of_stop};
use super::world::TableFacts;
use crate::error::Stop;
use crate::pipeline::start::blocking;

/// How long brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Partitions whose ends a status can show.
const MOST_ENDS: usize = 1000;

/// All records that a topic ever had, at some time: what a rate is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    records: i64,
    at: Instant,
}

/// Looks at a table. `before` is the sample of the look before.
pub async fn look(facts: &TableFacts, tools: &Tools, before: Option<Sample>) -> (TableReport, Option<Sample>) {
    let place = match (&facts.place, tools.secrets.missing(&facts.secrets)) {
        (Err(errors), _) => return (report(facts, of_errors(errors), None), None),
        (Ok(_), Some(words)) => return (report(facts, bad(StateReason::SecretNotFound, words), None), None),
        (Ok(place), None) => place,
    };
    match place {
        TablePlace::Folder(location) => (report(facts, folder(location, tools).await, None), None),
        TablePlace::Topic { kafka, topic } => match ends(kafka, topic, tools).await {
            Ok(ends) => {
                let now = Sample { records: ends.iter().sum(), at: Instant::now() };
                let finding = good(StateReason::Valid, format!("topic {topic} has {} partitions", ends.len()));
                (report(facts, finding, Some(findings(ends, before, now))), Some(now))
            }
            Err(stop) => (report(facts, of_stop(&stop), None), None),
        },
    }
}

/// The report of a look that came to no end.
pub fn unseen(facts: &TableFacts, why: &str) -> TableReport {
    report(facts, bad(StateReason::Unreachable, why), None)
}

fn report(facts: &TableFacts, finding: Finding, kafka: Option<TopicFindings>) -> TableReport {
    let (name, uid) = (facts.name.clone(), facts.uid.clone());
    TableReport { name, uid, generation: facts.generation, finding, kafka, object_store: None }
}

async fn folder(location: &Location, tools: &Tools) -> Finding {
    let probed = async { Ok::<_, Stop>(tools.lakes.open(location)?.probe().await?) };
    match probed.await {
        Ok(()) => good(StateReason::Valid, format!("{} can be listed and written", location.url)),
        Err(stop) => of_stop(&stop),
    }
}

/// The end offset of each partition, in order.
async fn ends(kafka: &KafkaPlan, topic: &str, tools: &Tools) -> Result<Vec<i64>, Stop> {
    let ends = tools.brokers.ask(kafka, topic, |client| async move {
        blocking(&client, |client| {
            let info = client.describe(PATIENCE)?;
            client.ends(&info.partitions, PATIENCE)
        })
        .await
    });
    let ends = ends.await?;
    if ends.is_empty() {
        return Err(Stop::new(Reason::SourceUnavailable, format!("topic {topic} has no partition yet")));
    }
    Ok(ends.into_values().collect())
}

/// Pure.
fn findings(ends: Vec<i64>, before: Option<Sample>, now: Sample) -> TopicFindings {
    TopicFindings {
        partitions: i64::try_from(ends.len()).unwrap_or(i64::MAX),
        end_offsets: ends.into_iter().take(MOST_ENDS).collect(),
        records_per_second: before.and_then(|before| rate(before, now)),
    }
}

/// Records in a second between two samples; nothing when the topic was made anew between them.
fn rate(before: Sample, now: Sample) -> Option<f64> {
    let (seconds, records) = (now.at.duration_since(before.at).as_secs_f64(), now.records - before.records);
    // A tenth of a record is nothing that a person would want to see change.
    (seconds > 0.0 && records >= 0).then(|| (records as f64 / seconds * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_made_of_two_samples_of_the_same_topic() {
        let start = Instant::now();
        let at = |seconds, records| Sample { records, at: start + Duration::from_secs(seconds) };
        let rate = |before, now| findings(vec![3, 4], before, now).records_per_second;
        assert_eq!(rate(None, at(60, 600)), None);
        assert_eq!(rate(Some(at(0, 100)), at(60, 700)), Some(10.0));
        assert_eq!(rate(Some(at(0, 100)), at(60, 100)), Some(0.0));
        assert_eq!(rate(Some(at(0, 100)), at(60, 50)), None, "another topic of the same name");
        assert_eq!(rate(Some(at(0, 100)), at(0, 100)), None);
    }

    #[test]
    fn a_status_shows_no_more_ends_than_it_may_hold() {
        let now = Sample { records: 0, at: Instant::now() };
        let findings = findings(vec![1; 1500], None, now);
        assert_eq!((findings.partitions, findings.end_offsets.len()), (1500, 1000));
    }
}
