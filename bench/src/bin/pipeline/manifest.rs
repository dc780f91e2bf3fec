//! The manifests of the jobs that are measured: what users apply.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use sluice_bench::shapes::Shape;
use sluice_e2e::bucket::REGION;
use sluice_e2e::s3::{ACCESS_KEY, SECRET_KEY};

use super::sluice::Variant;

/// Where files go.
#[derive(Debug, Clone)]
pub enum Place<'a> {
    /// A folder of this machine.
    Disk(&'a Path),
    /// A bucket of the S3 server at an endpoint.
    S3 {
        /// `http://host:port`
        endpoint: &'a str,
        /// Its name.
        bucket: &'a str,
    },
}

impl Place<'_> {
    fn part(&self, part: &str) -> String {
        match self {
            Self::Disk(folder) => format!("{{url: \"file://{}/{part}/\"}}", folder.display()),
            Self::S3 { bucket, .. } => format!("{{url: \"s3://{bucket}/{part}/\", connectionRef: {{name: lake}}}}"),
        }
    }

    fn connection(&self) -> String {
        let Self::S3 { endpoint, .. } = self else { return String::new() };
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: lake}}
stringData: {{accessKeyId: {ACCESS_KEY}, secretAccessKey: {SECRET_KEY}}}
---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {{name: lake}}
spec:
  s3:
    endpoint: {endpoint}
    region: {REGION}
    accessStyle: Path
    credentials: {{secretName: lake, accessKeyId: accessKeyId, secretAccessKey: secretAccessKey}}
---
"
        )
    }
}

/// The folder of the ledger, below the place.
pub const CHECKPOINT: &str = "checkpoint";
/// The folder of the table, below the place.
pub const TABLE: &str = "table";

/// The manifests of the job of a shape, as it is run in a variant.
pub fn manifests(shape: &Shape, broker: &str, topic: &str, place: &Place<'_>, variant: &Variant) -> Result<String> {
    let workers = variant.memory.map(|memory| format!("  workers: {{resources: {{limits: {{memory: {memory}}}}}}}\n"));
    let mut text = place.connection();
    write!(
        text,
        "apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {{name: kafka}}
spec:
  kafka: {{bootstrapServers: [\"{broker}\"]}}
---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {{name: raw}}
spec:
  database: bench
  location: {{kafka: {{connectionRef: {{name: kafka}}, topic: {topic}}}}}
  format: {{json: {{}}}}
  columns:
{}---
apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {{name: table}}
spec:
  database: bench
  location: {{objectStore: {}}}
  format: {{parquet: {{compression: SNAPPY}}}}
  columns:
{}  partitionKeys:
{}---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {{name: bench}}
spec:
  source:
    tableRef: {{name: raw}}
    startPosition: {{type: Earliest}}
  window: {}
{}  transforms:
{}  sink:
    tableRef: {{name: table}}
  deadLetter:
    objectStore: {}
  checkpoint: {}
",
        columns(&shape.source),
        place.part(TABLE),
        columns(&shape.sink),
        columns(&shape.keys),
        variant.window,
        workers.unwrap_or_default(),
        shape.transforms.iter().fold(String::new(), |text, line| text + "  " + line + "\n"),
        place.part("dead"),
        place.part(CHECKPOINT),
    )?;
    Ok(text)
}

fn columns(declared: &[(String, String)]) -> String {
    declared
        .iter()
        .fold(String::new(), |text, (name, hive)| text + &format!("  - {{name: {name}, type: \"{hive}\"}}\n"))
}
