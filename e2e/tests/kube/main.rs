//! The promises of Sluice on a real cluster, each in a file of its own: with `kubectl`, Helm, pods, a real Kafka and a real S3 server.
//!
//! `make kube` brings a cluster up, runs these, and takes it down; with `KUBECONFIG` set it takes that cluster, which must have the
//! image `SLUICE_IMAGE` and reach this machine at `SLUICE_HOST`. One test alone: `make kube TEST=scale`.
//! `SLUICE_KEEP=1` leaves cluster and namespaces as they were at the end.

mod bad_sql;
mod chart;
mod deletion;
mod glue_sample;
mod kill_each_pod;
mod lag;
mod missing_objects;
mod name_conflict;
mod operator_away;
mod plan_change;
mod refused_manifests;
mod restricted_namespace;
mod rights;
mod scale;
mod suspend_and_resume;
mod two_operators;
mod wrong_password;
