//! A chain of filters and projections as physical expressions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, NullArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, Projection};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::calendar::quickened;
use crate::transform::lossless::Misfit;
use crate::transform::split::row_part;

/// Filters and projections, in the order in which they run.
#[derive(Debug, Clone)]
pub(in crate::transform) struct Program {
    operators: Vec<Operator>,
}

#[derive(Debug, Clone)]
enum Operator {
    /// The columns that nothing above reads are not copied: `true` where one is read.
    Filter(Arc<dyn PhysicalExpr>, Option<Vec<bool>>),
    /// The schema is nullable everywhere: what may be null is checked once, at the end.
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
    /// The optimiser found that no row can pass.
    Nothing(SchemaRef),
}

/// Where a program failed.
#[derive(Debug)]
pub(in crate::transform) struct Failure {
    /// Index of the operator.
    pub operator: usize,
    /// The output column, if the operator projects.
    pub column: Option<String>,
    /// Why.
    pub error: DataFusionError,
}

impl Failure {
    /// The value that did not fit, if that is what failed.
    pub fn misfit(&self) -> Option<&Misfit> {
        match self.error.find_root() {
            DataFusionError::External(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

/// How many operators the row part of a plan becomes.
pub(in crate::transform) fn row_operators(plan: &LogicalPlan) -> usize {
    let (mut operators, mut next) = (0, Some(row_part(plan)));
    while let Some(plan) = next {
        operators += usize::from(matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Projection(_)));
        next = plan.inputs().first().copied();
    }
    operators
}

impl Program {
    /// Compiles the row part of a plan, in which no time of a window is missing any more.
    pub fn compile(plan: &LogicalPlan) -> Result<Self> {
        let mut chain = vec![row_part(plan)];
        while let Some(input) = chain.last().and_then(|plan| plan.inputs().first().copied()) {
            chain.push(input);
        }
        let mut operators = Vec::new();
        for plan in chain.into_iter().rev() {
            match plan {
                LogicalPlan::Filter(filter) => {
                    operators.push(Operator::Filter(physical(&filter.predicate, &filter.input)?, None));
                }
                LogicalPlan::Projection(projection) => {
                    let expressions: Result<Vec<_>> =
                        projection.expr.iter().map(|expression| physical(expression, &projection.input)).collect();
                    let expressions = expressions?;
                    if let Some(Operator::Filter(_, read)) = operators.last_mut() {
                        *read = columns_read(projection, &expressions)?;
                    }
                    operators.push(Operator::Project(expressions, nullable(plan)));
                }
                LogicalPlan::EmptyRelation(_) => operators.push(Operator::Nothing(nullable(plan))),
                _ => {}
            }
        }
        Ok(Self { operators })
    }

    /// Runs it. The result has `schema`, if one is given, and its types are those of the plan in any case. `origin` says of
    /// each row where it comes from; like the rows, it loses those that a filter removes.
    pub fn run(
        &self,
        rows: RecordBatch,
        origin: &mut UInt32Array,
        schema: Option<&SchemaRef>,
    ) -> Result<RecordBatch, Failure> {
        let mut rows = rows;
        for (index, operator) in self.operators.iter().enumerate() {
            rows = match operator {
                Operator::Filter(predicate, read) => filter(rows, origin, predicate.as_ref(), read.as_deref())
                    .map_err(|error| Failure { operator: index, column: None, error })?,
                Operator::Project(expressions, schema) => project(&rows, expressions, schema)
                    .map_err(|(column, error)| Failure { operator: index, column, error })?,
                Operator::Nothing(schema) => {
                    *origin = origin.slice(0, 0);
                    RecordBatch::new_empty(Arc::clone(schema))
                }
            };
        }
        let Some(schema) = schema else { return Ok(rows) };
        let operator = self.operators.len().saturating_sub(1);
        with_schema(&rows, schema).map_err(|error| Failure { operator, column: None, error })
    }
}

fn physical(expression: &Expr, input: &LogicalPlan) -> Result<Arc<dyn PhysicalExpr>> {
    let context = PhysicalPlanningContext::default();
    let expression = create_physical_expr(expression, input.schema(), &ExecutionProps::new(), &context)?;
    quickened(expression, input.schema().as_arrow())
}

fn nullable(plan: &LogicalPlan) -> SchemaRef {
    let fields = plan.schema().fields().iter();
    Arc::new(Schema::new(
        fields.map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect::<Vec<_>>(),
    ))
}

/// Which input columns a projection reads; `None` when that cannot be told, or when it reads all.
fn columns_read(projection: &Projection, expressions: &[Arc<dyn PhysicalExpr>]) -> Result<Option<Vec<bool>>> {
    // Lambdas number columns in their own way.
    for expression in &projection.expr {
        if expression.exists(|part| Ok(matches!(part, Expr::HigherOrderFunction(_))))? {
            return Ok(None);
        }
    }
    let mut read = vec![false; projection.input.schema().fields().len()];
    for column in expressions.iter().flat_map(collect_columns) {
        match read.get_mut(column.index()) {
            Some(read) => *read = true,
            None => return Ok(None),
        }
    }
    Ok(read.contains(&false).then_some(read))
}

fn filter(
    rows: RecordBatch,
    origin: &mut UInt32Array,
    predicate: &dyn PhysicalExpr,
    read: Option<&[bool]>,
) -> Result<RecordBatch> {
    // A constant may fail to evaluate, and no row asks for it.
    if rows.num_rows() == 0 {
        return Ok(rows);
    }
    match predicate.evaluate(&rows)? {
        ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))) => Ok(rows),
        ColumnarValue::Scalar(_) => {
            *origin = origin.slice(0, 0);
            Ok(rows.slice(0, 0))
        }
        ColumnarValue::Array(kept) => {
            let kept = kept
                .as_boolean_opt()
                .ok_or_else(|| DataFusionError::Internal(format!("a filter of type {}", kept.data_type())))?;
            // Null is not true. When all rows stay, nothing is copied.
            let count = kept.true_count();
            if count == rows.num_rows() {
                return Ok(rows);
            }
            let filter = FilterBuilder::new(kept).optimize().build();
            *origin = filter.filter(origin)?.as_primitive::<UInt32Type>().clone();
            Ok(filter.filter_record_batch(&without_unread(rows, read)?)?)
        }
    }
}

