//! DataFusion, closed in: no files, no stores, no catalog, no disk, one table.
//!
//! Texts are planned by [`Planner`] against a [`ContextProvider`] that knows one table, `input`, and functions. What it
//! does not know cannot be reached, whatever the SQL says; the walk over the plan in `confine` comes on top.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DFSchema, DataFusionError, Result, TableReference, plan_err};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::object_store::ObjectStore;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ContextProvider, ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Query, Statement};
use url::Url;

/// The one table that SQL can read.
pub(super) const INPUT: &str = "input";

/// A session without doors. `lanes` is the number of partitions of plans that it makes.
pub(super) fn session(lanes: usize, memory_bytes: usize) -> Result<SessionState> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .with_object_store_registry(Arc::new(NoStores))
        .build_arc()?;
    let mut config = SessionConfig::new().with_target_partitions(lanes).with_information_schema(false);
    config.options_mut().catalog.create_default_catalog_and_schema = false;
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_table_function_list(Vec::new())
        .with_file_formats(Vec::new())
        .build())
}

/// Answers every question for a store with a refusal: the default one would open `file://`.
#[derive(Debug)]
struct NoStores;

impl ObjectStoreRegistry for NoStores {
    fn register_store(&self, _url: &Url, _store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        Err(DataFusionError::Plan(format!("transforms cannot open `{}`", url.scheme())))
    }
}

/// Plans texts over the output of the step before.
pub(super) struct Planner<'a> {
    state: &'a SessionState,
    input: Arc<Table>,
}

impl<'a> Planner<'a> {
    /// For texts over this plan.
    pub fn new(state: &'a SessionState, input: &LogicalPlan) -> Self {
        let schema = Arc::new(input.schema().as_arrow().clone());
        Self { state, input: Arc::new(Table { schema }) }
    }

    /// An expression over the columns of a schema.
    pub fn expression(&self, sql: SqlExpr, schema: &DFSchema) -> Result<Expr> {
        self.sql_to_rel().sql_to_expr(sql, schema, &mut PlannerContext::new())
    }

    /// Do the types of an expression fit each other? Asked here, where the text is known; the analysis of the whole plan
    /// makes them fit.
    pub fn check_types(&self, expression: &Expr, schema: &DFSchema) -> Result<()> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        ExprSimplifier::new(context).coerce(expression.clone(), schema)?;
        Ok(())
    }

    /// A query over the table `input`, which stays a scan of a table without rows.
    pub fn query(&self, query: Box<Query>) -> Result<LogicalPlan> {
        self.sql_to_rel().sql_statement_to_plan(Statement::Query(query))
    }

    fn sql_to_rel(&self) -> SqlToRel<'_, Self> {
        let options = ParserOptions::new()
            .with_enable_ident_normalization(false)
            .with_map_string_types_to_utf8view(false)
            .with_collect_spans(true);
        SqlToRel::new_with_options(self, options)
    }
}

impl ContextProvider for Planner<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match &name {
            TableReference::Bare { table } if table.as_ref() == INPUT => Ok(Arc::clone(&self.input) as _),
            _ => plan_err!("there is no table `{name}`: the only one is `{INPUT}`, the output of the step before"),
        }
    }

    fn get_table_function_source(&self, name: &str, _args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        plan_err!("there is no table function `{name}`: the only table is `{INPUT}`, the output of the step before")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// A table that only has columns: plans are made over it, and its rows come from elsewhere.
pub(super) struct Table {
    /// The columns.
    pub schema: SchemaRef,
}

impl TableSource for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
