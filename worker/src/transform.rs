//! Transforms: the steps of a job as one plan, made once, run on every batch.
//!
//! [`Transform::plan`] composes the steps into one logical plan over the table `input`, refuses what must not run, casts to
//! the sink's columns, and lets DataFusion optimise the whole. The plan then has two parts:
//!
//! ```text
//! DecodedBatch ─► row part (RowProgram, in each lane) ─► OutputBatch ─► sink
//!                                                            │
//!                          only if the plan aggregates:      └─► batch part (BatchRun, once for each window) ─► sink
//! ```
//!
//! Promises:
//! - a record on which an expression fails is refused alone; its neighbours are what they would be without it;
//! - the same records and the same window time give the same rows: `now()` is the window's time, and functions that
//!   change from call to call are refused;
//! - a value reaches a declared column as it was, or its record is refused;
//! - SQL reaches nothing but its input: no file, no store, no catalog, no second table;
//! - `${parameters}` are values, whatever they hold.
//!
//! DataFusion lives in this folder only.

mod batch_part;
mod cast;
mod confine;
mod error;
mod lossless;
mod query;
mod rows;
mod session;
mod sink;
mod split;
mod steps;
mod text;
mod window_time;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use sluice_crds::plan::{SinkPlan, TransformStep};

pub use batch_part::{BatchPart, BatchRun};
pub use error::{Place, TransformError};
pub use query::query;
pub use rows::RowProgram;

use rows::{Program, Trace};

/// The transforms of one plan generation. Made once, shared by all lanes and windows.
#[derive(Debug)]
pub struct Transform {
    /// The row part, optimised, with placeholders for the window's time.
    row_part: LogicalPlan,
    /// What the row part yields.
    row_schema: SchemaRef,
    needed: Vec<usize>,
    output: SchemaRef,
    partition_keys: usize,
    trace: Trace,
    batch_part: Option<BatchPart>,
}

impl Transform {
    /// Plans the steps over the source's columns (all that are declared, and `_kafka` if the job wants it) for a sink.
    ///
    /// `memory_bytes` bounds groups, sorts and distinct values of plans that aggregate.
    /// A `${name}` that looks like a number (`12`, `-1.5`, `1e6`) is an integer or a double, any other is a string.
    ///
    /// # Errors
    /// Names the step and, where it is known, the place in its text. None of them goes away by itself.
    #[expect(clippy::unused_async, reason = "callers plan off the lanes, and planning may need I/O for lookups later")]
    pub async fn plan(
        source: SchemaRef,
        steps: &[TransformStep],
        parameters: &BTreeMap<String, String>,
        sink: &SinkPlan,
        memory_bytes: usize,
    ) -> Result<Self, TransformError> {
        let state = session(memory_bytes)?;
        let steps::Composed { plan, marks } = steps::compose(&state, Arc::clone(&source), steps, parameters)?;
        let (plan, output) = sink::fit(plan, sink)?;
        let analysed = steps::analyse(&state, plan).map_err(planning)?;
        let optimised = optimise(&state, analysed.clone()).map_err(planning)?;
        let row_part = split::row_part(&optimised).clone();
        let needed = needed(&row_part)?;
        let row_wise = split::is_row_wise(&optimised);
        let row_schema = if row_wise { Arc::clone(&output) } else { Arc::new(row_part.schema().as_arrow().clone()) };
        let batch_part = (!row_wise).then(|| BatchPart {
            plan: optimised,
            rows: Arc::clone(&row_schema),
            output: Arc::clone(&output),
            memory_bytes,
        });
        let trace = Trace::new(analysed, marks, &source, &needed);
        let partition_keys = sink.partition_keys.len();
        let transform = Self { row_part, row_schema, needed, output, partition_keys, trace, batch_part };
        // What cannot be compiled is found now, and not in the first window.
        transform.rows(jiff::Timestamp::UNIX_EPOCH)?;
        Ok(transform)
    }

    /// Indexes into the source schema of the columns that the plan reads, rising: decode yields these, in this order.
    pub fn needed_columns(&self) -> &[usize] {
        &self.needed
    }

    /// The sink's columns, then its partition keys: what the batches for the writer have.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// How many of the last columns are partition keys.
    pub fn partition_keys(&self) -> usize {
        self.partition_keys
    }

    /// A row program for one window and one lane. Cheap. `now()` is the window's time.
    pub fn rows(&self, window: jiff::Timestamp) -> Result<RowProgram, TransformError> {
        let plan = window_time::show(self.row_part.clone(), window).map_err(planning)?;
        let program = Program::compile(&plan).map_err(planning)?;
        Ok(RowProgram::new(program, Arc::clone(&self.row_schema), self.trace.of_window(window)))
    }

    /// Present when the plan aggregates: then the rows of [`RowProgram::apply`] go there, and its results to the writer.
    pub fn batch_part(&self) -> Option<&BatchPart> {
        self.batch_part.as_ref()
    }
}

fn session(memory_bytes: usize) -> Result<SessionState, TransformError> {
    session::session(1, memory_bytes).map_err(planning)
}

fn planning(error: DataFusionError) -> TransformError {
    TransformError::Plan(Box::new(error))
}

fn optimise(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    split::lower_arguments(state.optimizer().optimize(plan, state, |_, _| {})?)
}

/// The columns that the scan at the bottom of the row part reads.
fn needed(row_part: &LogicalPlan) -> Result<Vec<usize>, TransformError> {
    let mut plan = row_part;
    while let Some(input) = plan.inputs().first() {
        plan = input;
    }
    let needed = match plan {
        LogicalPlan::TableScan(scan) => {
            scan.projection.clone().unwrap_or_else(|| (0..scan.source.schema().fields().len()).collect())
        }
        _ => Vec::new(),
    };
    if needed.is_sorted_by(|a, b| a < b) {
        Ok(needed)
    } else {
        Err(TransformError::Internal(format!("the plan reads columns in the order {needed:?}")))
    }
}

#[cfg(test)]
mod tests;
