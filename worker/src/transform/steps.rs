//! The steps as one logical plan: each step reads the table `input`, which is the output of the step before.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::utils::find_aggregate_exprs;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, SelectItem};
use sluice_crds::plan::TransformStep;
use sluice_crds::types::HiveType;

use super::cast::{can_cast, type_name};
use super::error::{Place, TransformError, unknown_column};
use super::lossless::lossless;
use super::rows::row_operators;
use super::session::{INPUT, Planner, Table};
use super::split::column_of;
use super::text::Text;
use super::{confine, window_time};
use crate::schema::data_type;

/// The most steps: each is a level of the plan, and the plan is analysed after each of them.
const MOST_STEPS: usize = 100;

/// A plan, and which of its operators belong to which step.
pub(super) struct Composed {
    /// Analysed, not optimised; qualified by `input`.
    pub plan: LogicalPlan,
    /// In order.
    pub marks: Vec<Mark>,
}

/// The end of a step in the chain of row operators.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    /// Row operators of this step and of all before it.
    pub operators: usize,
    /// `transforms[1].derive`
    pub step: String,
    /// Are the step's expressions named by their columns?
    pub by_column: bool,
}

/// Composes the steps over the source's columns.
pub(super) fn compose(
    state: &SessionState,
    source: SchemaRef,
    steps: &[TransformStep],
    parameters: &BTreeMap<String, String>,
) -> Result<Composed, TransformError> {
    let scan =
        LogicalPlanBuilder::scan(INPUT, Arc::new(Table { schema: source }), None).and_then(LogicalPlanBuilder::build);
    if steps.len() > MOST_STEPS {
        let message = format!("{} steps are more than {MOST_STEPS}; derive several columns in one step", steps.len());
        return Err(meaning("transforms", message));
    }
    let operators = Cell::new(0);
    let mut composed = Composed { plan: scan.map_err(whole)?, marks: Vec::new() };
    for (index, step) in steps.iter().enumerate() {
        let composer = Composer {
            step: format!("transforms[{index}].{}", kind(step)),
            planner: Planner::new(state, &composed.plan),
            input: composed.plan,
            parameters,
            operators: &operators,
        };
        let (name, text) = (composer.step.clone(), single_text(step));
        let plan = composer.step(step)?;
        let about_text = |error: DataFusionError| super::error::planner(&name, text, &error);
        check_names(&name, plan.schema().fields().iter().map(|field| field.name().clone()))?;
        let plan =
            LogicalPlanBuilder::from(plan).alias(INPUT).and_then(LogicalPlanBuilder::build).map_err(about_text)?;
        let plan = analyse(state, plan).map_err(about_text)?;
        let by_column = !matches!(step, TransformStep::Filter(_) | TransformStep::Sql { .. });
        composed.marks.push(Mark { operators: row_operators(&plan), step: name, by_column });
        composed.plan = plan;
    }
    Ok(composed)
}

/// Makes types fit each other, and hides the calls of `now()`.
pub(super) fn analyse(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    state.analyzer().execute_and_check(window_time::hide(plan)?, state.config_options(), |_, _| {})
}

fn kind(step: &TransformStep) -> &'static str {
    match step {
        TransformStep::Filter(_) => "filter",
        TransformStep::Derive(_) => "derive",
        TransformStep::Select(_) => "select",
        TransformStep::Rename(_) => "rename",
        TransformStep::Drop(_) => "drop",
        TransformStep::Cast(_) => "cast",
        TransformStep::Aggregate { .. } => "aggregate",
        TransformStep::Sql { .. } => "sql",
    }
}

/// The text that a position can be shown in, where a step has just one.
fn single_text(step: &TransformStep) -> &str {
    match step {
        TransformStep::Filter(text) | TransformStep::Sql { query: text, .. } => text,
        _ => "",
    }
}

/// Two columns of one name could not be told apart by the next step, nor by the sink.
fn check_names(step: &str, names: impl IntoIterator<Item = String>) -> Result<(), TransformError> {
    let mut known = BTreeSet::new();
    match names.into_iter().find(|name| !known.insert(name.clone())) {
        None => Ok(()),
        Some(name) => Err(meaning(step, format!("two columns are named `{name}`; give one of them another name"))),
    }
}

fn meaning(step: &str, message: String) -> TransformError {
    TransformError::Meaning { step: step.to_owned(), message, place: Place::default() }
}

fn whole(error: DataFusionError) -> TransformError {
    TransformError::Plan(Box::new(error))
}

struct Composer<'a> {
    step: String,
    planner: Planner<'a>,
    input: LogicalPlan,
    parameters: &'a BTreeMap<String, String>,
    operators: &'a Cell<usize>,
}

