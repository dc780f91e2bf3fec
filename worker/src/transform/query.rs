//! A query over rows in memory: how the demo shows what it wrote. Never on the path of a record.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::SessionContext;

/// Runs one SELECT over a table of this name, and formats the answer as a text table.
pub async fn query(table: &str, rows: Vec<RecordBatch>, sql: &str) -> Result<String> {
    let Some(schema) = rows.first().map(RecordBatch::schema) else { return Ok("(no rows)".to_owned()) };
    let context = SessionContext::new();
    context.register_table(table, Arc::new(MemTable::try_new(schema, vec![rows])?))?;
    let answer = context.sql(sql).await?.collect().await?;
    Ok(pretty_format_batches(&answer).map_err(DataFusionError::from)?.to_string())
}
