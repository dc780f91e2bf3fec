//! Readers of Parquet that are not ours.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::broker::cache;
use crate::bucket::Bucket;
use crate::s3::{ACCESS_KEY, SECRET_KEY};

/// What `PyArrow` and DuckDB see of a table of the sample job below a prefix; `e2e/readers/read_table.py` has the shape.
pub async fn read_table(endpoint: &str, bucket: &Bucket, prefix: &str, folder: &Path) -> Result<Value> {
    bucket.download(prefix, folder).await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/read_table.py");
    let mut python = Command::new(cache()?.join("venv/bin/python"));
    python.arg(script).args([endpoint, ACCESS_KEY, SECRET_KEY]);
    python.arg(format!("{}/{prefix}", bucket.name())).arg(folder.join(prefix));
    let output = tokio::task::spawn_blocking(move || python.output()).await?.context("no Python: run `make setup`")?;
    ensure!(output.status.success(), "the readers failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the readers did not print JSON")
}
