//! The objects of a namespace, understood: what each of them says to look at. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sluice_crds::connection::Connection;
use sluice_crds::data_catalog_table::DataCatalogTable;
use sluice_crds::plan::{JobPlan, Location, SecretFile, plan_hash};
use sluice_crds::reference::ObjectKey;
use sluice_crds::report::{ConnectionReport, TableReport};
use sluice_crds::resolve::{Endpoint, ResolveContext, ResolveError, TablePlace, endpoint, resolve, table_place};
use sluice_crds::streaming_job::StreamingJob;

use super::agenda::{Kind, Subject};

/// Between two tests of a connection that names no period.
const DEFAULT_PERIOD: Duration = Duration::from_mins(5);
/// Buckets of one connection that its test visits; a table in another one has a look of its own.
const MOST_BUCKETS: usize = 4;

/// The three kinds of a namespace, as they are.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// The jobs.
    pub jobs: BTreeMap<ObjectKey, StreamingJob>,
    /// The tables.
    pub tables: BTreeMap<ObjectKey, DataCatalogTable>,
    /// The connections.
    pub connections: BTreeMap<ObjectKey, Connection>,
}

/// See the module. By name.
#[derive(Debug, Default)]
pub struct World {
    /// The connections.
    pub connections: BTreeMap<String, Arc<ConnectionFacts>>,
    /// The tables.
    pub tables: BTreeMap<String, Arc<TableFacts>>,
    /// The jobs that resolve.
    pub jobs: BTreeMap<String, Arc<JobFacts>>,
}

/// What is to be known of a connection before it is tested.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// Its name.
    pub name: String,
    /// Its `metadata.uid`; empty outside of a cluster.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Whither, or why it cannot be tested.
    pub endpoint: Result<Endpoint, Vec<ResolveError>>,
    /// The files that it names.
    pub secrets: BTreeSet<SecretFile>,
    /// S3: a location in each bucket that tables and jobs reach by it, at most a few.
    pub locations: Vec<Location>,
    /// Between two tests.
    pub period: Duration,
}

/// What is to be known of a table before it is looked at.
#[derive(Debug)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    /// Its `metadata.uid`; empty outside of a cluster.
    pub uid: String,
    /// Its `metadata.generation`.
    pub generation: i64,
    /// Where it is, or why that cannot be told.
    pub place: Result<TablePlace, Vec<ResolveError>>,
    /// The files that are needed to get there.
    pub secrets: BTreeSet<SecretFile>,
}

/// What is to be known of a job before it is looked at.
#[derive(Debug)]
pub struct JobFacts {
    /// Its plan.
    pub plan: JobPlan,
    /// `plan_hash` of the plan.
    pub hash: String,
    /// The files that are needed for its topic and its ledger.
    pub secrets: BTreeSet<SecretFile>,
    /// Should it have no workers?
    pub at_rest: bool,
}

impl World {
    /// Understands all objects of a namespace. What is wrong with one of them concerns no other.
    pub fn of(objects: &Objects, context: &ResolveContext) -> Self {
        let Objects { jobs, tables, connections } = objects;
        let jobs = jobs.iter().filter_map(|(key, job)| {
            let plan = resolve(job, tables, connections, context).ok()?;
            Some((key.name.clone(), Arc::new(JobFacts::of(plan, is_at_rest(job)))))
        });
        let tables = tables.iter().map(|(key, table)| {
            let place = table_place(table, connections, context);
            (key.name.clone(), Arc::new(TableFacts::of(key, table, place)))
        });
        let (jobs, tables): (BTreeMap<_, _>, BTreeMap<_, _>) = (jobs.collect(), tables.collect());
        let connections = connections.iter().map(|(key, connection)| {
            let locations = locations(&key.name, &jobs, &tables);
            (key.name.clone(), Arc::new(ConnectionFacts::of(key, connection, locations)))
        });
        Self { connections: connections.collect(), tables, jobs }
    }

