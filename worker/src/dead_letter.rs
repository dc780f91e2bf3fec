//! Dead letters: records that were refused, one JSON object on a line each, with everything that is needed to
//! understand them and to produce them again.
//!
//! Promises: a dead letter is lossless (what is not UTF-8 is Base64, and says so), and the files are part of the batch, so
//! each refused record is in exactly one visible file. docs/dead-letters.md describes the fields for users.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::batch::{RawBatch, RawRecord, Refused};
use crate::ledger::record::{FileRole, SourceRange};
use crate::store::Staging;
use crate::write::file::{Finished, add_source};
use crate::write::{DeadCodes, WriteContext, WriteError};

/// The partition key of dead letters: the day on which the window opened, in UTC.
pub const DATE_KEY: &str = "dl_date";

/// Bytes that are handed to the upload at once, at least.
const PIECE: usize = 64 << 10;

/// How bytes stand in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum TextEncoding {
    Utf8,
    Base64,
}

/// A line.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetter<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<Timestamp>,
    key: Option<Text<'a>>,
    key_encoding: Option<TextEncoding>,
    headers: Vec<Header<'a>>,
    value: Option<Text<'a>>,
    value_encoding: Option<TextEncoding>,
    stage: &'static str,
    code: &'static str,
    message: &'a str,
    field: Option<&'a str>,
    job: &'a str,
    batch: &'a str,
    time: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    key: &'a str,
    value: Option<Text<'a>>,
    value_encoding: Option<TextEncoding>,
}

/// Bytes as a JSON string: as they are where they are UTF-8, else in Base64.
#[derive(Debug, Clone, Copy)]
enum Text<'a> {
    Utf8(&'a str),
    Other(&'a [u8]),
}

impl<'a> Text<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or(Self::Other(bytes), Self::Utf8)
    }

    fn encoding(self) -> TextEncoding {
        match self {
            Self::Utf8(_) => TextEncoding::Utf8,
            Self::Other(_) => TextEncoding::Base64,
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Utf8(text) => serializer.serialize_str(text),
            Self::Other(bytes) => serializer.collect_str(&base64::display::Base64Display::new(bytes, &BASE64)),
        }
    }
}

/// The file of dead letters that is open.
struct OpenFile {
    path: String,
    rows: u64,
    sources: Vec<SourceRange>,
    staging: Staging,
    buffer: Vec<u8>,
}

/// Writes the dead letters of one lane and window.
pub struct DeadLetters {
    context: Arc<WriteContext>,
    batch: String,
    lane: usize,
    time: Timestamp,
    files: usize,
    open: Option<OpenFile>,
    codes: DeadCodes,
}

impl DeadLetters {
    /// A writer without files. `window_start` is the time of all its dead letters.
    pub fn new(context: Arc<WriteContext>, batch: &str, lane: usize, window_start: Timestamp) -> Self {
        let batch = batch.to_owned();
        Self { context, batch, lane, time: window_start, files: 0, open: None, codes: DeadCodes::new() }
    }

    /// Dead letters so far, by stage and code.
    pub fn codes(&self) -> &DeadCodes {
        &self.codes
    }

    /// Writes the refused records of a batch. Without a place for them the first one is an error.
    pub fn write(&mut self, raw: &RawBatch, refused: &[Refused]) -> Result<(), WriteError> {
        let Some(offsets) = raw.offsets().filter(|_| !refused.is_empty()) else { return Ok(()) };
        let mut file = match self.open.take() {
            Some(file) => file,
            None => self.begin(raw, &refused[0])?,
        };
        for refused in refused {
            let record = raw.record(refused.row as usize);
            let line = self.line(raw.partition, record, refused);
            let encoded = serde_json::to_writer(&mut file.buffer, &line);
            encoded.map_err(|source| WriteError::DeadLetter {
                partition: raw.partition,
                offset: record.offset,
                source,
            })?;
            file.buffer.push(b'\n');
            file.push(PIECE);
            *self.codes.entry((refused.error.stage.as_str(), refused.error.code)).or_default() += 1;
        }
        file.rows += refused.len() as u64;
        add_source(&mut file.sources, SourceRange { partition: raw.partition, from: offsets.start, to: offsets.end });
        self.open = Some(file);
        Ok(())
    }

    fn begin(&mut self, raw: &RawBatch, first: &Refused) -> Result<OpenFile, WriteError> {
        let Some(store) = &self.context.dead else {
            let error = &first.error;
            return Err(WriteError::Rejected {
                topic: self.context.topic.clone(),
                partition: raw.partition,
                offset: raw.record(first.row as usize).offset,
                stage: error.stage.as_str(),
                code: error.code,
                message: error.message.clone(),
                field: error.field.clone(),
            });
        };
        let path = format!("{DATE_KEY}={}/dead-{}-{}-{}.jsonl", self.date(), self.batch, self.lane, self.files);
        self.files += 1;
        let staging = store.begin(&path, &self.context.runtime, &self.context.budget);
        Ok(OpenFile { path, rows: 0, sources: Vec::new(), staging, buffer: Vec::new() })
    }

    fn date(&self) -> String {
        TimeZone::UTC.to_datetime(self.time).date().to_string()
    }

    fn line<'a>(&'a self, partition: i32, record: RawRecord<'a>, refused: &'a Refused) -> DeadLetter<'a> {
        let text = |bytes: Option<&'a [u8]>| bytes.map(Text::new);
        let (key, value) = (text(record.key), text(record.value));
        let headers = record.headers().map(|(key, value)| {
            let value = text(value);
            Header { key, value, value_encoding: value.map(Text::encoding) }
        });
        // -1 is Kafka's word for none; other times before 1970 do not exist either.
        let timestamp = Some(record.timestamp).filter(|time| *time >= 0);
        DeadLetter {
            topic: &self.context.topic,
            partition,
            offset: record.offset,
            timestamp: timestamp.and_then(|time| Timestamp::from_millisecond(time).ok()),
            key,
            key_encoding: key.map(Text::encoding),
            headers: headers.collect(),
            value,
            value_encoding: value.map(Text::encoding),
            stage: refused.error.stage.as_str(),
            code: refused.error.code,
            message: &refused.error.message,
            field: refused.error.field.as_deref(),
            job: &self.context.job,
            batch: &self.batch,
            time: self.time,
        }
    }

    /// Ends the open file; `None` when there is none.
    pub fn close(&mut self) -> Option<Finished> {
        let mut file = self.open.take()?;
        file.push(1);
        let OpenFile { path, rows, sources, staging, .. } = file;
        let partition = vec![(DATE_KEY.to_owned(), Some(self.date()))];
        Some(Finished { role: FileRole::DeadLetter, path, rows, partition, sources, staging })
    }

    /// Gives the open file up.
    pub fn abandon(self) {
        if let Some(file) = self.open {
            file.staging.abandon();
        }
    }
}

impl OpenFile {
    /// Hands the buffer over when it has at least this many bytes.
    fn push(&mut self, least: usize) {
        if self.buffer.len() >= least {
            self.staging.push(Bytes::from(std::mem::take(&mut self.buffer)));
        }
    }
}
