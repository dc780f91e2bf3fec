//! Who names whom: the tables of a job, the connections of a table and of a job.

use std::collections::BTreeSet;

use sluice_crds::data_catalog_table::DataCatalogTableSpec;
use sluice_crds::streaming_job::StreamingJobSpec;

/// The tables that a job names.
pub fn tables(job: &StreamingJobSpec) -> BTreeSet<&str> {
    [&job.source.table_ref, &job.sink.table_ref].into_iter().flatten().map(|table| table.name.as_str()).collect()
}

/// The connections that a table names.
pub fn connections_of_table(table: &DataCatalogTableSpec) -> BTreeSet<&str> {
    let topic = table.location.kafka.as_ref().map(|topic| &topic.connection_ref);
    let folder = table.location.object_store.as_ref().and_then(|folder| folder.connection_ref.as_ref());
    [topic, folder].into_iter().flatten().map(|connection| connection.name.as_str()).collect()
}

/// The connections that a job names itself, not through a table of its own.
pub fn connections(job: &StreamingJobSpec) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for table in [&job.source.table, &job.sink.table].into_iter().flatten() {
        found.extend(connections_of_table(table));
    }
    let dead_letter = job.dead_letter.as_ref().map(|dead| &dead.object_store);
    for folder in [dead_letter, job.checkpoint.as_ref()].into_iter().flatten() {
        found.extend(folder.connection_ref.iter().map(|connection| connection.name.as_str()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_a_job_needs_is_found_through_its_tables_and_beside_them() {
        let world = testing::manifests();
        let job = &world.jobs.values().next().expect("a job").spec;
        assert_eq!(tables(job), BTreeSet::from(["raw", "orders"]));
        assert_eq!(connections(job), BTreeSet::from(["lake"]));
        let of = |name: &str| {
            &world.tables.values().find(|table| table.metadata.name.as_deref() == Some(name)).expect(name).spec
        };
        assert_eq!(connections_of_table(of("raw")), BTreeSet::from(["kafka"]));
        assert_eq!(connections_of_table(of("orders")), BTreeSet::from(["lake"]));
    }
}
