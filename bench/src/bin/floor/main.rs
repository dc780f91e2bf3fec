//! `floor STAGE BROKER TOPIC FOLDER`: what a straightforward program needs for the sample job, without anything that makes a product of
//! it. librdkafka polled record by record, arrow-json, one Parquet writer for each hour with its default settings and snappy. No ledger,
//! no commits, no group, no dead letters: the first bad record ends it. STAGE is `consume`, `decode` or `write`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arrow::array::{AsArray as _, Float64Array, RecordBatch, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::gt;
use arrow::compute::{and_kleene, filter_record_batch, is_not_null, take_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

const BATCH: usize = 8192;
const HOUR: i64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [stage, broker, topic, folder] = words.as_slice() else { bail!("floor STAGE BROKER TOPIC FOLDER") };
    let mut sink: Box<dyn Sink> = match stage.as_str() {
        "consume" => Box::new(Nothing),
        "decode" => Box::new(Rows::new(Box::new(Nothing))?),
        "write" => Box::new(Rows::new(Box::new(Files::new(Path::new(folder))))?),
        other => bail!("no stage is called {other}"),
    };
    let rows = consume(broker, topic, sink.as_mut())?;
    let (written, files) = sink.finish()?;
    let rows = if stage == "write" { written } else { rows };
    Ok(writeln!(std::io::stdout(), "{{\"rows\": {rows}, \"files\": {files}}}")?)
}

/// Takes what was read.
trait Sink {
    fn record(&mut self, _value: &[u8]) -> Result<()> {
        Ok(())
    }
    fn batch(&mut self, _rows: RecordBatch) -> Result<()> {
        Ok(())
    }
    /// Rows and files.
    fn finish(&mut self) -> Result<(u64, usize)> {
        Ok((0, 0))
    }
}

struct Nothing;

impl Sink for Nothing {}

/// Reads all partitions to their ends; answers how many records there were.
fn consume(broker: &str, topic: &str, sink: &mut dyn Sink) -> Result<u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("group.id", "floor")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        // The default of a second stalls a reader that is not as fast as the broker.
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "20000")
        .set("queued.max.messages.kbytes", "16384")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let partitions = metadata.topics().first().context("no such topic")?.partitions();
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    let mut open: BTreeSet<i32> = partitions.iter().map(rdkafka::metadata::MetadataPartition::id).collect();
    consumer.assign(&list)?;
    let mut records = 0;
    while !open.is_empty() {
        match consumer.poll(PATIENCE).context("nothing arrives")? {
            Ok(message) => {
                records += 1;
                sink.record(message.payload().unwrap_or_default())?;
            }
            Err(KafkaError::PartitionEOF(partition)) => drop(open.remove(&partition)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(records)
}

/// Decodes.
struct Rows {
    decoder: Decoder,
    waiting: usize,
    next: Box<dyn Sink>,
}

impl Rows {
    fn new(next: Box<dyn Sink>) -> Result<Self> {
        let field = |name: &str, kind: DataType| Field::new(name, kind, true);
        let schema = Schema::new(vec![
            field("event_id", DataType::Utf8),
            field("user_id", DataType::Utf8),
            field("event_type", DataType::Utf8),
            field("amount", DataType::Float64),
            field("currency", DataType::Utf8),
            field("event_time", DataType::Int64),
        ]);
        let decoder = ReaderBuilder::new(Arc::new(schema)).with_batch_size(BATCH).build_decoder()?;
        Ok(Self { decoder, waiting: 0, next })
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting = 0;
        match self.decoder.flush()? {
            Some(rows) => self.next.batch(rows),
            None => Ok(()),
        }
    }
}

impl Sink for Rows {
    fn record(&mut self, value: &[u8]) -> Result<()> {
        self.decoder.decode(value)?;
        self.waiting += 1;
        if self.waiting == BATCH { self.flush() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(u64, usize)> {
        self.flush()?;
        self.next.finish()
    }
}

/// Filters, and writes a file for each hour.
struct Files {
    folder: PathBuf,
    open: BTreeMap<i64, ArrowWriter<File>>,
    rows: u64,
}

impl Files {
    fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: BTreeMap::new(), rows: 0 }
    }

    fn writer(&mut self, hour: i64, schema: &SchemaRef) -> Result<&mut ArrowWriter<File>> {
        if !self.open.contains_key(&hour) {
            let file = File::create(self.folder.join(format!("hour-{hour}.parquet")))?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            self.open.insert(hour, ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))?);
        }
        self.open.get_mut(&hour).context("it was put there")
    }
}

impl Sink for Files {
    fn batch(&mut self, rows: RecordBatch) -> Result<()> {
        let positive = gt(rows.column(3), &Scalar::new(Float64Array::from(vec![0.0])))?;
        let rows = filter_record_batch(&rows, &and_kleene(&is_not_null(rows.column(0))?, &positive)?)?;
        let mut of_hour: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for (row, time) in (0..).zip(rows.column(5).as_primitive::<Int64Type>().values()) {
            of_hour.entry(time.div_euclid(HOUR)).or_default().push(row);
        }
        self.rows += rows.num_rows() as u64;
        for (hour, indices) in of_hour {
            let part = take_record_batch(&rows, &UInt32Array::from(indices))?;
            self.writer(hour, &rows.schema())?.write(&part)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(u64, usize)> {
        let files = self.open.len();
        for writer in std::mem::take(&mut self.open).into_values() {
            writer.close()?;
        }
        Ok((self.rows, files))
    }
}
