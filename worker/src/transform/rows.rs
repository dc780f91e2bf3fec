//! The row program: filters and projections, evaluated directly on each batch of records.
//!
//! A batch without trouble is one pass. When an expression fails, the batch is halved until the one record that fails is
//! found. That record is then judged by the [`Trace`], which runs the steps one after the other exactly as they were
//! written: the optimiser may have moved an expression before the filter that protects it, and only the trace knows the
//! name of the step that fails.

mod calendar;
mod program;
mod trace;

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

pub(super) use program::{Failure, Program, row_operators, with_schema};
pub(super) use trace::{Trace, Verdict};

use super::error::words;
use super::lossless::Misfit;
use crate::batch::{DecodedBatch, OutputBatch, RecordError, Refused, Stage};

/// Runs the row part of a plan for one window, in one lane.
#[derive(Debug)]
pub struct RowProgram {
    program: Program,
    schema: SchemaRef,
    trace: Trace,
}

impl RowProgram {
    pub(super) fn new(program: Program, schema: SchemaRef, trace: Trace) -> Self {
        Self { program, schema, trace }
    }

    /// Runs the row part on the needed columns. A record on which an expression fails is refused; its neighbours are
    /// what they would be without it. Of a plan that does not aggregate, every record is a row, was filtered, or is refused.
    pub fn apply(&mut self, decoded: DecodedBatch) -> OutputBatch {
        let DecodedBatch { raw, rows, origin, mut refused } = decoded;
        let origin = UInt32Array::from(origin);
        let mut run = Run { rows: &rows, origin: &origin, done: Vec::new(), kept: Vec::new(), refused: Vec::new() };
        self.part(&mut run, 0, rows.num_rows());
        let Run { done, kept, refused: mut more, .. } = run;
        let (output, origin) = self.joined(done, kept, &mut more);
        let filtered = (rows.num_rows() - more.len()).saturating_sub(output.num_rows()) as u64;
        if !more.is_empty() {
            refused.extend(more);
            refused.sort_unstable_by_key(|refused| refused.row);
        }
        OutputBatch { raw, rows: output, origin, refused, filtered }
    }

    fn part(&mut self, run: &mut Run<'_>, start: usize, length: usize) {
        if length == 0 {
            return;
        }
        let rows = if length == run.rows.num_rows() { run.rows.clone() } else { run.rows.slice(start, length) };
        let mut origin = run.origin.slice(start, length);
        match self.program.run(rows, &mut origin, Some(&self.schema)) {
            Ok(output) => run.keep(output, origin),
            Err(failure) if length == 1 => self.judge(run, start, &failure),
            Err(_) => {
                let half = length / 2;
                self.part(run, start, half);
                self.part(run, start + half, length - half);
            }
        }
    }

    /// One record, on which the optimised program fails.
    fn judge(&mut self, run: &mut Run<'_>, row: usize, failure: &Failure) {
        let error = match self.trace.judge(&run.rows.slice(row, 1), &self.schema) {
            Verdict::Filtered => return,
            Verdict::Row(output) => {
                run.keep(output, run.origin.slice(row, 1));
                return;
            }
            Verdict::Failed(failure, label) => record_error(&failure, Some(label)),
            Verdict::Unknown => record_error(failure, None),
        };
        run.refused.push(Refused { row: run.origin.value(row), error });
    }

    fn joined(
        &self,
        mut done: Vec<RecordBatch>,
        mut kept: Vec<UInt32Array>,
        refused: &mut Vec<Refused>,
    ) -> (RecordBatch, UInt32Array) {
        if done.len() == 1
            && let (Some(rows), Some(origin)) = (done.pop(), kept.pop())
        {
            return (rows, origin);
        }
        let origin: Vec<u32> = kept.iter().flat_map(UInt32Array::values).copied().collect();
        match concat_batches(&self.schema, &done) {
            Ok(rows) => (rows, origin.into()),
            // Batches of one schema always concatenate, except beyond 2 GiB of strings in a column: an expression made
            // them so long.
            Err(error) => {
                let error = RecordError {
                    stage: Stage::Transform,
                    code: "BatchTooLarge",
                    message: error.to_string(),
                    field: None,
                };
                refused.extend(origin.into_iter().map(|row| Refused { row, error: error.clone() }));
                (RecordBatch::new_empty(Arc::clone(&self.schema)), UInt32Array::from_iter_values([]))
            }
        }
    }
}

/// One call of [`RowProgram::apply`].
struct Run<'a> {
    rows: &'a RecordBatch,
    origin: &'a UInt32Array,
    done: Vec<RecordBatch>,
    /// The origin of what is done.
    kept: Vec<UInt32Array>,
    refused: Vec<Refused>,
}

impl Run<'_> {
    fn keep(&mut self, rows: RecordBatch, origin: UInt32Array) {
        self.done.push(rows);
        self.kept.push(origin);
    }
}

fn record_error(failure: &Failure, label: Option<String>) -> RecordError {
    match failure.misfit() {
        Some(Misfit { code, column, message }) => {
            RecordError { stage: Stage::Transform, code, message: message.clone(), field: Some(column.clone()) }
        }
        None => RecordError {
            stage: Stage::Transform,
            code: "ExpressionFailed",
            message: words(failure.error.find_root()),
            field: label.or_else(|| failure.column.clone()),
        },
    }
}
