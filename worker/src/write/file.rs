//! One Parquet file that is being written: an encoder whose bytes go straight into a staged upload.
//!
//! A dictionary grows up to 128 KiB, then values are plain, or delta-encoded where all readers of the table know that: of events with a few
//! texts that are all distinct, files become a seventh (SNAPPY) or a tenth (ZSTD) smaller, mostly by the length in front of each text.
//! What was in vain in earlier files (`lessons`) is left out.

use std::io::Write;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::SchemaDescriptor;
use sluice_crds::plan::{ParquetCompatibility, ParquetCompression, SinkFormat};

use super::lessons::Lessons;
use super::pages::InBlocks;
use super::{WriteContext, WriteError};
use crate::budget::Held;
use crate::ledger::record::{FileRole, SourceRange};
use crate::store::Staging;

/// A column's dictionary grows to this many bytes; a larger one costs more time in hashing than it saves in bytes.
const DICTIONARY_LIMIT: usize = 128 << 10;

/// Bytes of a page before it is compressed, about. A column of an open file holds a page until it is full, so a hundred columns hold a
/// hundred of them: with the usual mebibyte the memory budget would be gone before the first row group. It costs a header for each page.
const PAGE: usize = 128 << 10;

/// Bytes that are handed to the upload at once.
const PIECE: usize = 1 << 20;

/// What a fresh column encoder holds for its dictionary: room for 4096 values in a hash table.
const COLUMN_BYTES: u64 = 80 << 10;

/// What the codec of one column holds, and the encoder does not count.
fn codec_bytes(compression: ParquetCompression) -> u64 {
    match compression {
        ParquetCompression::Snappy => 36 << 10,
        ParquetCompression::Zstd => 256 << 10,
        ParquetCompression::None => 0,
    }
}

/// How the files of a sink are made.
#[derive(Debug)]
pub struct FileFormat {
    schema: SchemaRef,
    columns: SchemaDescriptor,
    properties: WriterProperties,
    extension: &'static str,
    codecs: u64,
    encoder: u64,
}

impl FileFormat {
    /// The format of files with these columns.
    pub fn new(format: &SinkFormat, schema: &SchemaRef) -> Result<Self, WriteError> {
        let SinkFormat::Parquet { compression, row_group_bytes, compatibility } = *format;
        let failed = |source| WriteError::Encode { path: "the sink's files".to_owned(), source };
        let columns = ArrowSchemaConverter::new().convert(schema).map_err(failed)?;
        let (codec, extension) = match compression {
            ParquetCompression::Snappy => (Compression::SNAPPY, "snappy.parquet"),
            ParquetCompression::Zstd => (Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?), "zstd.parquet"),
            ParquetCompression::None => (Compression::UNCOMPRESSED, "parquet"),
        };
        let properties = properties(&columns, codec, row_group_bytes, compatibility);
        let leaves = columns.num_columns() as u64;
        let codecs = leaves * codec_bytes(compression);
        Ok(Self {
            schema: SchemaRef::clone(schema),
            columns,
            properties,
            extension,
            codecs,
            encoder: codecs + leaves * COLUMN_BYTES,
        })
    }

    /// The options of the next file.
    fn options(&self, lessons: &Lessons) -> ArrowWriterOptions {
        let mut properties = self.properties.clone().into_builder();
        for (column, advice) in self.columns.columns().iter().zip(lessons.advice(self.columns.num_columns())) {
            if !advice.dictionary {
                properties = properties.set_column_dictionary_enabled(column.path().clone(), false);
            }
            if !advice.codec {
                properties = properties.set_column_compression(column.path().clone(), Compression::UNCOMPRESSED);
            }
        }
        ArrowWriterOptions::new().with_properties(properties.build()).with_page_store_factory(Arc::new(InBlocks))
    }

    /// What file names end with.
    pub fn extension(&self) -> &'static str {
        self.extension
    }

    /// Bytes that an encoder takes before it has seen a row.
    pub fn encoder_bytes(&self) -> u64 {
        self.encoder
    }
}

fn properties(
    columns: &SchemaDescriptor,
    codec: Compression,
    row_group_bytes: u64,
    compatibility: ParquetCompatibility,
) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        // Pages of version 1, and plain values behind a full dictionary: what every reader knows.
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("sluice version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec)
        .set_dictionary_page_size_limit(DICTIONARY_LIMIT)
        .set_data_page_size_limit(PAGE)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some((row_group_bytes as usize).max(1)));
    for column in columns.columns() {
        // Beside a dictionary this is the encoding that follows when the dictionary is full.
        let encoding = match (compatibility, column.physical_type()) {
            (ParquetCompatibility::Current, PhysicalType::BYTE_ARRAY) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
            (ParquetCompatibility::Current, PhysicalType::INT32 | PhysicalType::INT64) => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        properties = properties.set_column_encoding(column.path().clone(), encoding);
    }
    properties.build()
}

/// Where the encoder's bytes go.
struct StagingSink {
    staging: Staging,
    piece: Vec<u8>,
}

