//! `now()` is the time of the window, not of the planning and not of the wall.
//!
//! The calls are replaced by placeholders before the plan is optimised, so that nothing folds them into a constant, and
//! each window puts its own time into their place. So a file made again from its ranges holds the same values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DataFusionError, ParamValues, Result, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// Replaces the calls of `now()`, `current_timestamp`, `current_date`, `today()` and `current_time` in a plan.
pub(super) fn hide(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expression| {
            let name = names.save(&expression);
            Ok(expression.transform_up(hide_call)?.update_data(|expression| name.restore(expression)))
        })
    })
    .data()
}

#[allow(clippy::unnecessary_wraps, reason = "the form that the tree walk wants")]
fn hide_call(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expression else { return Ok(Transformed::no(expression)) };
    let (id, data_type) = match call.func.name() {
        "now" => ("$now", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        "current_date" => ("$current_date", DataType::Date32),
        "current_time" => ("$current_time", DataType::Time64(TimeUnit::Nanosecond)),
        _ => return Ok(Transformed::no(expression)),
    };
    let field = Arc::new(Field::new(call.func.name(), data_type, false));
    let placeholder = Placeholder::new_with_field(id.to_owned(), Some(field));
    Ok(Transformed::yes(Expr::Placeholder(placeholder)))
}

/// Puts the time of a window into a plan.
pub(super) fn show(plan: LogicalPlan, window: jiff::Timestamp) -> Result<LogicalPlan> {
    let nanos = window.as_nanosecond();
    let days = nanos.div_euclid(NANOS_PER_DAY) as i32;
    let out_of_range = |_| DataFusionError::Plan(format!("the window's time {window} is out of range"));
    let now = i64::try_from(nanos).map_err(out_of_range)?;
    let values = [
        ("now", ScalarValue::TimestampNanosecond(Some(now), None)),
        ("current_date", ScalarValue::Date32(Some(days))),
        ("current_time", ScalarValue::Time64Nanosecond(Some(nanos.rem_euclid(NANOS_PER_DAY) as i64))),
    ];
    let values: HashMap<String, ScalarAndMetadata> =
        values.into_iter().map(|(name, value)| (name.to_owned(), ScalarAndMetadata::from(value))).collect();
    plan.replace_params_with_values(&ParamValues::Map(values))
}
