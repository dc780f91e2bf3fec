//! What the tests are made of: a context, batches, and files read back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use sluice_crds::plan::{Location, ParquetCompatibility, ParquetCompression, SinkFormat, SinkPlan};
use tokio::runtime::Runtime;

use crate::batch::{OutputBatch, RawBatch, Refused};
use crate::budget::Budget;
use crate::ledger::record::{FileRecord, SourceRange};
use crate::store::Store;
use crate::write::lessons::Lessons;
use crate::write::{LaneFiles, LaneWriter, PendingFiles, WriteContext};

pub const BATCH: &str = "0123456789abcdef0123456789abcdef";
pub const WINDOW: &str = "2026-03-01T23:59:30Z";

pub struct World {
    pub context: Arc<WriteContext>,
    runtime: Runtime,
}

pub struct Settings {
    pub schema: SchemaRef,
    pub partition_keys: usize,
    pub compression: ParquetCompression,
    pub row_group_bytes: u64,
    pub compatibility: ParquetCompatibility,
    pub budget: u64,
    pub dead_letters: bool,
}

/// `id bigint, text string` partitioned by `hour string`.
pub fn settings() -> Settings {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, true),
        Field::new("hour", DataType::Utf8, true),
    ]);
    Settings {
        schema: Arc::new(schema),
        partition_keys: 1,
        compression: ParquetCompression::Snappy,
        row_group_bytes: 128 << 20,
        compatibility: ParquetCompatibility::Current,
        budget: 1 << 30,
        dead_letters: true,
    }
}

/// Rows of [`settings`]: ids count from `first`, and each row has the hour that `hours` says.
pub fn rows<'h>(first: i64, hours: impl IntoIterator<Item = Option<&'h str>>) -> RecordBatch {
    let hours: StringArray = hours.into_iter().collect();
    let ids = first..first + hours.len() as i64;
    let texts: StringArray = ids.clone().map(|id| Some(format!("a text that belongs to row {id}"))).collect();
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(texts), Arc::new(hours)];
    RecordBatch::try_new(settings().schema, columns).unwrap()
}

/// An output batch whose rows come from the records `first..first + rows` of a partition.
pub fn output(partition: i32, first: i64, rows: RecordBatch) -> OutputBatch {
    let mut raw = RawBatch::new(partition);
    for offset in first..first + rows.num_rows() as i64 {
        raw.push(offset, offset, None, Some(b"{}"), []);
    }
    let origin = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
    OutputBatch { raw, rows, origin, refused: Vec::<Refused>::new(), filtered: 0 }
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let Settings { schema, partition_keys, compression, row_group_bytes, compatibility, budget, dead_letters } =
            settings;
        let context = WriteContext {
            job: "default/orders".to_owned(),
            sink: SinkPlan {
                location: Location { url: "memory:///".to_owned(), s3: None },
                format: SinkFormat::Parquet { compression, row_group_bytes, compatibility },
                columns: None,
                partition_keys: Vec::new(),
            },
            schema,
            partition_keys,
            table: Arc::new(Store::memory()),
            dead: dead_letters.then(|| Arc::new(Store::memory())),
            topic: "orders".to_owned(),
            lessons: Lessons::default(),
            budget: Budget::new(budget),
            runtime: runtime.handle().clone(),
        };
        context.validate().unwrap();
        Self { context: Arc::new(context), runtime }
    }

    pub fn lane(&self, lane: usize) -> LaneWriter {
        LaneWriter::new(Arc::clone(&self.context), BATCH, lane, WINDOW.parse().unwrap())
    }

    pub fn finish(&self, lane: LaneWriter) -> LaneFiles {
        self.staged(lane.finish())
    }

    pub fn staged(&self, pending: PendingFiles) -> LaneFiles {
        self.runtime.block_on(pending.staged()).unwrap()
    }

    /// Bytes that a lane holds, without those of closed files that are on their way.
    pub fn held(&self, lane: &LaneWriter) -> u64 {
        // In this order: an upload that ends in between must not count as held.
        let leaving = lane.leaving();
        self.context.budget.used().saturating_sub(leaving)
    }

    /// Bytes that are held when all work in the background has ended.
    pub fn held_at_rest(self) -> u64 {
        drop(self.runtime);
        self.context.budget.used()
    }

    /// Publishes a file and gives its bytes.
    pub fn bytes(&self, store: &Store, file: &FileRecord) -> Bytes {
        let relative = file.url.strip_prefix(&store.url("")).unwrap();
        let (objects, _) = store.objects();
        self.runtime.block_on(async {
            let _ = store.publish(file).await.unwrap();
            let path = object_store::path::Path::parse(relative).unwrap();
            objects.get(&path).await.unwrap().bytes().await.unwrap()
        })
    }

    /// Publishes a table file and reads it.
    pub fn read(&self, file: &FileRecord) -> (Arc<ParquetMetaData>, Vec<RecordBatch>) {
        let bytes = self.bytes(&self.context.table, file);
        assert_eq!(bytes.len() as u64, file.bytes);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let metadata = Arc::clone(reader.metadata());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() as u64, file.rows);
        (metadata, batches)
    }

    /// The ids of a file of [`settings`], after checking that each row kept its text.
    pub fn ids(&self, file: &FileRecord) -> Vec<i64> {
        let mut ids = Vec::new();
        for batch in self.read(file).1 {
            let found = batch.column(0).as_primitive::<Int64Type>();
            for (id, text) in found.values().iter().zip(batch.column(1).as_string::<i32>()) {
                assert_eq!(text, Some(format!("a text that belongs to row {id}").as_str()));
            }
            ids.extend(found.values());
        }
        ids
    }

    /// Rows by hour, after checking every promise about files: none is empty, names are unique and visible, the files of
    /// one hour have disjoint sources, and within an hour ids rise.
    pub fn table(&self, files: &[FileRecord]) -> BTreeMap<Option<String>, Vec<i64>> {
        let mut names = std::collections::BTreeSet::new();
        let mut hours: BTreeMap<Option<String>, Vec<(SourceRange, Vec<i64>)>> = BTreeMap::new();
        for file in files {
            assert!(file.rows > 0 && !file.sources.is_empty(), "{file:?}");
            let name = file.url.rsplit('/').next().unwrap();
            assert!(names.insert(name) && name.contains(BATCH) && name.starts_with("part-"), "{name}");
            hours.entry(file.partition[0].1.clone()).or_default().push((file.sources[0], self.ids(file)));
        }
        let checked = hours.into_iter().map(|(hour, mut files)| {
            files.sort_by_key(|(source, _)| source.from);
            assert!(files.windows(2).all(|pair| pair[0].0.to <= pair[1].0.from), "sources meet: {files:?}");
            for (source, ids) in &files {
                assert!(ids.iter().all(|id| (source.from..source.to).contains(id)), "{source:?} {ids:?}");
            }
            let ids: Vec<i64> = files.into_iter().flat_map(|(_, ids)| ids).collect();
            assert!(ids.is_sorted());
            (hour, ids)
        });
        checked.collect()
    }
}
