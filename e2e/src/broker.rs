//! Apache Kafka: one broker, which is its own controller, or a pair of brokers; each with three listeners at [`host`].
//!
//! | listener | clients |
//! |---|---|
//! | plaintext | anybody |
//! | TLS | with a certificate of our authority |
//! | SASL over TLS | `alice` by SCRAM-SHA-512, `bob` by PLAIN |

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{self, Process, Signal};

/// How long a start may take: a killed broker recovers its logs first, on a machine that does other things too.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The silence of one of a pair is noticed soon, and what it led is given back to it soon after its return.
const PAIR: &str = "broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
leader.imbalance.check.interval.seconds=2
leader.imbalance.per.broker.percentage=0
";

/// A broker whose data outlive its process: it can be stopped, killed and started again, on the same ports.
#[derive(Debug)]
pub struct Broker {
    dir: PathBuf,
    ports: Ports,
    role: Role,
    process: Option<Process>,
}

/// What a broker is to the other one.
#[derive(Debug, Clone)]
struct Role {
    /// 1, or 2 for the second of a pair.
    id: u8,
    cluster: String,
    /// Where the controller listens, which is part of the first broker.
    controller: u16,
    /// How many copies the internal topics have.
    copies: u8,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    plaintext: u16,
    tls: u16,
    sasl: u16,
}

impl Broker {
    /// Formats a new broker below `dir` and starts it.
    pub async fn start(dir: &Path) -> Result<Self> {
        let [controller] = free_ports()?;
        Self::start_as(Role { id: 1, cluster: cluster_id(), controller, copies: 1 }, dir).await
    }

    /// Starts two brokers of one cluster. The first one is the controller; the second one may go away.
    pub async fn start_pair(dir: &Path) -> Result<[Self; 2]> {
        let [controller] = free_ports()?;
        let first = Role { id: 1, cluster: cluster_id(), controller, copies: 2 };
        let second = Role { id: 2, ..first.clone() };
        let (first_dir, second_dir) = (dir.join("first"), dir.join("second"));
        let (first, second) = tokio::try_join!(Self::start_as(first, &first_dir), Self::start_as(second, &second_dir))?;
        Ok([first, second])
    }

    async fn start_as(role: Role, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let [plaintext, tls, sasl] = free_ports()?;
        let ports = Ports { plaintext, tls, sasl };
        let mut broker = Self { dir: dir.to_owned(), ports, role, process: None };
        broker.configure()?;
        broker.format().await?;
        broker.up().await?;
        Ok(broker)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// `host:port` of the plaintext listener.
    pub fn plaintext(&self) -> String {
        format!("{}:{}", host(), self.ports.plaintext)
    }

    /// `host:port` of the listener that asks for a client certificate.
    pub fn tls(&self) -> String {
        format!("{}:{}", named_host(), self.ports.tls)
    }

    /// `host:port` of the listener for users with a password.
    pub fn sasl(&self) -> String {
        format!("{}:{}", named_host(), self.ports.sasl)
    }

    /// What Kafka's own tool says of a group: for each partition the committed offset, the end, and the lag between them.
    pub async fn describe_group(&self, group: &str) -> Result<BTreeMap<i32, GroupLag>> {
        let mut java = java(&["-Xmx128m"], &self.dir.join("log4j2.properties"))?;
        java.arg("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand");
        java.args(["--bootstrap-server", &self.plaintext(), "--describe", "--offsets", "--group", group]);
        let log = self.dir.join(format!("describe-{group}.log"));
        // Processes append to their logs.
        fs::write(&log, "")?;
        let status = Process::start("kafka-consumer-groups", java, &log)?.wait(START_LIMIT).await?;
        let output = fs::read_to_string(&log)?;
        ensure!(status.success(), "Kafka's tool cannot describe {group}: {output}");
        GroupLag::table(&output).with_context(|| format!("of {group}: {output}"))
    }

    /// Starts the process and waits until it serves.
    pub async fn up(&mut self) -> Result<()> {
        let log = self.dir.join("server.log");
        // The line that is waited for must be of this start.
        fs::write(&log, "")?;
        let mut java = java(&["-Xms320m", "-Xmx320m"], &self.dir.join("log4j2.properties"))?;
        java.arg("kafka.Kafka").arg(self.dir.join("server.properties"));
        let process = Process::start("kafka", java, &self.dir.join("stdout.log"))?;
        let start = Instant::now();
        while !fs::read_to_string(&log)?.contains("Kafka Server started") {
            ensure!(process.exited().is_none(), "the broker ended while it started; see {}", self.dir.display());
            ensure!(start.elapsed() < START_LIMIT, "the broker did not start; see {}", self.dir.display());
            // The broker tells nobody but its log.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.process = Some(process);
        Ok(())
    }

    /// Stops it in good order.
    pub async fn stop(&mut self) -> Result<()> {
        self.end(Signal::Term).await
    }

    /// Stops it as a power cut would.
    pub async fn kill(&mut self) -> Result<()> {
        self.end(Signal::Kill).await
    }

    async fn end(&mut self, signal: Signal) -> Result<()> {
        let Some(process) = self.process.take() else { bail!("the broker is not running") };
        process.signal(signal)?;
        process.wait(Duration::from_mins(1)).await.map(drop)
    }

    fn configure(&self) -> Result<()> {
        fs::write(self.dir.join("server.properties"), self.properties()?)?;
        fs::write(self.dir.join("log4j2.properties"), log_settings(&self.dir.join("server.log")))?;
        Ok(())
    }

    /// Kafka refuses to start on folders that were not formatted; users with SCRAM passwords are made here too.
    async fn format(&self) -> Result<()> {
        let mut java = java(&["-Xmx128m"], &self.dir.join("log4j2.properties"))?;
        java.args(["kafka.tools.StorageTool", "format", "--cluster-id", &self.role.cluster, "--config"]);
        java.arg(self.dir.join("server.properties"));
        java.args(["--add-scram", "SCRAM-SHA-512=[name=alice,password=alice-secret]"]);
        let log = self.dir.join("format.log");
        let status = Process::start("kafka format", java, &log)?.wait(START_LIMIT).await?;
        ensure!(status.success(), "cannot format the broker: {}", fs::read_to_string(&log)?);
        Ok(())
    }

    fn properties(&self) -> Result<String> {
        let Ports { plaintext, tls, sasl } = self.ports;
        let Role { id, controller, copies, .. } = self.role;
        let (roles, listener) = match id {
            1 => ("broker,controller", format!(",CONTROLLER://127.0.0.1:{controller}")),
            _ => ("broker", String::new()),
        };
        let data = self.dir.join("data");
        let certificates = cache()?.join("kafka/tls");
        let (data, certificates, host, named) = (data.display(), certificates.display(), host(), named_host());
        let pair = if copies > 1 { PAIR } else { "" };
        Ok(format!(
            "{pair}process.roles={roles}
node.id={id}
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{host}:{plaintext},TLS://{host}:{tls},SASL://{host}:{sasl}{listener}
advertised.listeners=PLAINTEXT://{host}:{plaintext},TLS://{named}:{tls},SASL://{named}:{sasl}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,TLS:SSL,SASL:SASL_SSL,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
# Fewer brokers cannot keep the three copies that internal topics ask for.
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
# A group of tests has no reason to wait for more members.
group.initial.rebalance.delay.ms=0
# Nor to wait long for one that was killed.
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.retention.ms=-1
# The test of large records.
message.max.bytes=16777216
ssl.keystore.type=PEM
ssl.keystore.location={certificates}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={certificates}/ca.crt
listener.name.tls.ssl.client.auth=required
listener.name.sasl.ssl.client.auth=none
sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_bob=\"bob-secret\";
"
        ))
    }
}

/// What Kafka's own tool says of one partition of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLag {
    /// The committed offset.
    pub committed: i64,
    /// The end of the partition.
    pub end: i64,
    /// What is between them.
    pub lag: i64,
}

impl GroupLag {
    /// Reads the tool's table: group, topic, partition, committed, end, lag, and who has it.
    fn table(output: &str) -> Result<BTreeMap<i32, Self>> {
        let mut lags = BTreeMap::new();
        for line in output.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let numbers: Vec<i64> = words.iter().skip(2).take(4).filter_map(|word| word.parse().ok()).collect();
            if let [partition, committed, end, lag] = numbers[..] {
                lags.insert(i32::try_from(partition)?, Self { committed, end, lag });
            }
        }
        ensure!(!lags.is_empty(), "the tool shows no partition");
        Ok(lags)
    }
}

