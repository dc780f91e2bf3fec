//! The format of a sink's files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The format of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SinkFormat {
    /// Apache Parquet.
    #[serde(rename_all = "camelCase")]
    Parquet {
        /// Codec of the pages.
        compression: ParquetCompression,
        /// Encoded bytes after which a row group ends.
        row_group_bytes: u64,
        /// Which readers can read the files.
        // Not written where it is the default: a plan that does not ask for it has the hash that it would have without the field.
        #[serde(default, skip_serializing_if = "ParquetCompatibility::is_legacy")]
        compatibility: ParquetCompatibility,
    },
}

/// Codec of Parquet pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum ParquetCompression {
    /// Read by everything.
    #[serde(rename = "SNAPPY")]
    Snappy,
    /// Smaller.
    #[serde(rename = "ZSTD")]
    Zstd,
    /// As it is.
    #[serde(rename = "NONE")]
    None,
}

/// Which readers can read Parquet files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = crate::reference::words_only)]
pub enum ParquetCompatibility {
    /// All of them: dictionaries and plain values.
    #[default]
    Legacy,
    /// Those that know delta encodings.
    Current,
}

impl ParquetCompatibility {
    /// Is it the default?
    pub fn is_legacy(&self) -> bool {
        *self == Self::Legacy
    }
}