impl Write for StagingSink {
    /// Takes as much as fits into the piece, so that no piece is longer, or has memory for more.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        let wanted = self.piece.len() + taken;
        if wanted > self.piece.capacity() {
            self.piece.reserve_exact(wanted.next_power_of_two() - self.piece.len());
        }
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if !self.piece.is_empty() {
            self.staging.push(Bytes::from(std::mem::take(&mut self.piece)));
        }
        Ok(())
    }
}

/// A file that is being written.
pub struct ParquetFile {
    path: String,
    writer: ArrowWriter<StagingSink>,
    row_groups: usize,
    codecs: u64,
    held: Held,
}

impl ParquetFile {
    /// Begins a file at this path below the table's root.
    pub fn open(context: &WriteContext, format: &FileFormat, path: String) -> Result<Self, WriteError> {
        let staging = context.table.begin(&path, &context.runtime, &context.budget);
        let sink = StagingSink { staging, piece: Vec::new() };
        match ArrowWriter::try_new_with_options(sink, Arc::clone(&format.schema), format.options(&context.lessons)) {
            Ok(writer) => {
                let held = context.budget.hold(format.codecs);
                Ok(Self { path, writer, row_groups: 0, codecs: format.codecs, held })
            }
            Err(source) => Err(WriteError::Encode { path, source }),
        }
    }

    /// Its path below the table's root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Encodes rows.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<(), WriteError> {
        self.writer.write(rows).map_err(|source| WriteError::Encode { path: self.path.clone(), source })?;
        self.after_write()
    }

    /// Ends the row group, so that its bytes can be uploaded.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.writer.flush().map_err(|source| WriteError::Encode { path: self.path.clone(), source })?;
        self.after_write()
    }

    fn after_write(&mut self) -> Result<(), WriteError> {
        let row_groups = self.writer.flushed_row_groups().len();
        if row_groups > self.row_groups {
            self.row_groups = row_groups;
            let synced = self.writer.sync();
            synced.map_err(|source| WriteError::Encode { path: self.path.clone(), source: source.into() })?;
        }
        self.held.resize(self.codecs + self.writer.memory_size() as u64);
        Ok(())
    }

    /// Bytes of the open row group, about.
    pub fn encoded(&self) -> u64 {
        self.held.bytes() - self.codecs
    }

    /// Bytes that closing it would set free, sooner or later.
    pub fn footprint(&self) -> u64 {
        self.held.bytes() + self.writer.inner().staging.in_flight()
    }

    /// Writes what is left, with the description of the file, and hands the upload over.
    pub fn close(mut self, metadata: Vec<KeyValue>, lessons: &Lessons) -> Result<Staging, WriteError> {
        for entry in metadata {
            self.writer.append_key_value_metadata(entry);
        }
        let path = self.path;
        let flushed = self.writer.flush();
        lessons.learn(self.writer.flushed_row_groups());
        let closed = flushed.and_then(|()| self.writer.into_inner());
        let mut sink = closed.map_err(|source| WriteError::Encode { path: path.clone(), source })?;
        sink.flush().map_err(|source| WriteError::Encode { path, source: source.into() })?;
        Ok(sink.staging)
    }

    /// Gives the file up.
    pub fn abandon(self) {
        // An encoder gives its sink back only after writing the footer into it, which does no harm: nobody will see it.
        if let Ok(sink) = self.writer.into_inner() {
            sink.staging.abandon();
        }
    }
}

/// A file that is complete but for the end of its upload.
pub struct Finished {
    /// Of the table, or of the dead letters.
    pub role: FileRole,
    /// Its path below the root of its store.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Partition keys and values, outermost first.
    pub partition: Vec<(String, Option<String>)>,
    /// Where its rows came from.
    pub sources: Vec<SourceRange>,
    /// The upload.
    pub staging: Staging,
}

/// What the footer of a file says about where it comes from: the job, the batch, and the ranges of offsets as JSON.
pub fn provenance(context: &WriteContext, batch: &str, sources: &[SourceRange]) -> Vec<KeyValue> {
    let ranges: Vec<String> = sources
        .iter()
        .map(|range| format!(r#"{{"partition":{},"from":{},"to":{}}}"#, range.partition, range.from, range.to))
        .collect();
    [
        ("sluice.job", context.job.clone()),
        ("sluice.batch", batch.to_owned()),
        ("sluice.topic", context.topic.clone()),
        ("sluice.sources", format!("[{}]", ranges.join(","))),
    ]
    .into_iter()
    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
    .collect()
}

/// Adds a range to those of a file. Ranges of one partition become one that spans them all: between them lie only
/// records that put no row into the file's partition.
pub fn add_source(sources: &mut Vec<SourceRange>, range: SourceRange) {
    match sources.iter_mut().find(|source| source.partition == range.partition) {
        Some(source) => {
            source.from = source.from.min(range.from);
            source.to = source.to.max(range.to);
        }
        None => sources.push(range),
    }
}

/// A name that nobody else uses, because it carries the batch's id, and that no reader skips (`_` and `.` hide a file).
pub fn file_name(batch: &str, lane: usize, number: usize, extension: &str) -> String {
    format!("part-{batch}-{lane}-{number}.{extension}")
}
