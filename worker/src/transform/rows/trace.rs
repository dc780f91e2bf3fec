//! The steps as they were written, for the record that fails.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;

use super::program::{Failure, Program};
use crate::transform::split::is_row_wise;
use crate::transform::steps::Mark;
use crate::transform::window_time;

/// The plan before it was optimised; compiled when the first record of a window fails.
#[derive(Debug, Clone)]
pub(in crate::transform) struct Trace {
    plan: Arc<LogicalPlan>,
    marks: Arc<[Mark]>,
    /// All columns of the source, nullable: those that the plan does not need are null.
    source: SchemaRef,
    needed: Arc<[usize]>,
    window: jiff::Timestamp,
    program: Option<Program>,
}

/// What becomes of one record.
pub(in crate::transform) enum Verdict {
    /// A filter removes it before anything fails.
    Filtered,
    /// Nothing fails in the order of the steps: this is its row.
    Row(RecordBatch),
    /// This fails, in the step or column of this name.
    Failed(Failure, String),
    /// The trace has nothing to say.
    Unknown,
}

impl Trace {
    /// For a plan that was not optimised.
    pub fn new(plan: LogicalPlan, marks: Vec<Mark>, source: &Schema, needed: &[usize]) -> Self {
        let fields = source.fields().iter().map(|field| Field::new(field.name(), field.data_type().clone(), true));
        Self {
            plan: Arc::new(plan),
            marks: marks.into(),
            source: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            needed: needed.into(),
            window: jiff::Timestamp::UNIX_EPOCH,
            program: None,
        }
    }

    /// The same for a window.
    pub fn of_window(&self, window: jiff::Timestamp) -> Self {
        Self { window, program: None, ..self.clone() }
    }

    /// Judges a batch of one record, which has the needed columns. A row gets `schema`.
    pub fn judge(&mut self, record: &RecordBatch, schema: &SchemaRef) -> Verdict {
        let row_wise = is_row_wise(&self.plan);
        let Ok(record) = self.widened(record) else { return Verdict::Unknown };
        let Ok(program) = self.program() else { return Verdict::Unknown };
        let mut only = UInt32Array::from_value(0, 1);
        match program.run(record, &mut only, row_wise.then_some(schema)) {
            Ok(output) if output.num_rows() == 0 => Verdict::Filtered,
            Ok(output) if row_wise => Verdict::Row(output),
            // The row part of an aggregating plan computes more than the steps below the aggregate.
            Ok(_) => Verdict::Unknown,
            Err(failure) => {
                let label = self.label(&failure);
                Verdict::Failed(failure, label)
            }
        }
    }

    fn program(&mut self) -> Result<&Program> {
        if self.program.is_none() {
            let plan = window_time::show(self.plan.as_ref().clone(), self.window)?;
            self.program = Some(Program::compile(&plan)?);
        }
        self.program.as_ref().ok_or_else(|| datafusion::common::DataFusionError::Internal("no trace".to_owned()))
    }

    fn widened(&self, record: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.source.fields().iter().enumerate().map(|(index, field)| {
            match self.needed.iter().position(|needed| *needed == index) {
                Some(position) => Arc::clone(record.column(position)),
                None => new_null_array(field.data_type(), record.num_rows()),
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(record.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.source), columns.collect(), &options)?)
    }

    fn label(&self, failure: &Failure) -> String {
        let mark = self.marks.iter().find(|mark| mark.operators > failure.operator);
        match (mark, &failure.column) {
            (Some(Mark { step, by_column: true, .. }), Some(column)) => format!("{step}.{column}"),
            (Some(Mark { step, .. }), _) => step.clone(),
            (None, Some(column)) => column.clone(),
            (None, None) => "sink".to_owned(),
        }
    }
}
