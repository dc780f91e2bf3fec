//! Fixtures: a namespace with one job, an API server made of a map, and pods that answer.

#![allow(clippy::missing_panics_doc, reason = "fixtures of tests")]

mod api;
mod pods;
mod stage;

pub use api::{FakeApi, Made};
pub use pods::{FakePod, agent_report, commit, worker_report};
pub use stage::Stage;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sluice_crds::manifest::{Manifests, parse};
use sluice_crds::reference::ObjectKey;
use sluice_crds::streaming_job::StreamingJob;

use crate::settings::PodSettings;
use crate::streaming_job::dereference::World;
use crate::streaming_job::validate::{Invalid, Validated, validate};

/// The identity of the cluster in tests.
pub const CLUSTER: &str = "c1";

/// A whole and valid namespace; tests change one text of it.
pub const BASE: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka, namespace: etl, uid: kafka-uid, generation: 1}
spec:
  kafka:
    bootstrapServers: ["kafka:9092"]
    authentication: {type: scram-sha-512, username: etl, passwordSecret: {secretName: etl-user, password: password}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: lake, namespace: etl, uid: lake-uid, generation: 1}
spec:
  s3:
    endpoint: "https://s3:9000"
    credentials: {secretName: lake, accessKeyId: id, secretAccessKey: secret}
    tls: {trustedCertificates: [{secretName: corp-ca, certificate: ca.crt}]}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: raw, namespace: etl, uid: raw-uid, generation: 1}
spec:
  database: shop
  location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
  format: {json: {}}
  columns: [{name: id, type: string, nullable: false}, {name: amount, type: double}]
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: orders, namespace: etl, uid: orders-uid, generation: 1}
spec:
  database: shop
  location: {objectStore: {url: "s3://lake/shop/orders/", connectionRef: {name: lake}}}
  format: {parquet: {}}
  columns: [{name: id, type: string}, {name: amount, type: double}]
  partitionKeys: [{name: day, type: date}]
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders, namespace: etl, uid: job-uid, generation: 7}
spec:
  suspend: false
  mode: Continuous
  source: {tableRef: {name: raw}}
  window: {period: 10s}
  transforms: [{filter: "amount > 0"}]
  sink: {tableRef: {name: orders}}
  deadLetter: {objectStore: {url: "s3://lake/dead/orders/", connectionRef: {name: lake}}}
  workers: {replicas: 2, resources: {requests: {cpu: 500m}, limits: {memory: 512Mi}}}
  restartNonce: 0
"#;

/// [`BASE`], which is parsed and checked once for all tests.
pub fn manifests() -> Manifests {
    static PARSED: LazyLock<Manifests> = LazyLock::new(|| parse_all(BASE));
    PARSED.clone()
}

pub fn parse_all(text: &str) -> Manifests {
    parse([("test.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// [`BASE`] with one text replaced by another.
pub fn edited_manifests(from: &str, to: &str) -> Manifests {
    assert!(BASE.contains(from), "{from}");
    parse_all(&BASE.replacen(from, to, 1))
}

/// The job of a namespace.
pub fn job(manifests: &Manifests) -> StreamingJob {
    manifests.jobs.values().next().expect("a job").clone()
}

/// What a namespace holds before anything is made of it.
pub fn world(manifests: &Manifests) -> World {
    let keyed = |key: &ObjectKey| key.clone();
    World {
        tables: manifests.tables.iter().map(|(key, table)| (keyed(key), table.clone())).collect::<BTreeMap<_, _>>(),
        connections: manifests.connections.iter().map(|(key, it)| (keyed(key), it.clone())).collect::<BTreeMap<_, _>>(),
        ..World::default()
    }
}

/// The job of [`BASE`], checked.
pub fn validated() -> Validated {
    static VALIDATED: LazyLock<Validated> =
        LazyLock::new(|| validate(&job(&manifests()), &world(&manifests()), CLUSTER).expect("valid"));
    VALIDATED.clone()
}

/// The job of [`BASE`] with one text replaced by another, checked.
pub fn edited(from: &str, to: &str) -> Result<Validated, Invalid> {
    let manifests = edited_manifests(from, to);
    validate(&job(&manifests), &world(&manifests), CLUSTER)
}

/// What pods run in tests.
pub fn pod_settings() -> PodSettings {
    PodSettings {
        image: "sluice:1".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
        image_pull_secrets: vec!["registry".to_owned()],
    }
}
