//! What a plan may hold: an allow list of nodes and expressions, one scan, and nothing that changes from call to call.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::error::TransformError;

/// What is wrong with a plan.
#[derive(Debug)]
enum Finding {
    NotSupported(&'static str, &'static str),
    NeedsBatchScope(&'static str),
    Volatile(String),
}

const ONE_INPUT: &str = "read the table `input` once; lookups and joins need a table of their own";
const PLAIN_SELECT: &str = "write one SELECT over the table `input`";

/// Refuses what must not run. `batch_scope`: the step says that it knows that it sees one batch.
pub(super) fn check_plan(step: &str, plan: &LogicalPlan, batch_scope: bool) -> Result<(), TransformError> {
    let mut scans = 0;
    let mut finding = None;
    plan.apply(|node| {
        finding = node_finding(node, batch_scope, &mut scans);
        for expression in node.expressions() {
            finding = finding.take().or(expression_finding(&expression)?);
        }
        Ok(if finding.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })
    .map_err(plan_error)?;
    if finding.is_none() && scans == 0 {
        finding = Some(Finding::NotSupported("a SELECT that does not read the table `input`", "add FROM input"));
    }
    finding.map_or(Ok(()), |finding| Err(finding.into_error(step)))
}

/// Refuses what an expression of a step must not hold. `aggregates`: the step groups rows.
pub(super) fn check_expression(step: &str, expression: &Expr, aggregates: bool) -> Result<(), TransformError> {
    let mut finding = expression_finding(expression).map_err(plan_error)?;
    if finding.is_none() {
        expression
            .apply(|part| {
                finding = match part {
                    Expr::AggregateFunction(_) if !aggregates => {
                        Some(Finding::NotSupported("an aggregate function", "write it in an `aggregate` step"))
                    }
                    Expr::WindowFunction(_) => Some(Finding::NotSupported(
                        "a window function in an expression",
                        "write it in a `sql` step with `scope: Batch`",
                    )),
                    _ => return Ok(TreeNodeRecursion::Continue),
                };
                Ok(TreeNodeRecursion::Stop)
            })
            .map_err(plan_error)?;
    }
    finding.map_or(Ok(()), |finding| Err(finding.into_error(step)))
}

fn node_finding(node: &LogicalPlan, batch_scope: bool, scans: &mut usize) -> Option<Finding> {
    use Finding::{NeedsBatchScope, NotSupported};
    let of_batch = |what| (!batch_scope).then_some(NeedsBatchScope(what));
    match node {
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => None,
        LogicalPlan::TableScan(_) => {
            *scans += 1;
            (*scans > 1).then_some(NotSupported("more than one use of the table `input`", ONE_INPUT))
        }
        LogicalPlan::Aggregate(_) => of_batch("GROUP BY or an aggregate function"),
        LogicalPlan::Distinct(_) => of_batch("DISTINCT"),
        LogicalPlan::Sort(_) => of_batch("ORDER BY"),
        LogicalPlan::Limit(_) => of_batch("LIMIT or OFFSET"),
        LogicalPlan::Window(_) => of_batch("a window function"),
        LogicalPlan::Join(_) => Some(NotSupported("a join", ONE_INPUT)),
        LogicalPlan::Union(_) => Some(NotSupported("UNION", ONE_INPUT)),
        LogicalPlan::Subquery(_) => Some(NotSupported("a sub-select in an expression", ONE_INPUT)),
        LogicalPlan::RecursiveQuery(_) => Some(NotSupported("WITH RECURSIVE", PLAIN_SELECT)),
        LogicalPlan::Values(_) => {
            Some(NotSupported("VALUES", "write the values as expressions of a SELECT over `input`"))
        }
        LogicalPlan::EmptyRelation(_) => {
            Some(NotSupported("a SELECT that does not read the table `input`", "add FROM input"))
        }
        LogicalPlan::Unnest(_) => Some(NotSupported("unnest", "one record gives one row in this release")),
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => {
            Some(NotSupported("EXPLAIN", PLAIN_SELECT))
        }
        LogicalPlan::Repartition(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_) => Some(NotSupported("anything but SELECT", PLAIN_SELECT)),
    }
}

fn expression_finding(expression: &Expr) -> Result<Option<Finding>> {
    let mut finding = None;
    expression.apply(|part| {
        finding = match part {
            Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::OuterReferenceColumn(..) => Some(Finding::NotSupported("a sub-select in an expression", ONE_INPUT)),
            Expr::ScalarVariable(..) => Some(Finding::NotSupported("a variable", "write a parameter: ${name}")),
            Expr::Unnest(_) => Some(Finding::NotSupported("unnest", "one record gives one row in this release")),
            Expr::ScalarFunction(call) => volatile(call.func.name(), call.func.signature().volatility),
            Expr::HigherOrderFunction(call) => volatile(call.func.name(), call.func.signature().volatility),
            Expr::AggregateFunction(call) => volatile(call.func.name(), call.func.signature().volatility),
            Expr::WindowFunction(call) => volatile(call.fun.name(), call.fun.signature().volatility),
            _ => None,
        };
        Ok(if finding.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(finding)
}

/// Stable functions are those that `window_time` gives the time of the window; one that it does not know is refused too.
fn volatile(name: &str, volatility: Volatility) -> Option<Finding> {
    let refused = match volatility {
        Volatility::Immutable => false,
        Volatility::Stable => !matches!(name, "now" | "current_date" | "current_time"),
        Volatility::Volatile => true,
    };
    refused.then(|| Finding::Volatile(name.to_owned()))
}

fn plan_error(error: DataFusionError) -> TransformError {
    TransformError::Plan(Box::new(error))
}

impl Finding {
    fn into_error(self, step: &str) -> TransformError {
        let step = step.to_owned();
        match self {
            Self::NotSupported(what, mend) => {
                TransformError::NotSupported { step, what: what.to_owned(), mend: mend.to_owned() }
            }
            Self::NeedsBatchScope(what) => TransformError::NeedsBatchScope { step, what: what.to_owned() },
            Self::Volatile(function) => TransformError::Volatile { step, function },
        }
    }
}
