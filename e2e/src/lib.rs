//! What the end-to-end tests stand on: a real broker, real S3 servers, a proxy that spoils requests, a watcher that reads
//! the table all the time, and workers that are killed, frozen and replaced.
//!
//! Nothing in here knows how Sluice works inside. It starts the binary, and judges by what lies in Kafka and in the store.
//! Everything that is started ends with the test process, however that ends (see [`process`]).
#![allow(clippy::print_stderr, reason = "seeds, places of logs and progress are for the person who runs the tests")]

pub mod broker;
pub mod bucket;
pub mod bulk;
pub mod cluster;
pub mod golden;
pub mod job;
pub mod k8s;
pub mod kafka;
pub mod ledger;
pub mod load;
pub mod process;
pub mod produce;
pub mod proxy;
pub mod readers;
pub mod s3;
pub mod table;
pub mod usage;
pub mod watcher;
pub mod worker;
pub mod world;
