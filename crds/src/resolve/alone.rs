//! What a connection and a table say by themselves, without a job: where they are, and how to get there.

use std::collections::BTreeMap;

use crate::connection::Connection;
use crate::data_catalog_table::DataCatalogTable;
use crate::plan::{KafkaPlan, Location, S3Plan};
use crate::reference::{LocalRef, ObjectKey};

use super::table::Where;
use super::{Place, ResolveContext, ResolveError, Resolver};

/// How to reach what a connection names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Brokers.
    Kafka(KafkaPlan),
    /// An object store.
    S3(S3Plan),
}

/// Where a table is, and how to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TablePlace {
    /// A topic.
    Topic {
        /// Its brokers.
        kafka: KafkaPlan,
        /// Its name.
        topic: String,
    },
    /// A folder.
    Folder(Location),
}

/// How to reach what this connection names, or everything that is wrong with it.
pub fn endpoint(connection: &Connection) -> Result<Endpoint, Vec<ResolveError>> {
    let key = ObjectKey::of(&connection.metadata);
    let at = Place::new("Connection", key.clone(), "spec");
    let (tables, connections) = (BTreeMap::new(), BTreeMap::from([(key.clone(), connection.clone())]));
    // Whether a folder of this machine may be named does not concern a connection.
    let context = ResolveContext::Local;
    let reference = LocalRef { name: key.name.clone() };
    let mut resolver = Resolver {
        key,
        spec: at.clone(),
        tables: &tables,
        connections: &connections,
        context: &context,
        errors: Vec::new(),
    };
    let found = match (&connection.spec.kafka, &connection.spec.s3) {
        (Some(_), None) => resolver.kafka(&reference, &at).map(Endpoint::Kafka),
        (None, Some(_)) => resolver.s3(&reference, &at).map(Endpoint::S3),
        _ => resolver.push(ResolveError::NotExactlyOne { at, members: "kafka and s3" }),
    };
    resolver.ended(found)
}

/// Where this table is, or everything that is wrong with its location and its columns.
pub fn table_place(
    table: &DataCatalogTable,
    connections: &BTreeMap<ObjectKey, Connection>,
    context: &ResolveContext,
) -> Result<TablePlace, Vec<ResolveError>> {
    let key = ObjectKey::of(&table.metadata);
    let at = Place::new("DataCatalogTable", key.clone(), "spec");
    let tables = BTreeMap::new();
    let mut resolver = Resolver { key, spec: at.clone(), tables: &tables, connections, context, errors: Vec::new() };
    let found = match resolver.place(&table.spec, &at) {
        Some(Where::Topic(topic)) => {
            let kafka = resolver.kafka(&topic.connection_ref, &at.child("location.kafka.connectionRef.name"));
            kafka.map(|kafka| TablePlace::Topic { kafka, topic: topic.topic.clone() })
        }
        Some(Where::Folder(folder)) => {
            resolver.location(folder, &at.child("location.objectStore")).map(TablePlace::Folder)
        }
        None => None,
    };
    resolver.columns_and_keys(&table.spec, &at);
    resolver.ended(found)
}