    /// Is it about an object that is there, and not about one of the same name that is gone?
    pub fn has_connection(&self, report: &ConnectionReport) -> bool {
        self.connections.get(&report.name).is_some_and(|facts| facts.uid == report.uid)
    }

    /// The same of a table.
    pub fn has_table(&self, report: &TableReport) -> bool {
        self.tables.get(&report.name).is_some_and(|facts| facts.uid == report.uid)
    }

    /// Everything to look at, with all that the result depends on. `stamp` tells one version of files from another.
    pub fn subjects(&self, stamp: impl Fn(&BTreeSet<SecretFile>) -> String) -> Vec<(Subject, String)> {
        let subject = |kind, name: &String| Subject { kind, name: name.clone() };
        let connections = self.connections.iter().map(|(name, it)| {
            let object = (&it.uid, it.generation);
            let inputs = format!("{object:?} {:?} {:?} {}", it.endpoint, it.locations, stamp(&it.secrets));
            (subject(Kind::Connection, name), inputs)
        });
        let tables = self.tables.iter().map(|(name, it)| {
            let inputs = format!("{:?} {:?} {}", (&it.uid, it.generation), it.place, stamp(&it.secrets));
            (subject(Kind::Table, name), inputs)
        });
        let checks = self.jobs.iter().map(|(name, it)| (subject(Kind::Check, name), it.hash.clone()));
        let jobs = self.jobs.iter().map(|(name, it)| {
            let source = &it.plan.source;
            let (topic, ledger) = ((&source.kafka, &source.topic, &source.group_id), &it.plan.checkpoint);
            (subject(Kind::Job, name), format!("{topic:?} {ledger:?} {}", stamp(&it.secrets)))
        });
        connections.chain(tables).chain(checks).chain(jobs).collect()
    }
}

impl ConnectionFacts {
    fn of(key: &ObjectKey, connection: &Connection, locations: Vec<Location>) -> Self {
        let period = connection.spec.probe.as_ref().and_then(|probe| probe.period);
        Self {
            name: key.name.clone(),
            uid: connection.metadata.uid.clone().unwrap_or_default(),
            generation: connection.metadata.generation.unwrap_or(0),
            endpoint: endpoint(connection),
            secrets: connection.spec.secret_files(),
            locations,
            period: period.map_or(DEFAULT_PERIOD, sluice_crds::units::Duration::get),
        }
    }
}

impl TableFacts {
    fn of(key: &ObjectKey, table: &DataCatalogTable, place: Result<TablePlace, Vec<ResolveError>>) -> Self {
        let secrets = match &place {
            Ok(TablePlace::Topic { kafka, .. }) => kafka.secret_files(),
            Ok(TablePlace::Folder(Location { s3: Some(s3), .. })) => s3.secret_files(),
            Ok(TablePlace::Folder(_)) | Err(_) => BTreeSet::new(),
        };
        Self {
            name: key.name.clone(),
            uid: table.metadata.uid.clone().unwrap_or_default(),
            generation: table.metadata.generation.unwrap_or(0),
            place,
            secrets,
        }
    }
}

impl JobFacts {
    fn of(plan: JobPlan, at_rest: bool) -> Self {
        let mut secrets = plan.source.kafka.secret_files();
        secrets.extend(plan.checkpoint.s3.iter().flat_map(sluice_crds::plan::S3Plan::secret_files));
        Self { hash: plan_hash(&plan), secrets, at_rest, plan }
    }
}

fn is_at_rest(job: &StreamingJob) -> bool {
    let replicas = job.spec.workers.as_ref().and_then(|workers| workers.replicas);
    job.spec.suspend.unwrap_or(false) || replicas == Some(0)
}

