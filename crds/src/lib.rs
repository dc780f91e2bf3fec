//! The resources of Sluice and everything that crosses the walls between its programs.
//!
//! [`connection`], [`data_catalog_table`] and [`streaming_job`] are the three custom resources; [`plan`] turns a job with
//! everything it refers to into the one value that a worker runs; [`types`] and [`units`] are the grammars of spec fields;
//! [`condition`] is the one vocabulary of reasons; [`report`] is what workers tell.
//!
//! This crate does no I/O: it is used by the operator, the worker and the command line alike.

pub mod condition;
pub mod plan;
pub mod report;
pub mod types;
pub mod units;
