//! The agent on an embedded Kafka and a local folder.

use sluice_crds::condition::Reason;
use sluice_crds::report::AgentReport;
use sluice_crds::resolve::ResolveContext;
use tempfile::TempDir;

use super::*;
use crate::http::Served;
use crate::pipeline::{self, WorkerOptions};
use crate::report::Board;
use crate::source::{EmbeddedKafka, EmbeddedProducer};

/// Nothing here takes longer on any machine that works.
const PATIENCE: Duration = Duration::from_mins(2);

const MANIFEST: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka, namespace: etl}
spec: {kafka: {bootstrapServers: ["BROKER"], config: {session.timeout.ms: "6000"}}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: silent, namespace: etl}
spec: {kafka: {bootstrapServers: ["SILENT"]}}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: raw, namespace: etl}
spec:
  database: shop
  location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
  format: {json: {}}
  columns: [{name: id, type: string}, {name: amount, type: double}]
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: nowhere, namespace: etl}
spec:
  database: shop
  location: {kafka: {connectionRef: {name: kafka}, topic: nope}}
  format: {json: {}}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: orders, namespace: etl}
spec:
  database: shop
  location: {objectStore: {url: "file://FOLDER/orders/"}}
  format: {parquet: {}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders, namespace: etl}
spec:
  mode: UntilCaughtUp
  source: {tableRef: {name: raw}}
  window: {period: 1h}
  transforms: [{filter: "amount > 0"}]
  sink: {tableRef: {name: orders}}
  deadLetter: {objectStore: {url: "file://FOLDER/dead/"}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: wrong, namespace: etl}
spec:
  source: {tableRef: {name: raw}}
  transforms: [{filter: "nope > 0"}]
  sink: {tableRef: {name: orders}}
  checkpoint: {url: "file://FOLDER/other/"}
"#;

struct Place {
    kafka: EmbeddedKafka,
    producer: EmbeddedProducer,
    folder: TempDir,
    /// Takes connections and never answers.
    silent: std::net::TcpListener,
}

impl Place {
    fn new() -> Self {
        let (kafka, producer) = EmbeddedKafka::start("orders", 2).unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self { kafka, producer, folder: TempDir::new().unwrap(), silent }
    }