/// One location in each bucket that is reached by this connection.
fn locations(
    connection: &str,
    jobs: &BTreeMap<String, Arc<JobFacts>>,
    tables: &BTreeMap<String, Arc<TableFacts>>,
) -> Vec<Location> {
    let of_tables = tables.values().filter_map(|table| match &table.place {
        Ok(TablePlace::Folder(location)) => Some(location),
        _ => None,
    });
    let of_jobs = jobs.values().flat_map(|job| {
        let dead_letter = job.plan.dead_letter.as_ref().map(|dead| &dead.location);
        [Some(&job.plan.sink.location), Some(&job.plan.checkpoint), dead_letter].into_iter().flatten()
    });
    let mut buckets: BTreeMap<&str, &Location> = BTreeMap::new();
    for location in of_tables.chain(of_jobs) {
        if location.s3.as_ref().is_some_and(|s3| s3.connection == connection) {
            let first = buckets.entry(bucket(&location.url)).or_insert(location);
            // The same one whatever the order, so that a new table in the same bucket is no reason for a new test.
            if location.url < first.url {
                *first = location;
            }
        }
    }
    buckets.into_values().take(MOST_BUCKETS).cloned().collect()
}

/// The bucket of a url `s3://bucket/prefix/`.
pub fn bucket(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(bucket, _)| bucket)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::agent::finding;

    fn inputs(world: &World) -> BTreeMap<Subject, String> {
        world.subjects(|files| format!("{}", files.len())).into_iter().collect()
    }

    #[test]
    fn every_object_is_looked_at_and_a_job_twice() {
        let world = testing::world(testing::CLUSTER);
        let subjects: Vec<String> =
            inputs(&world).keys().map(|it| format!("{} {}", it.kind.as_str(), it.name)).collect();
        let expected =
            ["connection kafka", "connection lake", "table orders", "table raw", "check orders", "job orders"];
        assert_eq!(subjects, expected);
        let lake: Vec<&str> = world.connections["lake"].locations.iter().map(|it| it.url.as_str()).collect();
        assert_eq!(lake, ["s3://lake/shop/_sluice/etl.orders/", "s3://other/dead/"], "one for each bucket");
        assert!(world.connections["kafka"].locations.is_empty());
        assert_eq!(world.connections["kafka"].period, Duration::from_secs(30));
        assert_eq!(world.connections["lake"].period, DEFAULT_PERIOD);
    }

    #[test]
    fn a_change_concerns_those_whose_result_it_may_change() {
        let changed = |from: &str, to: &str| -> Vec<String> {
            let text = testing::CLUSTER;
            assert!(text.contains(from), "{from}");
            let (before, after) = (inputs(&testing::world(text)), inputs(&testing::world(&text.replacen(from, to, 1))));
            let news = after.iter().filter(|(subject, inputs)| before.get(*subject) != Some(*inputs));
            news.map(|(it, _)| format!("{} {}", it.kind.as_str(), it.name)).collect()
        };
        assert_eq!(changed("amount > 0", "amount > 1"), ["check orders"]);
        assert_eq!(changed("period: 10s", "period: 20s"), Vec::<String>::new());
        assert_eq!(
            changed("kafka-0:9092", "kafka-1:9092"),
            ["connection kafka", "table raw", "check orders", "job orders"]
        );
        assert_eq!(changed("generation: 3", "uid: new, generation: 3"), ["connection kafka"], "it was made again");
        assert_eq!(changed("generation: 5", "uid: new, generation: 5"), ["table raw"]);
        assert_eq!(
            changed("key-id", "key-id-2"),
            ["connection lake", "table orders", "check orders", "job orders"],
            "another secret"
        );
    }

    #[test]
    fn a_broken_object_spoils_no_other() {
        let text = testing::CLUSTER.replacen("connectionRef: {name: kafka}", "connectionRef: {name: nope}", 1);
        let world = testing::world(&text);
        assert!(world.jobs.is_empty() && world.connections["kafka"].endpoint.is_ok());
        let place = world.tables["raw"].place.as_ref().expect_err("no such connection");
        let told = finding::of_errors(place);
        assert_eq!((told.ok, told.reason.as_str()), (false, "ReferenceNotFound"));
        assert!(told.message.contains("Connection `etl/nope`"), "{}", told.message);
        assert!(world.tables["orders"].place.is_ok());
    }
}