impl Composer<'_> {
    fn step(self, step: &TransformStep) -> Result<LogicalPlan, TransformError> {
        match step {
            TransformStep::Filter(text) => self.filter(text),
            TransformStep::Derive(columns) => self.derive(columns),
            TransformStep::Select(items) => self.select(items),
            TransformStep::Rename(names) => self.rename(names),
            TransformStep::Drop(names) => self.drop(names),
            TransformStep::Cast(types) => self.cast(types),
            TransformStep::Aggregate { group_by, select } => self.aggregate(group_by, select),
            TransformStep::Sql { query, batch_scope } => self.sql(query, *batch_scope),
        }
    }

    fn text<'t>(&'t self, step: &'t str, sql: &'t str) -> Text<'t> {
        Text { step, sql, parameters: self.parameters, operators: self.operators }
    }

    fn schema(&self) -> &DFSchema {
        self.input.schema()
    }

    fn expression(&self, text: &Text<'_>, sql: SqlExpr, aggregates: bool) -> Result<Expr, TransformError> {
        let expression = self.planner.expression(sql, self.schema()).map_err(|error| text.planner(&error))?;
        confine::check_expression(text.step, &expression, aggregates)?;
        self.planner.check_types(&expression, self.schema()).map_err(|error| text.planner(&error))?;
        Ok(expression)
    }

    /// All columns, in order, with a change for some of them; `None` drops a column.
    fn project(
        &self,
        change: impl Fn(&str, Expr) -> Option<Expr>,
        more: Vec<Expr>,
    ) -> Result<LogicalPlan, TransformError> {
        let columns = self
            .schema()
            .iter()
            .filter_map(|(qualifier, field)| change(field.name(), Expr::Column(Column::from((qualifier, field)))));
        let expressions: Vec<Expr> = columns.chain(more).collect();
        check_names(&self.step, expressions.iter().map(|expression| expression.qualified_name().1))?;
        LogicalPlanBuilder::from(self.input.clone())
            .project(expressions)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| super::error::planner(&self.step, "", &error))
    }

    fn check_columns<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Result<(), TransformError> {
        let known: Vec<&str> = self.schema().fields().iter().map(|field| field.name().as_str()).collect();
        match names.into_iter().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(unknown_column(self.step.clone(), name, &known, Place::default())),
        }
    }

    fn filter(&self, sql: &str) -> Result<LogicalPlan, TransformError> {
        let text = self.text(&self.step, sql);
        let predicate = self.expression(&text, text.expression()?, false)?;
        LogicalPlanBuilder::from(self.input.clone())
            .filter(predicate)
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| text.planner(&error))
    }

    /// Known names are replaced where they stand, new ones follow in the order of their names.
    fn derive(&self, columns: &BTreeMap<String, String>) -> Result<LogicalPlan, TransformError> {
        let mut derived = BTreeMap::new();
        for (name, sql) in columns {
            let step = format!("{}.{name}", self.step);
            let text = self.text(&step, sql);
            derived.insert(name.as_str(), self.expression(&text, text.expression()?, false)?.alias(name));
        }
        let known = |name: &str| self.schema().has_column_with_unqualified_name(name);
        let new = derived.iter().filter(|(name, _)| !known(name)).map(|(_, expression)| expression.clone()).collect();
        self.project(|name, column| Some(derived.get(name).cloned().unwrap_or(column)), new)
    }

    fn select(&self, items: &[String]) -> Result<LogicalPlan, TransformError> {
        let mut selected = Vec::new();
        for (index, sql) in items.iter().enumerate() {
            if sql.trim() == "*" {
                selected.extend(
                    self.schema().iter().map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field)))),
                );
            } else {
                selected.push(self.named(&format!("{}[{index}]", self.step), sql)?);
            }
        }
        self.project(|_, _| None, selected)
    }

    /// `a`, `a.b` (named `b`) or `expression AS name`.
    fn named(&self, step: &str, sql: &str) -> Result<Expr, TransformError> {
        let text = self.text(step, sql);
        let (expression, name) = match text.select_item()? {
            SelectItem::ExprWithAlias { expr, alias } => (expr, alias.value),
            SelectItem::UnnamedExpr(SqlExpr::Identifier(name)) => (SqlExpr::Identifier(name.clone()), name.value),
            SelectItem::UnnamedExpr(SqlExpr::CompoundIdentifier(path)) => {
                let name = path.last().map(|name| name.value.clone()).unwrap_or_default();
                (SqlExpr::CompoundIdentifier(path), name)
            }
            _ => return Err(text.not_supported("an expression without a name", "write `expression AS name`")),
        };
        Ok(self.expression(&text, expression, false)?.alias(name))
    }

    fn rename(&self, names: &BTreeMap<String, String>) -> Result<LogicalPlan, TransformError> {
        self.check_columns(names.keys())?;
        let renamed = |name: &str, column: Expr| match names.get(name) {
            Some(new) => column.alias(new),
            None => column,
        };
        self.project(|name, column| Some(renamed(name, column)), Vec::new())
    }

    fn drop(&self, names: &[String]) -> Result<LogicalPlan, TransformError> {
        self.check_columns(names)?;
        self.project(|name, column| (!names.iter().any(|dropped| dropped == name)).then_some(column), Vec::new())
    }

    fn cast(&self, types: &BTreeMap<String, HiveType>) -> Result<LogicalPlan, TransformError> {
        self.check_columns(types.keys())?;
        let mut casts = BTreeMap::new();
        for field in self.schema().fields() {
            let Some(hive) = types.get(field.name()) else { continue };
            let (from, to) = (field.data_type(), data_type(hive));
            if !can_cast(from, &to) {
                return Err(meaning(&self.step, uncastable(field.name(), &type_name(from), &hive.to_string())));
            }
            casts.insert(field.name().as_str(), (from != &to).then_some(to));
        }
        let cast = |name: &str, column: Expr| match casts.get(name) {
            Some(Some(to)) => lossless(column, name, to, false).alias(name),
            _ => column,
        };
        self.project(|name, column| Some(cast(name, column)), Vec::new())
    }

    fn aggregate(&self, group_by: &[String], select: &BTreeMap<String, String>) -> Result<LogicalPlan, TransformError> {
        let (mut groups, mut output) = (Vec::new(), Vec::new());
        for (index, sql) in group_by.iter().enumerate() {
            let named = self.named(&format!("{}.groupBy[{index}]", self.step), sql)?;
            let (group, name) = match named {
                Expr::Alias(alias) => (*alias.expr, alias.name),
                other => (other.clone(), other.schema_name().to_string()),
            };
            output.push(Expr::Column(column_of(&group)).alias(name));
            groups.push(group);
        }
        let mut results = Vec::new();
        for (name, sql) in select {
            let step = format!("{}.select.{name}", self.step);
            let text = self.text(&step, sql);
            let result = self.expression(&text, text.expression()?, true)?;
            check_grouped(&text, &result, &groups)?;
            results.push((name, result));
        }
        let aggregates = find_aggregate_exprs(results.iter().map(|(_, result)| result));
        for (name, result) in results {
            output.push(over_groups(result, &groups, &aggregates).map_err(whole)?.alias(name));
        }
        check_names(&self.step, output.iter().map(|column| column.qualified_name().1))?;
        LogicalPlanBuilder::from(self.input.clone())
            .aggregate(groups, aggregates)
            .and_then(|builder| builder.project(output))
            .and_then(LogicalPlanBuilder::build)
            .map_err(|error| super::error::planner(&self.step, "", &error))
    }

    fn sql(&self, sql: &str, batch_scope: bool) -> Result<LogicalPlan, TransformError> {
        let text = self.text(&self.step, sql);
        let plan = self.planner.query(text.query()?).map_err(|error| text.planner(&error))?;
        confine::check_plan(&self.step, &plan, batch_scope)?;
        // Only now the scan of `input` becomes the steps before: what they may do was checked with them.
        plan.transform_up(|node| {
            Ok(match node {
                LogicalPlan::TableScan(_) => Transformed::yes(self.input.clone()),
                other => Transformed::no(other),
            })
        })
        .data()
        .map_err(whole)
    }
}