    fn produce(&self, partition: i32, records: usize) {
        for number in 0..records {
            let record = format!(r#"{{"id":"r{number}","amount":{}}}"#, if number == 0 { -1 } else { 1 });
            self.producer.produce("orders", partition, record.as_bytes()).unwrap();
        }
        self.producer.flush().unwrap();
    }

    fn world(&self) -> Arc<World> {
        let text = MANIFEST
            .replace("BROKER", &self.kafka.bootstrap_servers())
            .replace("SILENT", &self.silent.local_addr().unwrap().to_string())
            .replace("FOLDER", &self.folder.path().display().to_string());
        Arc::new(World::of(&testing::objects(&text), &ResolveContext::Local))
    }

    fn tools(&self) -> Tools {
        let secrets = Secrets::new(self.folder.path());
        let (brokers, lakes) = (Brokers::new(secrets.clone()), Lakes::new(secrets.clone()));
        Tools { secrets, brokers, lakes }
    }

    /// Runs the job to the end of its topic.
    async fn run_job(&self) {
        let plan = self.world().jobs["orders"].plan.clone();
        let (_stop, stopped) = watch::channel(false);
        let options = WorkerOptions { lanes: Some(1), ..WorkerOptions::new(self.folder.path()) };
        let run = pipeline::run(plan, options, Board::new(), stopped);
        tokio::time::timeout(PATIENCE, run).await.expect("an end").expect("a run");
    }
}

fn lag(look: &job::JobLook) -> Vec<(i32, i64, Option<i64>)> {
    let lag = look.lag.as_ref().expect("a lag");
    lag.partitions.iter().map(|it| (it.partition, it.committed, it.lag)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_measured_before_after_and_without_its_workers() {
    let place = Place::new();
    let (world, tools) = (place.world(), place.tools());
    let facts = &world.jobs["orders"];
    place.produce(0, 10);

    let (look, kept) = job::look(facts, &tools, job::Kept::default()).await;
    assert!(kept.is_whole(), "{kept:?}");
    assert_eq!((lag(&look), look.ledger), (vec![(0, 0, Some(10)), (1, 0, Some(0))], None), "it has never run");

    place.run_job().await;
    let (look, kept) = job::look(facts, &tools, kept).await;
    assert_eq!(lag(&look), [(0, 10, Some(0)), (1, 0, Some(0))], "{kept:?}");
    assert_eq!(look.lag.expect("a lag").seconds, Some(0));
    let ledger = look.ledger.expect("a ledger");
    let totals = (ledger.totals.read, ledger.totals.written, ledger.totals.filtered, ledger.totals.batches);
    assert_eq!(totals, (10, 9, 1, 1));
    let commit = ledger.last_commit.expect("a commit");
    assert_eq!((commit.read, commit.written, commit.files), (10, 9, 1));
    assert_eq!(commit.positions.get(&0), Some(&10));
    assert!(ledger.tail.is_some_and(|tail| tail >= commit.seq));

    // Nobody reads these.
    place.produce(0, 3);
    place.produce(1, 4);
    let (look, kept) = job::look(facts, &tools, kept).await;
    assert_eq!(lag(&look), [(0, 10, Some(3)), (1, 0, Some(4))], "{kept:?}");
    let age = look.lag.expect("a lag").seconds.expect("an age");
    assert!((0..PATIENCE.as_secs() as i64).contains(&age), "{age}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_another_job_is_not_taken_for_this_ones() {
    let place = Place::new();
    let tools = place.tools();
    place.produce(0, 10);
    place.run_job().await;
    let mut plan = place.world().jobs["orders"].plan.clone();
    plan.job.name = "thief".to_owned();
    let facts =
        world::JobFacts { hash: String::new(), secrets: std::collections::BTreeSet::new(), at_rest: false, plan };
    let (look, kept) = job::look(&facts, &tools, job::Kept::default()).await;
    assert_eq!(look, job::JobLook::default());
    assert!(format!("{kept:?}").contains(Reason::CheckpointForeign.as_str()), "{kept:?}");
}

#[tokio::test]
async fn an_object_that_was_made_again_inherits_nothing_from_the_one_of_its_name() {
    let world = |uid: &str| {
        let uid = format!("namespace: etl, uid: {uid}, generation");
        Arc::new(testing::world(&testing::CLUSTER.replace("namespace: etl, generation", &uid)))
    };
    let (old, new, desk) = (world("old"), world("new"), Desk::new("etl"));
    let mut agent = Agent::new(Arc::clone(&desk), TempDir::new().unwrap().path());
    let told = || -> Vec<String> {
        let report = desk.report();
        let connections = report.connections.into_iter().map(|it| it.uid);
        connections.chain(report.tables.into_iter().map(|it| it.uid)).collect()
    };
    let find = |agent: &mut Agent, world: &World| {
        let connection = connection::untested(&world.connections["kafka"], "", &agent.tools.secrets);
        agent.lay_down("kafka", Found::Connection(connection));
        agent.lay_down("raw", Found::Table(table::unseen(&world.tables["raw"], ""), None));
    };
    agent.adopt(Arc::clone(&old));
    find(&mut agent, &old);
    assert_eq!(told(), ["old", "old"]);
    agent.adopt(Arc::clone(&new));
    assert_eq!(told(), [""; 0]);
    find(&mut agent, &old);
    assert_eq!(told(), [""; 0], "the looks were under way");
    find(&mut agent, &new);
    assert_eq!(told(), ["new", "new"]);
}

/// Waits until the report is like this.
async fn until(desk: &Desk, wanted: impl Fn(&AgentReport) -> bool) -> AgentReport {
    let wait = async {
        loop {
            let report = desk.report();
            if wanted(&report) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{:#?}", desk.report()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_object_holds_up_no_other_and_the_report_never_waits() {
    let place = Place::new();
    place.produce(0, 10);
    let desk = Desk::new("etl");
    let (tell, worlds) = watch::channel(None);
    let agent = tokio::spawn(Agent::new(Arc::clone(&desk), place.folder.path()).run(worlds));
    assert!(!desk.is_ready());
    tell.send(Some(place.world())).unwrap();

    let all_but_silent = |report: &AgentReport| {
        let checked = report.jobs.iter().filter(|job| job.check.is_some() && job.lag.is_some()).count();
        !report.connections.is_empty() && report.tables.len() == 3 && checked == 2
    };
    let report = until(&desk, all_but_silent).await;
    assert!(desk.is_ready());
    let connections: Vec<_> =
        report.connections.iter().map(|it| (it.name.as_str(), it.finding.reason.as_str())).collect();
    assert_eq!(connections[0], ("kafka", "Connected"));
    let tables: Vec<_> = report.tables.iter().map(|it| (it.name.as_str(), it.finding.reason.as_str())).collect();
    assert_eq!(tables, [("nowhere", "ReferenceNotFound"), ("orders", "Valid"), ("raw", "Valid")]);
    let raw = report.tables[2].kafka.as_ref().expect("findings");
    assert_eq!((raw.partitions, raw.end_offsets.as_slice()), (2, &[10, 0][..]));
    let checks: Vec<_> = report.jobs.iter().filter_map(|it| Some((it.name.as_str(), it.check.as_ref()?))).collect();
    let told: Vec<_> = checks.iter().map(|(name, check)| (*name, check.finding.reason.as_str())).collect();
    assert_eq!(told, [("orders", "Valid"), ("wrong", "TransformInvalid")]);

    // The silent one is given up in the end, and says so.
    let report = until(&desk, |report| report.connections.len() == 2).await;
    let silent = &report.connections[1];
    assert_eq!((silent.name.as_str(), silent.finding.reason.as_str()), ("silent", "Unreachable"), "{silent:?}");
    let metrics = desk.render_metrics();
    assert!(metrics.contains(r#"sluice_agent_connection_ok{connection="kafka"} 1"#), "{metrics}");

    // What is gone is not told any more.
    tell.send(Some(Arc::default())).unwrap();
    until(&desk, |report| report.connections.is_empty() && report.jobs.is_empty()).await;
    drop(tell);
    tokio::time::timeout(PATIENCE, agent).await.expect("it ends").expect("without a panic");
}
