//! The ledger: the only source of truth for how far a job is.

pub mod record;
