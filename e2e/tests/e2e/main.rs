//! The promises of Sluice, each in a file of its own, against a real Kafka and a real S3 server.
//!
//! `make e2e` runs some at a time: each has its own topics, group and bucket, and whatever breaks a broker or a store has
//! one of its own. One test alone: `make e2e TEST=kill_nine`.
//! `UPDATE=1` writes golden files anew. `SLUICE_SEED` repeats a run, `SLUICE_ROUNDS` and `SLUICE_KILLS` make those longer that go in rounds;
//! `SLUICE_NO_MOUNT` leaves out the one that mounts a small disk. `make e2e` sets
//! `SLUICE_WORKER_TESTS`: the program with the worker's own tests, some of which need the real servers.

mod bad_inputs;
mod bounded_run_over_a_rebalance;
mod broker_restart;
mod disk_full;
mod frozen_worker_wakes_up;
mod golden;
mod group_offsets_rewound;
mod kafka_to_s3_exactly_once;
mod kill_nine_in_a_loop;
mod killed_at_every_step;
mod late_put;
mod lifecycle_rules;
mod lost_upload;
mod many_committers;
mod memory;
mod minio_short;
mod old_readers;
mod partitions_added;
mod retention_overtakes;
mod rooms_against_real_servers;
mod store_faults;
mod take_over;
mod the_cluster_itself;
mod the_proxy_itself;
mod topic_recreated;
mod transactions_with_aborts;
mod workers_join_and_leave;
