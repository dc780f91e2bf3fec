//! A Kafka client for tests: topics, positions, groups.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// How long a question to the broker may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Partition to offset.
pub type Offsets = BTreeMap<i32, i64>;

/// A broker, by the address of its plaintext listener.
#[derive(Debug, Clone)]
pub struct Kafka {
    bootstrap: String,
}

impl Kafka {
    /// The broker at `host:port`.
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self { bootstrap: bootstrap.into() }
    }

    /// `host:port`
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Settings that every client of the tests has.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }

    /// Creates a topic.
    pub async fn create_topic(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_copied_topic(topic, partitions, 1).await
    }

    /// Creates a topic with copies on this many brokers.
    pub async fn create_copied_topic(&self, topic: &str, partitions: i32, copies: i32) -> Result<()> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(copies));
        first(self.admin()?.create_topics([&new], &options()).await?)?;
        self.until_partitions(topic, partitions as usize).await
    }

    /// Deletes a topic and waits until it is gone.
    pub async fn delete_topic(&self, topic: &str) -> Result<()> {
        first(self.admin()?.delete_topics(&[topic], &options()).await?)?;
        self.until_partitions(topic, 0).await
    }

    /// Gives a topic more partitions.
    pub async fn add_partitions(&self, topic: &str, total: usize) -> Result<()> {
        first(self.admin()?.create_partitions([&NewPartitions::new(topic, total)], &options()).await?)?;
        self.until_partitions(topic, total).await
    }

    /// Deletes the records below these offsets, as retention does.
    pub async fn delete_records(&self, topic: &str, before: &Offsets) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in before {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        self.admin()?.delete_records(&list, &options()).await?;
        Ok(())
    }

    /// Waits until the broker tells of this many partitions (0: the topic is unknown).
    async fn until_partitions(&self, topic: &str, wanted: usize) -> Result<()> {
        let consumer: BaseConsumer = self.config().create()?;
        let start = Instant::now();
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
            let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            let led = metadata.topics().first().is_none_or(|topic| topic.partitions().iter().all(|p| p.leader() >= 0));
            if found == wanted && led {
                return Ok(());
            }
            ensure!(start.elapsed() < LIMIT, "{topic} has {found} partitions, not {wanted}");
            // Metadata spread by themselves; nothing announces that they have.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The broker that leads each partition.
    pub fn leaders(&self, topic: &str) -> Result<BTreeMap<i32, i32>> {
        let consumer: BaseConsumer = self.config().create()?;
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
        let Some(found) = metadata.topics().first() else { bail!("there is no topic {topic}") };
        Ok(found.partitions().iter().map(|partition| (partition.id(), partition.leader())).collect())
    }

    /// First and end offset of each partition; `read_committed` ends behind the last decided transaction.
    pub fn watermarks(&self, topic: &str) -> Result<BTreeMap<i32, (i64, i64)>> {
        let consumer: BaseConsumer = self.config().set("isolation.level", "read_committed").create()?;
        let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
        let Some(found) = metadata.topics().first() else { bail!("there is no topic {topic}") };
        let partitions = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id);
        partitions.map(|p| Ok((p, range(&consumer, topic, p)?))).collect()
    }

    /// End offset of each partition.
    pub fn ends(&self, topic: &str) -> Result<Offsets> {
        Ok(self.watermarks(topic)?.into_iter().map(|(partition, (_, end))| (partition, end)).collect())
    }

    fn group(&self, group: &str) -> Result<BaseConsumer> {
        Ok(self.config().set("group.id", group).set("enable.auto.commit", "false").create()?)
    }

    /// What a group has committed, with the metadata of the commit; partitions without a commit are absent.
    pub fn committed(&self, group: &str, topic: &str) -> Result<BTreeMap<i32, (i64, String)>> {
        let mut list = TopicPartitionList::new();
        for partition in self.ends(topic)?.into_keys() {
            list.add_partition(topic, partition);
        }
        let answer = self.group(group)?.committed_offsets(list, LIMIT)?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let elements = answer.elements();
        let known =
            elements.iter().filter_map(|e| Some((e.partition(), (offset(e.offset())?, e.metadata().to_owned()))));
        Ok(known.collect())
    }

    /// Overwrites what a group has committed. The group must have no members.
    pub fn rewind(&self, group: &str, topic: &str, to: &Offsets) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in to {
            list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        }
        Ok(self.group(group)?.commit(&list, CommitMode::Sync)?)
    }

    /// Deletes a group. It must have no members.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let answers = self.admin()?.delete_groups(&[group], &options()).await?;
        match answers.into_iter().next() {
            Some(Ok(_)) => Ok(()),
            Some(Err((name, code))) => Err(anyhow!("cannot delete the group {name}: {code}")),
            None => bail!("no answer about the group {group}"),
        }
    }

    /// Members of a group, as the broker sees them.
    pub fn members(&self, group: &str) -> Result<usize> {
        let groups = self.group("sluice-e2e-observer")?.client().fetch_group_list(Some(group), LIMIT)?;
        Ok(groups.groups().first().map_or(0, |group| group.members().len()))
    }
}

/// First and end offset of a partition. A broker that has just become its leader knows the end a moment later.
fn range(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64)> {
    let start = Instant::now();
    loop {
        let error = match consumer.fetch_watermarks(topic, partition, LIMIT) {
            Ok(range) => return Ok(range),
            Err(error) => error,
        };
        let passes = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::OffsetNotAvailable | RDKafkaErrorCode::NotLeaderForPartition)
        );
        ensure!(passes && start.elapsed() < LIMIT, "{topic} {partition}: {error}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

fn first(answers: Vec<Result<String, (String, RDKafkaErrorCode)>>) -> Result<()> {
    for answer in answers {
        answer.map_err(|(name, code)| anyhow!("{name}: {code}"))?;
    }
    Ok(())
}
