//! The operator: makes running workers out of `StreamingJob`s, and says in their status how the data is.
//!
//! ```text
//!   API server ──watch──► caches ──who is concerned──► queues ──► reconcile of a job, a connection, a table
//!        ▲                                                           │ dereference, validate, observe, decide,
//!        └────────── server-side apply, status, events ◄─────────────┘ build, apply, status
//! ```
//!
//! What it promises: it never writes a spec; it reads no Secret; it adopts no object that is not its own; whatever the
//! outcome, `status.observedGeneration` says which generation was looked at; an upgrade of the operator restarts no worker.
//! Every step is made from what is there now, so that it may die at any moment.

pub mod agent;
pub mod apply;
pub mod caches;
pub mod check;
pub mod condition;
pub mod connection;
pub mod context;
pub mod controllers;
pub mod data_catalog_table;
pub mod error;
pub mod events;
pub mod http;
pub mod leader;
pub mod live;
pub mod metrics;
pub mod names;
pub mod object;
pub mod pods;
pub mod reports;
pub mod settings;
pub mod status;
pub mod streaming_job;
#[cfg(test)]
mod testing;
pub mod uses;
pub mod views;
