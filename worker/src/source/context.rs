//! What librdkafka calls back. Callbacks only note what happened; the reader's loop acts.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;
use serde::Deserialize;
use sluice_crds::condition::Reason;

use super::error::{Meaning, meaning};

/// Why the source does not get on at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// `SourceUnavailable`, `AuthenticationFailed` or `AuthorizationFailed`.
    pub reason: Reason,
    /// The client's own words.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
}

/// The trouble of a client, shared with whoever reports it. Empty while all goes well.
#[derive(Debug, Clone, Default)]
pub struct TroubleCell(Arc<Mutex<Option<Trouble>>>);

impl TroubleCell {
    /// The trouble now.
    pub fn get(&self) -> Option<Trouble> {
        lock(&self.0).clone()
    }

    /// Notes trouble. A refused login is not hidden by the lost connections that follow it.
    pub(super) fn note(&self, reason: Reason, message: &str) {
        let mut cell = lock(&self.0);
        let hides = reason == Reason::SourceUnavailable
            && cell.as_ref().is_some_and(|trouble| trouble.reason != Reason::SourceUnavailable);
        if !hides {
            let since = cell
                .as_ref()
                .filter(|trouble| trouble.reason == reason)
                .map_or_else(Timestamp::now, |trouble| trouble.since);
            *cell = Some(Trouble { reason, message: message.to_owned(), since });
        }
    }

    /// All is well again.
    pub(super) fn clear(&self) {
        *lock(&self.0) = None;
    }
}

/// A change of the group's assignment that waits for an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Partitions that this member gets.
    Offered(Vec<i32>),
    /// Partitions that it must let go.
    Revoking(Vec<i32>),
    /// Partitions that it lost already.
    Lost(Vec<i32>),
}

/// The context of a client.
#[derive(Debug, Default)]
pub(super) struct SourceContext {
    /// What went wrong last.
    pub trouble: TroubleCell,
    /// Partition to the end offset (last stable) that the brokers told last.
    pub ends: Arc<Mutex<BTreeMap<i32, i64>>>,
    changes: Mutex<VecDeque<Change>>,
    closing: AtomicBool,
}

impl SourceContext {
    /// The next change that waits.
    pub(super) fn next_change(&self) -> Option<Change> {
        lock(&self.changes).pop_front()
    }

    /// From now on revocations are answered at once: the client is being closed and nobody else will.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn statistics(&self, statistics: &Statistics) {
        if statistics.brokers.values().any(|broker| broker.state == "UP") {
            let mut cell = lock(&self.trouble.0);
            // A connection that is up mends an outage, and shows that the login works; it proves no permission.
            if cell.as_ref().is_some_and(|trouble| trouble.reason != Reason::AuthorizationFailed) {
                *cell = None;
            }
        }
        let mut ends = lock(&self.ends);
        for (partition, known) in statistics.topics.values().flat_map(|topic| &topic.partitions) {
            if let Some(end) = ends.get_mut(partition) {
                *end = known.ls_offset.max(*end);
            }
        }
    }
}

/// A lock whose holder never panics half-way through a change.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of librdkafka's statistics that is used.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    brokers: HashMap<String, BrokerStatistics>,
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct BrokerStatistics {
    state: String,
}

#[derive(Deserialize)]
struct TopicStatistics {
    partitions: HashMap<i32, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    ls_offset: i64,
}

impl ClientContext for SourceContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "kafka", facility, "{message}");
            }
            RDKafkaLogLevel::Warning => tracing::info!(target: "kafka", facility, "{message}"),
            _ => tracing::debug!(target: "kafka", facility, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(statistics) => self.statistics(&statistics),
            Err(error) => tracing::debug!(target: "kafka", %error, "statistics that cannot be parsed"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        match meaning(code) {
            Meaning::Authentication => self.trouble.note(Reason::AuthenticationFailed, reason),
            Meaning::Authorization => self.trouble.note(Reason::AuthorizationFailed, reason),
            // This summary says less than the errors of the connections before it.
            Meaning::Passing if code == Code::AllBrokersDown && self.trouble.get().is_some() => {}
            Meaning::Passing if code != Code::PartitionEOF => self.trouble.note(Reason::SourceUnavailable, reason),
            // These belong to a partition or a topic: the reader tells about them.
            _ => {}
        }
        tracing::debug!(target: "kafka", code = %code, "{reason}");
    }
}

impl ConsumerContext for SourceContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let mut partitions: Vec<i32> = list.elements().iter().map(TopicPartitionListElem::partition).collect();
        partitions.sort_unstable();
        let assigning = err == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // librdkafka waits for an answer before it leaves the group. An offer is answered by taking nothing.
            let answer = if assigning {
                consumer.incremental_assign(&TopicPartitionList::new())
            } else {
                consumer.incremental_unassign(list)
            };
            if let Err(error) = answer {
                tracing::debug!(target: "kafka", %error, "letting go of partitions");
            }
            return;
        }
        let change = if assigning {
            Change::Offered(partitions)
        } else if consumer.assignment_lost() {
            Change::Lost(partitions)
        } else {
            Change::Revoking(partitions)
        };
        lock(&self.changes).push_back(change);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            // Group offsets are a report for other tools; the next one mends it.
            tracing::debug!(target: "kafka", %error, "reporting positions to the consumer group");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_connections_do_not_hide_a_refused_login() {
        let cell = TroubleCell::default();
        cell.note(Reason::SourceUnavailable, "connection refused");
        let since = cell.get().map(|trouble| trouble.since);
        cell.note(Reason::SourceUnavailable, "all brokers are down");
        assert_eq!(cell.get().map(|trouble| trouble.since), since, "the same trouble goes on");
        cell.note(Reason::AuthenticationFailed, "SASL authentication failed");
        cell.note(Reason::SourceUnavailable, "all brokers are down");
        assert_eq!(cell.get().map(|trouble| trouble.reason), Some(Reason::AuthenticationFailed));
        cell.clear();
        assert_eq!(cell.get(), None);
    }

    #[test]
    fn statistics_tell_the_ends_of_owned_partitions_and_that_a_broker_is_back() {
        let context = SourceContext::default();
        context.trouble.note(Reason::SourceUnavailable, "all brokers are down");
        lock(&context.ends).extend([(0, 5), (1, 90)]);
        context.stats_raw(
            br#"{"brokers":{"a":{"state":"UP"}},"topics":{"t":{"partitions":{"0":{"ls_offset":7},"1":{"ls_offset":80},"2":{"ls_offset":9},"-1":{"ls_offset":-1001}}}}}"#,
        );
        assert_eq!(*lock(&context.ends), BTreeMap::from([(0, 7), (1, 90)]));
        assert_eq!(context.trouble.get(), None);
    }
}