/// The address at which servers listen: `$SLUICE_HOST`, where the pods of a cluster must reach them, else loopback.
pub fn host() -> String {
    std::env::var("SLUICE_HOST").unwrap_or_else(|_| "127.0.0.1".to_owned())
}

/// The host as certificates name it. They know of loopback only; pods must be told not to look at the name.
fn named_host() -> String {
    std::env::var("SLUICE_HOST").unwrap_or_else(|_| "localhost".to_owned())
}

/// Where e2e/cluster/setup.sh puts things.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("SLUICE_CACHE") {
        return Ok(dir.into());
    }
    let home = std::env::var_os("HOME").context("neither SLUICE_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/sluice"))
}

/// Ports that were free a moment ago.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    // All are held until the last one is known, so that they differ.
    let mut listeners = Vec::new();
    for port in &mut ports {
        // At any address, so that the port is free at each.
        let listener = TcpListener::bind("0.0.0.0:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// The Java machine with the broker's classes. The small compiler is enough for a broker that lives for minutes.
fn java(options: &[&str], log_settings: &Path) -> Result<Command> {
    let libs = cache()?.join("kafka/libs");
    ensure!(libs.is_dir(), "no Kafka in {}: run `make setup` first", libs.display());
    let mut java = process::command("java");
    java.args(options).args([
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Djava.awt.headless=true",
    ]);
    java.arg(format!("-Dlog4j2.configurationFile={}", log_settings.display()));
    java.arg("-cp").arg(format!("{}/*", libs.display()));
    Ok(java)
}

fn log_settings(file: &Path) -> String {
    format!(
        "status=error
appender.file.type=File
appender.file.name=File
appender.file.fileName={}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{{1}} %m%n
rootLogger.level=warn
rootLogger.appenderRef.file.ref=File
# Says when the broker serves.
logger.started.name=kafka.server.KafkaRaftServer
logger.started.level=info
",
        file.display()
    )
}

/// 128 random bits in Kafka's alphabet, 22 characters. The first must not be a dash: it would be taken for an option.
fn cluster_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // The last character carries two bits only.
    let letter = |i: usize, bits: u8| ALPHABET[usize::from(if i == 0 { bits % 62 } else { bits % 64 })] as char;
    let mut id: String = (0..21).map(|i| letter(i, rand::random())).collect();
    id.push('A');
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_tool_is_read_by_its_numbers() -> Result<()> {
        let output = "
GROUP           TOPIC   PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST        CLIENT-ID
sluice.ns.job   events  0          12              15              3    rdkafka-1    /10.0.0.1   rdkafka
sluice.ns.job   events  1          -               4               -    -            -           -
";
        let lags = GroupLag::table(output)?;
        assert_eq!(lags, BTreeMap::from([(0, GroupLag { committed: 12, end: 15, lag: 3 })]));
        assert!(GroupLag::table("Error: no such group").is_err());
        Ok(())
    }
}
