//! Splits an optimised plan: what looks at one row at a time, and what looks at many.
//!
//! ```text
//! Projection            batch part: once for each window, over the rows of all lanes
//!   Aggregate
//! ----------------
//!     Projection        row part: in each lane, on each batch of records
//!       Filter
//!         TableScan
//! ```

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, TableScan, TableSource};

/// Does the plan look at one row at a time?
pub(super) fn is_row_wise(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Projection(node) => is_row_wise(&node.input),
        LogicalPlan::Filter(node) => is_row_wise(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_row_wise(&node.input),
        _ => false,
    }
}

/// The largest part, from the scan upwards, that looks at one row at a time.
pub(super) fn row_part(plan: &LogicalPlan) -> &LogicalPlan {
    let mut part = plan;
    while !is_row_wise(part) {
        match part.inputs().first() {
            Some(input) => part = input,
            None => break,
        }
    }
    part
}

/// Moves what an aggregate computes for each row into the row part: there, a record on which it fails can be refused alone.
pub(super) fn lower_arguments(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_down(|node| match &node {
        LogicalPlan::Aggregate(aggregate) if is_row_wise(&aggregate.input) => {
            let lowered = lower(aggregate)?;
            Ok(match lowered {
                Some(lowered) => Transformed::new(lowered, true, TreeNodeRecursion::Stop),
                None => Transformed::new(node, false, TreeNodeRecursion::Stop),
            })
        }
        _ => Ok(Transformed::no(node)),
    })
    .data()
}

fn lower(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let mut columns = Columns(Vec::new());
    if aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_))) {
        return Ok(None);
    }
    let groups: Vec<Expr> = aggregate.group_expr.iter().map(|group| columns.lower(group.clone())).collect();
    let mut results = Vec::new();
    for result in &aggregate.aggr_expr {
        let Expr::AggregateFunction(call) = result else { return Ok(None) };
        if call.params.filter.is_some() || !call.params.order_by.is_empty() {
            return Ok(None);
        }
        let mut call = call.clone();
        call.params.args = call.params.args.into_iter().map(|argument| columns.lower(argument)).collect();
        results.push(Expr::AggregateFunction(call));
    }
    if columns.0.iter().all(|column| matches!(column, Expr::Column(_))) {
        return Ok(None);
    }
    let lowered = LogicalPlanBuilder::from(aggregate.input.as_ref().clone())
        .project(columns.0)?
        .aggregate(groups, results)?
        .build()?;
    // The nodes above find the results by name: the columns were named so that nothing changes, or nothing is moved.
    let names = |plan: &LogicalPlan| plan.schema().columns();
    Ok((names(&lowered) == aggregate.schema.columns()).then_some(lowered))
}

/// The column that an expression becomes in the output of the node that computes it.
pub(super) fn column_of(expression: &Expr) -> Column {
    let (relation, name) = expression.qualified_name();
    Column::new(relation, name)
}

/// Expressions of a projection.
struct Columns(Vec<Expr>);

impl Columns {
    /// Adds an expression, unless it is there or a literal; answers with what stands for it above.
    fn lower(&mut self, expression: Expr) -> Expr {
        if matches!(expression, Expr::Literal(..)) {
            return expression;
        }
        let column = column_of(&expression);
        let named = match expression {
            Expr::Column(_) => expression,
            other => other.alias(column.name.clone()),
        };
        if !self.0.contains(&named) {
            self.0.push(named);
        }
        Expr::Column(column)
    }
}

/// The plan with its row part replaced by the scan of a table of the same columns.
pub(super) fn over_table(plan: LogicalPlan, table: &Arc<dyn TableSource>) -> Result<LogicalPlan> {
    debug_assert!(source_as_provider(table).is_ok(), "only a provider can be executed");
    plan.transform_down(|node| {
        if !is_row_wise(&node) {
            return Ok(Transformed::no(node));
        }
        let scan = TableScan {
            table_name: "rows".into(),
            source: Arc::clone(table),
            projection: None,
            projected_schema: Arc::clone(node.schema()),
            filters: Vec::new(),
            fetch: None,
            statistics_requests: std::collections::BTreeSet::new(),
        };
        Ok(Transformed::new(LogicalPlan::TableScan(scan), true, TreeNodeRecursion::Stop))
    })
    .data()
}
