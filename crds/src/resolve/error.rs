//! Why a job cannot become a plan: one variant for each rule.

use std::fmt;

use crate::condition::Reason;
use crate::reference::ObjectKey;
use crate::types::{HiveType, TypeError};
use crate::units::{Duration, Size};

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The kind of the object.
    pub kind: &'static str,
    /// The object.
    pub object: ObjectKey,
    /// The field, as a path from the root of the object: `spec.source.tableRef.name`.
    pub field: String,
}

impl Place {
    /// A field of an object.
    pub fn new(kind: &'static str, object: ObjectKey, field: impl Into<String>) -> Self {
        Self { kind, object, field: field.into() }
    }

    /// A field below this one.
    #[must_use]
    pub fn child(&self, field: impl fmt::Display) -> Self {
        Self { field: format!("{}.{field}", self.field), ..self.clone() }
    }

    /// An element of the list that this field is.
    #[must_use]
    pub fn element(&self, index: usize) -> Self {
        Self { field: format!("{}[{index}]", self.field), ..self.clone() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.object, self.field)
    }
}

/// Why a job cannot become a plan. The message names the object, the field and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// A table is named that does not exist.
    #[error("{at} names the DataCatalogTable `{table}`, which does not exist: create it, or correct the name")]
    TableNotFound {
        /// Where.
        at: Place,
        /// The table.
        table: ObjectKey,
    },
    /// A connection is named that does not exist.
    #[error("{at} names the Connection `{connection}`, which does not exist: create it, or correct the name")]
    ConnectionNotFound {
        /// Where.
        at: Place,
        /// The connection.
        connection: ObjectKey,
    },
    /// A connection of the wrong kind is named.
    #[error("{at} names the Connection `{connection}`, which is not of kind {wanted}: name one with spec.{wanted}")]
    WrongConnection {
        /// Where.
        at: Place,
        /// The connection.
        connection: ObjectKey,
        /// `kafka` or `s3`.
        wanted: &'static str,
    },
    /// A choice has no member, or several.
    #[error("{at} must have exactly one of {members}")]
    NotExactlyOne {
        /// Where.
        at: Place,
        /// The members to choose from.
        members: &'static str,
    },
    /// A field is missing that another one needs.
    #[error("{at} is missing: {needed_by} needs it")]
    FieldMissing {
        /// Where.
        at: Place,
        /// What needs it.
        needed_by: &'static str,
    },
    /// The source is a folder.
    #[error("{at} is a folder of files, and a job reads topics only: name a table with a kafka location")]
    SourceNotKafka {
        /// Where.
        at: Place,
    },
    /// The source has no columns.
    #[error("{at} is empty: declare the columns that the job reads, such as {{name: id, type: string}}")]
    NoColumns {
        /// Where.
        at: Place,
    },
    /// A name stands twice.
    #[error("{at}: the column `{column}` stands twice: rename or remove one of them")]
    DuplicateColumn {
        /// Where.
        at: Place,
        /// The column.
        column: String,
    },
    /// A partition key is also a column.
    #[error(
        "{at}: `{column}` also stands among columns: a partition key is kept in the folder's name only, so remove the column"
    )]
    PartitionKeyAmongColumns {
        /// Where.
        at: Place,
        /// The column.
        column: String,
    },
    /// A partition key is of a type that has no one spelling.
    #[error(
        "{at}: `{column}` is of type {type_}, which cannot be a folder's name: use string, tinyint, smallint, int, bigint, date or boolean"
    )]
    PartitionKeyType {
        /// Where.
        at: Place,
        /// The column.
        column: String,
        /// Its type.
        type_: HiveType,
    },
    /// A text that is no type.
    #[error("{at}: {error}")]
    TypeInvalid {
        /// Where.
        at: Place,
        /// What is wrong with it.
        error: TypeError,
    },
    /// A column has the name of the column that Sluice adds.
    #[error("{at}: the column `_kafka` is added by kafkaMetadata: rename yours, or set kafkaMetadata to false")]
    ReservedColumn {
        /// Where.
        at: Place,
    },
    /// A topic cannot hold this format, or a folder cannot.
    #[error("{at}: a topic cannot hold parquet: use json")]
    ParquetInTopic {
        /// Where.
        at: Place,
    },
    /// A later release does this.
    #[error("{at}: {what} is not supported yet: {mend}")]
    NotSupportedYet {
        /// Where.
        at: Place,
        /// What.
        what: &'static str,
        /// What to do instead.
        mend: &'static str,
    },
    /// Not a url of a folder or an endpoint.
    #[error("{at}: `{url}` {problem}; example: {example}")]
    UrlInvalid {
        /// Where.
        at: Place,
        /// The url.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
        /// A right one.
        example: &'static str,
    },
    /// A folder of the local file system in a cluster.
    #[error("{at}: `{url}` is a local folder, which works with `sluice run` only: use s3:// in a cluster")]
    FileUrlInCluster {
        /// Where.
        at: Place,
        /// The url.
        url: String,
    },
    /// A bucket without a connection.
    #[error("{at} is missing: `{url}` needs the name of an s3 Connection, such as {{name: lake}}")]
    ConnectionRefMissing {
        /// Where.
        at: Place,
        /// The url.
        url: String,
    },
    /// There is no default checkpoint.
    #[error(
        "{at} is missing: a sink {sink} has no place beside it for the ledger, so name a folder, such as s3://lake/checkpoints/my-job/"
    )]
    CheckpointNeeded {
        /// Where.
        at: Place,
        /// What kind of sink.
        sink: &'static str,
    },
    /// A folder lies inside of the sink's.
    #[error(
        "{at}: `{url}` is inside of the sink's folder `{sink}`, where readers take every file for rows: move it out"
    )]
    InsideSink {
        /// Where.
        at: Place,
        /// The folder.
        url: String,
        /// The sink's folder.
        sink: String,
    },
    /// A property of librdkafka that Sluice sets itself.
    #[error("{at}: the property `{property}` is owned by Sluice: {mend}")]
    PropertyOwned {
        /// Where.
        at: Place,
        /// The property.
        property: String,
        /// What to do instead.
        mend: &'static str,
    },
    /// A bootstrap server that is not `host:port`.
    #[error("{at}: `{server}` is not host:port; example: kafka-0.corp:9093")]
    ServerInvalid {
        /// Where.
        at: Place,
        /// The server.
        server: String,
    },
    /// A login that needs TLS, without it.
    #[error("{at}: authentication of type {type_} works over TLS only: add tls: {{}}")]
    TlsNeeded {
        /// Where.
        at: Place,
        /// The type of login.
        type_: &'static str,
    },
    /// A name that no Secret can have. It is not repeated, because it may be anything.
    #[error(
        "{at} is no name of a Secret, which has small letters, digits, hyphens and dots: write the name as kubectl get secrets shows it"
    )]
    SecretNameInvalid {
        /// Where.
        at: Place,
    },
    /// A name that no key of a Secret can have. It is not repeated, because it may be the secret value itself.
    #[error(
        "{at} is no key of a Secret, which has letters, digits, hyphens, underscores and dots: write the name of the key as kubectl \
         describe secret shows it, and not its value"
    )]
    SecretKeyInvalid {
        /// Where.
        at: Place,
    },
    /// `${name}` without a parameter of this name.
    #[error("{at}: there is no parameter `{parameter}`: add it to spec.parameters, which has {known}")]
    ParameterUnknown {
        /// Where.
        at: Place,
        /// The parameter.
        parameter: String,
        /// The parameters that there are.
        known: String,
    },
    /// `${` without `}`.
    #[error("{at}: a `${{` is never closed: write ${{name}}")]
    ParameterUnclosed {
        /// Where.
        at: Place,
    },
    /// A duration out of its bounds.
    #[error("{at}: {value} must be from {least} to {most}")]
    DurationOutOfRange {
        /// Where.
        at: Place,
        /// The value.
        value: Duration,
        /// The smallest allowed.
        least: Duration,
        /// The largest allowed.
        most: Duration,
    },
    /// A size out of its bounds.
    #[error("{at}: {value} must be from {least} to {most}")]
    SizeOutOfRange {
        /// Where.
        at: Place,
        /// The value.
        value: Size,
        /// The smallest allowed.
        least: Size,
        /// The largest allowed.
        most: Size,
    },
    /// A number out of its bounds.
    #[error("{at}: {value} must be from {least} to {most}")]
    NumberOutOfRange {
        /// Where.
        at: Place,
        /// The value, as text.
        value: String,
        /// The smallest allowed.
        least: i64,
        /// The largest allowed.
        most: i64,
    },
}