/// A column beside an aggregate must be a group.
fn check_grouped(text: &Text<'_>, expression: &Expr, groups: &[Expr]) -> Result<(), TransformError> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut loose = None;
    let walk = expression.apply(|part| {
        if matches!(part, Expr::AggregateFunction(_)) || groups.contains(part) {
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Expr::Column(column) = part {
            loose = Some(column.name.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walk.map_err(whole)?;
    match loose {
        None => Ok(()),
        Some(column) => {
            let message = format!(
                "the column `{column}` has many values in a group; write it inside of an aggregate function, such as max({column}), or into `groupBy`"
            );
            Err(meaning(text.step, message))
        }
    }
}

/// Groups and aggregates inside of an expression become columns of the aggregated plan.
fn over_groups(expression: Expr, groups: &[Expr], aggregates: &[Expr]) -> Result<Expr> {
    expression
        .transform_down(|part| {
            Ok(if groups.contains(&part) || aggregates.contains(&part) {
                Transformed::new(
                    Expr::Column(column_of(&part)),
                    true,
                    datafusion::common::tree_node::TreeNodeRecursion::Jump,
                )
            } else {
                Transformed::no(part)
            })
        })
        .data()
}

/// Why there is no lossless cast between two types, and what to write instead.
pub(super) fn uncastable(column: &str, from: &str, to: &str) -> String {
    let mend = match (from, to) {
        ("bigint" | "int" | "double", "timestamp" | "timestamp_ntz") => {
            format!("derive it with to_timestamp_millis({column}), or to_timestamp_seconds")
        }
        ("timestamp" | "timestamp_ntz", "bigint" | "int") => format!("derive it with to_unixtime({column})"),
        _ => "derive it with an expression".to_owned(),
    };
    format!("the column `{column}` of type {from} cannot become {to}; {mend}")
}
