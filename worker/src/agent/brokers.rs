//! One client for each Kafka connection, shared by all looks at tables and jobs.
//!
//! A connection that failed is left alone for a while: looks at a cluster that is down would take the places of those at others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sluice_crds::condition::Reason;
use sluice_crds::plan::KafkaPlan;
use tokio::time::Instant;

use super::secrets::Secrets;
use crate::error::Stop;
use crate::source::TopicClient;

/// How the agent calls itself to the brokers.
pub const CLIENT: &str = "agent";
/// How long a connection that failed is left alone.
const PAUSE: Duration = Duration::from_secs(30);

/// See the module.
pub struct Brokers {
    secrets: Secrets,
    known: Mutex<BTreeMap<String, Known>>,
}

struct Known {
    kafka: KafkaPlan,
    /// Of its secrets.
    stamp: String,
    state: State,
}

enum State {
    Open(Arc<TopicClient>),
    Failed { until: Instant, why: Stop },
}

impl Brokers {
    /// No client yet.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, known: Mutex::default() }
    }

    /// Asks about a topic.
    pub async fn ask<T, F>(
        &self,
        kafka: &KafkaPlan,
        topic: &str,
        question: impl FnOnce(Arc<TopicClient>) -> F,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let client = self.client(kafka)?;
        let answer = question(Arc::new(client.about(topic))).await;
        if let Err(why) = &answer
            && matches!(why.reason, Reason::SourceUnavailable | Reason::AuthenticationFailed)
        {
            self.failed(kafka, why);
        }
        answer
    }

    fn client(&self, kafka: &KafkaPlan) -> Result<Arc<TopicClient>, Stop> {
        let files = kafka.secret_files();
        if let Some(words) = self.secrets.missing(&files) {
            return Err(Stop::new(Reason::ReferenceNotFound, format!("connection `{}`: {words}", kafka.connection)));
        }
        let stamp = self.secrets.stamp(&files);
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&kafka.connection).filter(|known| known.kafka == *kafka && known.stamp == stamp) {
            match &known.state {
                State::Open(client) => return Ok(Arc::clone(client)),
                State::Failed { until, why } if Instant::now() < *until => return Err(why.clone()),
                State::Failed { .. } => {}
            }
        }
        let client = Arc::new(TopicClient::new(kafka, "", self.secrets.folder(), CLIENT)?);
        let known = Known { kafka: kafka.clone(), stamp, state: State::Open(Arc::clone(&client)) };
        close(all.insert(kafka.connection.clone(), known));
        Ok(client)
    }

    fn failed(&self, kafka: &KafkaPlan, why: &Stop) {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get_mut(&kafka.connection).filter(|known| known.kafka == *kafka) {
            let failed = State::Failed { until: Instant::now() + PAUSE, why: why.clone() };
            let state = std::mem::replace(&mut known.state, failed);
            close(state);
        }
    }
}

/// The end of a client waits for its threads, which must not hold up the runtime.
fn close<T: Send + 'static>(client: T) {
    tokio::task::spawn_blocking(move || drop(client));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kafka(connection: &str, servers: &str) -> KafkaPlan {
        KafkaPlan {
            connection: connection.to_owned(),
            bootstrap_servers: vec![servers.to_owned()],
            tls: None,
            authentication: None,
            config: BTreeMap::new(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_failed_is_left_alone_for_a_while_and_others_are_not() {
        let brokers = Brokers::new(Secrets::new("/nonexistent"));
        let (down, up) = (kafka("down", "127.0.0.1:1"), kafka("up", "127.0.0.1:2"));
        let why = Stop::new(Reason::SourceUnavailable, "no answer");
        let answer = |stop: Option<Stop>| async move { stop.map_or(Ok(()), Err) };
        assert_eq!(brokers.ask(&down, "t", |_| answer(Some(why.clone()))).await, Err(why.clone()));
        // It is not even asked.
        assert_eq!(brokers.ask(&down, "t", |_| answer(None)).await, Err(why.clone()));
        assert_eq!(brokers.ask(&up, "t", |_| answer(None)).await, Ok(()));
        // Another address is another try, and so is another time.
        assert_eq!(brokers.ask(&kafka("down", "127.0.0.1:3"), "t", |_| answer(None)).await, Ok(()));
        assert_eq!(brokers.ask(&down, "t", |_| answer(Some(why.clone()))).await, Err(why.clone()));
        tokio::time::advance(PAUSE).await;
        assert_eq!(brokers.ask(&down, "t", |_| answer(None)).await, Ok(()));
    }

    #[tokio::test]
    async fn a_topic_that_is_not_there_is_no_failure_of_the_connection() {
        let brokers = Brokers::new(Secrets::new("/nonexistent"));
        let kafka = kafka("up", "127.0.0.1:1");
        let why = Stop::new(Reason::ReferenceNotFound, "topic `t` does not exist");
        assert!(brokers.ask(&kafka, "t", |_| async { Err::<(), _>(why) }).await.is_err());
        assert_eq!(brokers.ask(&kafka, "u", |_| async { Ok(()) }).await, Ok(()));
    }
}
