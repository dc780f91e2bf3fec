//! Transform steps, and the parameters in them.
//!
//! Whether an expression parses, and whether its columns exist, is the worker's planner's to say: it has the SQL engine.

use std::collections::BTreeMap;

use crate::plan::TransformStep;
use crate::streaming_job::{Aggregate, OnError, Step};
use crate::types::ColumnType;

use super::{Place, ResolveError, Resolver};

const STEPS: &str = "filter, derive, select, rename, drop, cast, aggregate, sql, fillNulls, dropNulls, flatten, explode and \
    dropDuplicates";

impl Resolver<'_> {
    pub(super) fn transforms(
        &mut self,
        steps: &[Step],
        parameters: &BTreeMap<String, String>,
    ) -> Option<Vec<TransformStep>> {
        let at = self.spec.child("transforms");
        let steps: Vec<_> = steps
            .iter()
            .enumerate()
            .map(|(index, step)| {
                let at = at.element(index);
                self.parameters(step, parameters, &at);
                self.step(step, &at)
            })
            .collect();
        steps.into_iter().collect()
    }

    fn step(&mut self, step: &Step, at: &Place) -> Option<TransformStep> {
        let on_error = step.on_error.is_some_and(|it| it != OnError::DeadLetter);
        self.later(on_error, at.child("onError"), "onError other than DeadLetter", "use DeadLetter, or remove it");
        let later = [
            ("fillNulls", step.fill_nulls.is_some(), "fillNulls", "use derive with coalesce"),
            ("dropNulls", step.drop_nulls.is_some(), "dropNulls", "use filter with IS NOT NULL"),
            ("flatten", step.flatten.is_some(), "flatten", "use select with the members' names"),
            ("explode", step.explode.is_some(), "explode", "it comes with a later release"),
            (
                "dropDuplicates",
                step.drop_duplicates.is_some(),
                "dropDuplicates",
                "use sql with DISTINCT and scope: Batch",
            ),
        ];
        let now = [
            step.filter.clone().map(TransformStep::Filter),
            step.derive.clone().map(TransformStep::Derive),
            step.select.clone().map(TransformStep::Select),
            step.rename.clone().map(TransformStep::Rename),
            step.drop.clone().map(TransformStep::Drop),
            step.cast.as_ref().map(|types| self.cast(types, &at.child("cast"))),
            step.aggregate.as_ref().map(|aggregate| self.aggregate(aggregate, &at.child("aggregate"))),
            step.sql.clone().map(|query| TransformStep::Sql { query, batch_scope: step.scope.is_some() }),
        ];
        let mut now = now.into_iter().flatten();
        let mut later = later.into_iter().filter(|(_, present, _, _)| *present);
        match (now.next(), later.next(), now.next(), later.next()) {
            (Some(step), None, None, None) => Some(step),
            (None, Some((field, _, what, mend)), None, None) => {
                self.push(ResolveError::NotSupportedYet { at: at.child(field), what, mend })
            }
            _ => self.push(ResolveError::NotExactlyOne { at: at.clone(), members: STEPS }),
        }
    }

    /// What has no type is told and left out.
    fn cast(&mut self, types: &BTreeMap<String, ColumnType>, at: &Place) -> TransformStep {
        let typed = types.iter().filter_map(|(name, type_)| {
            let type_ = self.hive_type(type_, &at.child(name))?;
            Some((name.clone(), type_))
        });
        TransformStep::Cast(typed.collect())
    }

    fn aggregate(&mut self, spec: &Aggregate, at: &Place) -> TransformStep {
        let window = spec.window.is_some();
        self.later(window, at.child("window"), "an aggregate over event time", "use scope: Batch instead of window");
        if !window && spec.scope.is_none() {
            let needed_by = "an aggregate, which sees the rows of one batch of one worker (write scope: Batch),";
            self.errors.push(ResolveError::FieldMissing { at: at.child("scope"), needed_by });
        }
        let group_by = spec.group_by.clone().unwrap_or_default();
        TransformStep::Aggregate { group_by, select: spec.select.clone() }
    }

    /// Checks that each `${name}` of a step names a parameter.
    fn parameters(&mut self, step: &Step, parameters: &BTreeMap<String, String>, at: &Place) {
        let named = |field: &'static str, texts: &Option<BTreeMap<String, String>>| -> Vec<(String, String)> {
            texts.iter().flatten().map(|(name, text)| (format!("{field}.{name}"), text.clone())).collect()
        };
        let listed = |field: &'static str, texts: &Option<Vec<String>>| -> Vec<(String, String)> {
            let texts = texts.iter().flatten().enumerate();
            texts.map(|(index, text)| (format!("{field}[{index}]"), text.clone())).collect()
        };
        let single =
            |field: &str, text: &Option<String>| text.iter().map(|text| (field.to_owned(), text.clone())).collect();
        let mut texts: Vec<(String, String)> = single("filter", &step.filter);
        texts.extend(single("sql", &step.sql));
        texts.extend(named("derive", &step.derive));
        texts.extend(listed("select", &step.select));
        if let Some(aggregate) = &step.aggregate {
            texts.extend(listed("aggregate.groupBy", &aggregate.group_by));
            texts.extend(named("aggregate.select", &Some(aggregate.select.clone())));
        }
        for (field, text) in texts {
            self.parameters_in(&text, parameters, &at.child(field));
        }
    }

    fn parameters_in(&mut self, text: &str, parameters: &BTreeMap<String, String>, at: &Place) {
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            rest = &rest[start + 2..];
            let Some(end) = rest.find('}') else {
                self.errors.push(ResolveError::ParameterUnclosed { at: at.clone() });
                return;
            };
            let parameter = &rest[..end];
            if !parameters.contains_key(parameter) {
                let known: Vec<_> = parameters.keys().map(String::as_str).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let (at, parameter) = (at.clone(), parameter.to_owned());
                self.errors.push(ResolveError::ParameterUnknown { at, parameter, known });
            }
            rest = &rest[end + 1..];
        }
    }
}