impl ResolveError {
    /// The reason, as conditions and messages show it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TableNotFound { .. } | Self::ConnectionNotFound { .. } => Reason::ReferenceNotFound,
            Self::ParameterUnknown { .. } | Self::ParameterUnclosed { .. } => Reason::TransformInvalid,
            _ => Reason::ConfigInvalid,
        }
    }

    /// Is this only something that a later release does?
    pub fn is_not_supported_yet(&self) -> bool {
        matches!(self, Self::NotSupportedYet { .. })
    }

    /// The field at fault.
    pub fn place(&self) -> &Place {
        match self {
            Self::TableNotFound { at, .. }
            | Self::ConnectionNotFound { at, .. }
            | Self::WrongConnection { at, .. }
            | Self::NotExactlyOne { at, .. }
            | Self::FieldMissing { at, .. }
            | Self::SourceNotKafka { at }
            | Self::NoColumns { at }
            | Self::DuplicateColumn { at, .. }
            | Self::PartitionKeyAmongColumns { at, .. }
            | Self::PartitionKeyType { at, .. }
            | Self::TypeInvalid { at, .. }
            | Self::ReservedColumn { at }
            | Self::ParquetInTopic { at }
            | Self::NotSupportedYet { at, .. }
            | Self::UrlInvalid { at, .. }
            | Self::FileUrlInCluster { at, .. }
            | Self::ConnectionRefMissing { at, .. }
            | Self::CheckpointNeeded { at, .. }
            | Self::InsideSink { at, .. }
            | Self::PropertyOwned { at, .. }
            | Self::ServerInvalid { at, .. }
            | Self::TlsNeeded { at, .. }
            | Self::SecretNameInvalid { at }
            | Self::SecretKeyInvalid { at }
            | Self::ParameterUnknown { at, .. }
            | Self::ParameterUnclosed { at }
            | Self::DurationOutOfRange { at, .. }
            | Self::SizeOutOfRange { at, .. }
            | Self::NumberOutOfRange { at, .. } => at,
        }
    }
}