/// Nulls in place of the columns that nobody reads, which are cheaper to filter than their strings.
fn without_unread(rows: RecordBatch, read: Option<&[bool]>) -> Result<RecordBatch> {
    let Some(read) = read else { return Ok(rows) };
    let (schema, columns, length) = rows.into_parts();
    let nobody: ArrayRef = Arc::new(NullArray::new(length));
    let kept = columns.into_iter().zip(read).map(|(column, read)| if *read { column } else { Arc::clone(&nobody) });
    let columns: Vec<ArrayRef> = kept.collect();
    let field = |(field, column): (&Arc<Field>, &ArrayRef)| Field::new(field.name(), column.data_type().clone(), true);
    let schema = Schema::new(schema.fields().iter().zip(&columns).map(field).collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(length));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}

fn project(
    rows: &RecordBatch,
    expressions: &[Arc<dyn PhysicalExpr>],
    schema: &SchemaRef,
) -> Result<RecordBatch, (Option<String>, DataFusionError)> {
    if rows.num_rows() == 0 {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let mut columns = Vec::with_capacity(expressions.len());
    for (index, expression) in expressions.iter().enumerate() {
        let column = expression.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
        columns.push(column.map_err(|error| (Some(schema.field(index).name().clone()), error))?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| (None, error.into()))
}

/// The same columns under another schema. No row: no question.
pub(in crate::transform) fn with_schema(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.num_rows() == 0 {
        return Ok(RecordBatch::new_empty(Arc::clone(schema)));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), rows.columns().to_vec(), &options)?)
}
