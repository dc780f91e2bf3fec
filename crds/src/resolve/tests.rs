//! Each rule of `resolve` has a manifest that breaks it, made from one that works.

use std::time::Duration as StdDuration;

use super::*;
use crate::manifest::{Manifests, parse};
use crate::plan::{
    KafkaAuthentication, ParquetCompatibility, ParquetCompression, SinkFormat, SourceFormat, TransformStep, plan_hash,
};

mod columns;
mod later;
mod places;
mod references;
mod samples;
mod settings;

const GLUE_SAMPLE: &str = include_str!("../../../docs/examples/01-glue-sample.yaml");
const HYBRID_CSV: &str = include_str!("../../../docs/examples/02-hybrid-csv.yaml");
const CAMEL_CASE: &str = include_str!("../../../docs/examples/03-camelcase-minute.yaml");

/// A whole and valid world; tests change one text of it.
const BASE: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka, namespace: etl}
spec: {kafka: {bootstrapServers: ["kafka:9092"]}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: lake, namespace: etl}
spec: {s3: {endpoint: "http://s3:9000"}}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: raw, namespace: etl}
spec:
  database: shop
  location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
  format: {json: {}}
  columns: [{name: id, type: string, nullable: false}, {name: amount, type: double}]
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: orders, namespace: etl}
spec:
  database: shop
  location: {objectStore: {url: "s3://lake/shop/orders/", connectionRef: {name: lake}}}
  format: {parquet: {}}
  columns: [{name: id, type: string}, {name: amount, type: double}]
  partitionKeys: [{name: day, type: date}]
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders, namespace: etl, generation: 7}
spec:
  source: {tableRef: {name: raw}}
  transforms: []
  sink: {tableRef: {name: orders}}
"#;

fn manifests(text: &str) -> Manifests {
    parse([("test.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Resolves the only job. `edit` changes objects as a schema would not allow.
fn resolve_with(
    text: &str,
    context: &ResolveContext,
    edit: impl FnOnce(&mut Manifests),
) -> Result<JobPlan, Vec<ResolveError>> {
    let mut manifests = manifests(text);
    edit(&mut manifests);
    let job = manifests.jobs.values().next().expect("a job");
    resolve(job, &manifests.tables, &manifests.connections, context)
}

fn cluster() -> ResolveContext {
    ResolveContext::Cluster { uid: "c1".to_owned() }
}

/// The errors of [`BASE`] with one text replaced by another.
fn errors(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "{from}");
    let result = resolve_with(&BASE.replacen(from, to, 1), &cluster(), |_| {});
    result.expect_err("an error").iter().map(ToString::to_string).collect()
}

/// The errors of [`BASE`] after a change that a schema would not allow.
fn errors_of(edit: impl FnOnce(&mut Manifests)) -> Vec<String> {
    let errors = resolve_with(BASE, &cluster(), edit).expect_err("an error");
    errors.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_one(errors: &[String], expected: &str) {
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0], expected);
}

fn job(manifests: &mut Manifests) -> &mut StreamingJobSpec {
    &mut manifests.jobs.values_mut().next().expect("a job").spec
}

fn table<'m>(manifests: &'m mut Manifests, name: &str) -> &'m mut crate::data_catalog_table::DataCatalogTableSpec {
    &mut manifests.tables.get_mut(&ObjectKey::new("etl", name)).expect("a table").spec
}
