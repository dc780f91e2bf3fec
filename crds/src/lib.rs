//! The resources of Sluice and everything that crosses the walls between its programs.
//!
//! [`connection`], [`data_catalog_table`] and [`streaming_job`] are the three custom resources; [`plan`] turns a job with
//! everything it refers to into the one value that a worker runs; [`types`] and [`units`] are the grammars of spec fields;
//! [`manifest`] reads and checks the YAML of all of them; [`resolve`] makes the plan; [`crd`] holds the generated definitions;
//! [`condition`] is the one vocabulary of reasons; [`report`] is what workers tell.
//!
//! This crate does no I/O: it is used by the operator, the worker and the command line alike.

#![allow(
    clippy::duplicated_attributes,
    reason = "printer columns share types; the lint takes them for repeated attributes"
)]

pub mod condition;
pub mod connection;
pub mod crd;
pub mod data_catalog_table;
pub mod manifest;
pub mod plan;
pub mod reference;
pub mod report;
pub mod resolve;
pub mod streaming_job;
pub mod types;
pub mod units;
