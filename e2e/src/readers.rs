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
    let path = format!("{}/{prefix}", bucket.name());
    let copy = folder.join(prefix);
    let arguments = [Path::new(endpoint), Path::new(ACCESS_KEY), Path::new(SECRET_KEY), Path::new(&path), &copy];
    read(Python::Readers, "read_table.py", &arguments).await
}

/// What they see of two tables of the same rows; `e2e/readers/read_both.py` has the shape.
pub async fn read_both(bucket: &Bucket, prefixes: [&str; 2], folder: &Path) -> Result<Value> {
    for prefix in prefixes {
        bucket.download(prefix, folder).await?;
    }
    let [first, second] = prefixes.map(|prefix| folder.join(prefix));
    read(Python::Readers, "read_both.py", &[&first, &second]).await
}

/// A Python with its packages.
#[derive(Debug, Clone, Copy)]
pub enum Python {
    /// `PyArrow` and DuckDB.
    Readers,
    /// Spark.
    Spark,
}

/// Runs a script of `e2e/readers`; answers the JSON that it prints.
pub async fn read(python: Python, script: &str, arguments: &[&Path]) -> Result<Value> {
    let folder = match python {
        Python::Readers => "venv",
        Python::Spark => "spark",
    };
    let mut python = Command::new(cache()?.join(folder).join("bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("readers").join(script)).args(arguments);
    let output = tokio::task::spawn_blocking(move || python.output()).await?.context("no Python: run `make setup`")?;
    ensure!(output.status.success(), "{script} failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).with_context(|| format!("{script} did not print JSON"))
}
