//! Objects for tests.

use sluice_crds::manifest;
use sluice_crds::resolve::ResolveContext;

use super::world::{Objects, World};

/// A job in a cluster, with everything that it names.
pub const CLUSTER: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka, namespace: etl, generation: 3}
spec: {kafka: {bootstrapServers: ["kafka-0:9092"]}, probe: {period: 30s}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: lake, namespace: etl, generation: 4}
spec:
  s3:
    endpoint: "http://127.0.0.1:1"
    credentials: {secretName: lake, accessKeyId: key-id, secretAccessKey: key}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: raw, namespace: etl, generation: 5}
spec:
  database: shop
  location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
  format: {json: {}}
  columns: [{name: id, type: string}, {name: amount, type: double}]
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: orders, namespace: etl, generation: 6}
spec:
  database: shop
  location: {objectStore: {url: "s3://lake/shop/orders/", connectionRef: {name: lake}}}
  format: {parquet: {}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders, namespace: etl, generation: 7}
spec:
  source: {tableRef: {name: raw}}
  window: {period: 10s}
  transforms: [{filter: "amount > 0"}]
  sink: {tableRef: {name: orders}}
  deadLetter: {objectStore: {url: "s3://other/dead/", connectionRef: {name: lake}}}
"#;

/// The objects in these manifests.
pub fn objects(text: &str) -> Objects {
    let manifests = manifest::parse([("test.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
    Objects { jobs: manifests.jobs, tables: manifests.tables, connections: manifests.connections }
}

/// The same, understood, in a cluster.
pub fn world(text: &str) -> World {
    World::of(&objects(text), &ResolveContext::Cluster { uid: "c1".to_owned() })
}
