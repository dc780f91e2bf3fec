//! Tables: the topic that is read, and the folder that is written.

use std::collections::BTreeSet;

use crate::data_catalog_table::{
    Column, DataCatalogTableSpec, Format, KafkaLocation, OnNewField, ParquetFormat, PartitionKey, SchemaDetectionMode,
    TableFormat,
};
use crate::plan::{ColumnPlan, KafkaPlan, ParquetCompression, SinkFormat, SinkPlan, SourceFormat};
use crate::reference::{LocalRef, ObjectKey, ObjectStoreLocation};
use crate::streaming_job::{JobSink, JobSource};
use crate::types::{ColumnType, HiveType};
use crate::units::Size;

use super::{Place, ResolveError, Resolver};

/// Size of a row group when the table names none: what readers like, and what a writer can hold.
pub const DEFAULT_ROW_GROUP: Size = Size::from_mebibytes(128);
/// Smaller row groups cost more in footers than they hold.
const MIN_ROW_GROUP: Size = Size::from_bytes(64 << 10);
/// Readers take a row group's size for an `int32` here and there.
const MAX_ROW_GROUP: Size = Size::from_mebibytes(2048);
/// The column that `kafkaMetadata` adds.
const KAFKA_COLUMN: &str = "_kafka";

/// A table as a source.
pub(super) struct SourceTable {
    pub(super) kafka: KafkaPlan,
    pub(super) topic: String,
    pub(super) format: SourceFormat,
    pub(super) columns: Vec<ColumnPlan>,
}

/// Where a table is, as far as it is one place.
pub(super) enum Where<'t> {
    Topic(&'t KafkaLocation),
    Folder(&'t ObjectStoreLocation),
}

impl<'a> Resolver<'a> {
    /// The spec of a table that is named or written in the job, and its place.
    fn table<'t>(
        &mut self,
        reference: Option<&LocalRef>,
        inline: Option<&'t DataCatalogTableSpec>,
        field: &str,
    ) -> Option<(&'t DataCatalogTableSpec, Place)>
    where
        'a: 't,
    {
        let at = self.spec.child(field);
        match (reference, inline) {
            (Some(reference), None) => {
                let table = ObjectKey::new(&self.key.namespace, &reference.name);
                match self.tables.get(&table) {
                    Some(found) => Some((&found.spec, Place::new("DataCatalogTable", table, "spec"))),
                    None => self.push(ResolveError::TableNotFound { at: at.child("tableRef.name"), table }),
                }
            }
            (None, Some(spec)) => Some((spec, at.child("table"))),
            _ => self.push(ResolveError::NotExactlyOne { at, members: "tableRef and table" }),
        }
    }

    /// Its one place.
    pub(super) fn place<'t>(&mut self, spec: &'t DataCatalogTableSpec, at: &Place) -> Option<Where<'t>> {
        match (&spec.location.kafka, &spec.location.object_store) {
            (Some(topic), None) => Some(Where::Topic(topic)),
            (None, Some(folder)) => Some(Where::Folder(folder)),
            _ => {
                let at = at.child("location");
                self.push(ResolveError::NotExactlyOne { at, members: "kafka and objectStore" })
            }
        }
    }

    pub(super) fn source_table(&mut self, source: &JobSource, kafka_metadata: bool) -> Option<SourceTable> {
        let (spec, at) = self.table(source.table_ref.as_ref(), source.table.as_ref(), "source")?;
        let topic = match self.place(spec, &at)? {
            Where::Topic(topic) => topic,
            Where::Folder(_) => return self.push(ResolveError::SourceNotKafka { at: at.child("location") }),
        };
        let kafka = self.kafka(&topic.connection_ref, &at.child("location.kafka.connectionRef.name"));
        let format = self.source_format(&spec.format, &at.child("format"));
        let detected = self.table_of_a_later_release(spec, &at);
        let declared = spec.columns.as_deref().unwrap_or_default();
        let columns = self.columns(declared, &at);
        let columns_at = at.child("columns");
        if declared.is_empty() && !detected {
            self.errors.push(ResolveError::NoColumns { at: columns_at.clone() });
        }
        if kafka_metadata && columns.iter().any(|column| column.name == KAFKA_COLUMN) {
            self.errors.push(ResolveError::ReservedColumn { at: columns_at });
        }
        Some(SourceTable { kafka: kafka?, topic: topic.topic.clone(), format: format?, columns })
    }

    pub(super) fn sink(&mut self, sink: &JobSink) -> Option<SinkPlan> {
        let (spec, at) = self.table(sink.table_ref.as_ref(), sink.table.as_ref(), "sink")?;
        let folder = match self.place(spec, &at)? {
            Where::Folder(folder) => folder,
            Where::Topic(_) => {
                let (at, mend) = (at.child("location.kafka"), "write into an objectStore");
                return self.push(ResolveError::NotSupportedYet { at, what: "a sink in Kafka", mend });
            }
        };
        let location = self.location(folder, &at.child("location.objectStore"));
        let format = self.sink_format(&spec.format, &at.child("format"));
        self.table_of_a_later_release(spec, &at);
        let (columns, partition_keys) = self.columns_and_keys(spec, &at);
        Some(SinkPlan {
            location: location?,
            format: format?,
            columns: (!columns.is_empty()).then_some(columns),
            partition_keys,
        })
    }

    /// Is the sink a topic, as far as it can be told?
    pub(super) fn sink_is_topic(&self, sink: &JobSink) -> bool {
        let named = sink.table_ref.as_ref().map(|name| ObjectKey::new(&self.key.namespace, &name.name));
        let named = named.and_then(|key| self.tables.get(&key)).map(|table| &table.spec);
        sink.table.as_ref().or(named).is_some_and(|spec| spec.location.kafka.is_some())
    }

    /// Answers the members of a table that a later release reads. True: columns are to be detected.
    fn table_of_a_later_release(&mut self, spec: &DataCatalogTableSpec, at: &Place) -> bool {
        let lake = spec.table_format.is_some_and(|format| format != TableFormat::None);
        self.later(lake, at.child("tableFormat"), "a table format (Iceberg, Delta)", "use None, or remove it");
        let detected = spec.schema_detection.as_ref().is_some_and(|it| it.mode != SchemaDetectionMode::Disabled);
        let mend = "declare the columns, and set the mode to Disabled or remove it";
        self.later(detected, at.child("schemaDetection.mode"), "schema detection", mend);
        let new_field = spec.on_new_field.is_some_and(|it| it != OnNewField::Ignore);
        self.later(new_field, at.child("onNewField"), "onNewField other than Ignore", "use Ignore, or remove it");
        self.later(spec.compaction.is_some(), at.child("compaction"), "compaction", "remove it");
        detected
    }

    fn source_format(&mut self, format: &Format, at: &Place) -> Option<SourceFormat> {
        match self.one_format(format, at)? {
            "json" => Some(SourceFormat::Json {}),
            "parquet" => self.push(ResolveError::ParquetInTopic { at: at.child("parquet") }),
            name => self.later_format(name, at, "use json"),
        }
    }

    fn sink_format(&mut self, format: &Format, at: &Place) -> Option<SinkFormat> {
        match (self.one_format(format, at)?, &format.parquet) {
            (_, Some(parquet)) => self.parquet(parquet, &at.child("parquet")),
            (name, None) => self.later_format(name, at, "use parquet"),
        }
    }

    /// The name of the one format.
    fn one_format(&mut self, format: &Format, at: &Place) -> Option<&'static str> {
        let names = [
            ("json", format.json.is_some()),
            ("avro", format.avro.is_some()),
            ("csv", format.csv.is_some()),
            ("xml", format.xml.is_some()),
            ("parquet", format.parquet.is_some()),
        ];
        let mut given = names.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
        match (given.next(), given.next()) {
            (Some(name), None) => Some(name),
            _ => self.push(ResolveError::NotExactlyOne { at: at.clone(), members: "json, avro, csv, xml and parquet" }),
        }
    }

    fn later_format<T>(&mut self, name: &'static str, at: &Place, mend: &'static str) -> Option<T> {
        let what = match name {
            "json" => "the format json in an objectStore",
            "avro" => "the format avro",
            "csv" => "the format csv",
            _ => "the format xml",
        };
        self.push(ResolveError::NotSupportedYet { at: at.child(name), what, mend })
    }

    fn parquet(&mut self, spec: &ParquetFormat, at: &Place) -> Option<SinkFormat> {
        let size = spec.row_group_size.unwrap_or(DEFAULT_ROW_GROUP);
        if !(MIN_ROW_GROUP..=MAX_ROW_GROUP).contains(&size) {
            let at = at.child("rowGroupSize");
            let error = ResolveError::SizeOutOfRange { at, value: size, least: MIN_ROW_GROUP, most: MAX_ROW_GROUP };
            return self.push(error);
        }
        let compression = spec.compression.unwrap_or(ParquetCompression::Snappy);
        let compatibility = spec.compatibility.unwrap_or_default();
        Some(SinkFormat::Parquet { compression, row_group_bytes: size.bytes(), compatibility })
    }

    /// What a table declares. Of both, what has no type is told and left out.
    pub(super) fn columns_and_keys(
        &mut self,
        spec: &DataCatalogTableSpec,
        at: &Place,
    ) -> (Vec<ColumnPlan>, Vec<ColumnPlan>) {
        let declared = spec.columns.as_deref().unwrap_or_default();
        let columns = self.columns(declared, at);
        let keys = self.partition_keys(spec.partition_keys.as_deref().unwrap_or_default(), declared, at);
        (columns, keys)
    }

    fn columns(&mut self, columns: &[Column], at: &Place) -> Vec<ColumnPlan> {
        let at = at.child("columns");
        self.unique(columns.iter().map(|column| &column.name), &at);
        let plans = columns.iter().enumerate().filter_map(|(index, column)| {
            let type_ = self.hive_type(&column.type_, &at.element(index).child("type"))?;
            Some(ColumnPlan { name: column.name.clone(), type_, nullable: column.nullable.unwrap_or(true) })
        });
        plans.collect()
    }

    fn partition_keys(&mut self, keys: &[PartitionKey], columns: &[Column], at: &Place) -> Vec<ColumnPlan> {
        let at = at.child("partitionKeys");
        self.unique(keys.iter().map(|key| &key.name), &at);
        let plans = keys.iter().enumerate().filter_map(|(index, key)| {
            let (at, column) = (at.element(index), key.name.clone());
            let type_ = self.hive_type(&key.type_, &at.child("type"))?;
            if columns.iter().any(|column| column.name == key.name) {
                return self.push(ResolveError::PartitionKeyAmongColumns { at, column });
            }
            if !has_one_spelling(&type_) {
                return self.push(ResolveError::PartitionKeyType { at, column, type_ });
            }
            // A null goes into Hive's default partition.
            Some(ColumnPlan { name: column, type_, nullable: true })
        });
        plans.collect()
    }

    /// The type that a text is.
    pub(super) fn hive_type(&mut self, declared: &ColumnType, at: &Place) -> Option<HiveType> {
        match declared.get() {
            Ok(hive) => Some(hive.clone()),
            Err(error) => self.push(ResolveError::TypeInvalid { at: at.clone(), error: error.clone() }),
        }
    }

    fn unique<'n>(&mut self, names: impl Iterator<Item = &'n String>, at: &Place) {
        let mut seen = BTreeSet::new();
        for (index, name) in names.enumerate() {
            if !seen.insert(name) {
                let (at, column) = (at.element(index), name.clone());
                self.errors.push(ResolveError::DuplicateColumn { at, column });
            }
        }
    }
}

/// Does every value of this type have one text, so that readers find it again as a folder's name?
fn has_one_spelling(hive: &HiveType) -> bool {
    use HiveType::{BigInt, Boolean, Date, Int, SmallInt, String, TinyInt};
    matches!(hive, String | TinyInt | SmallInt | Int | BigInt | Date | Boolean)
}
