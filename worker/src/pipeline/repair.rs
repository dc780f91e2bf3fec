//! Making a file again whose upload was lost between the commit and the publish.
//!
//! A commit names the plan, the window's time and each file's source ranges, and transforms are deterministic. So the same
//! rows come out when the ranges are read again; their number is compared with the commit's before anything is decided. A
//! file of an aggregate is made again from the whole batch. The file goes to the **same key** under a new upload, which the
//! ledger decides by a Repair: of two repairs only one wins.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::lane::sources_of;
use super::start::{check_topic_id, client_name, decoder, describe, plan_transforms};
use super::stores::FileStores;
use crate::batch::OutputBatch;
use crate::budget::Budget;
use crate::error::Stop;
use crate::ledger::record::{Commit, FileRecord, FileRole, SourceRange};
use crate::source::{TopicClient, read_again};
use crate::store::{StagedUpload, Store};
use crate::transform::{BatchPart, Transform};
use crate::write::lessons::Lessons;
use crate::write::route::{Group, Router, Split};
use crate::write::{LaneWriter, WriteContext};

/// Makes lost files again.
pub struct Repairer {
    /// Where the files go, and the plans that made them.
    stores: Arc<FileStores>,
    /// Folder of secrets.
    secrets: PathBuf,
    /// One at a time: uploads are often lost together, and each repair has a whole file and a consumer in memory.
    turn: Mutex<()>,
}

impl Repairer {
    /// `secrets` is the folder of secrets.
    pub fn new(stores: Arc<FileStores>, secrets: PathBuf) -> Self {
        Self { stores, secrets, turn: Mutex::default() }
    }

    /// Stages a file of a commit again. Nothing is decided or visible yet.
    pub async fn remake(&self, commit: &Commit, file: &FileRecord) -> Result<StagedUpload, Stop> {
        let _turn = self.turn.lock().await;
        let plan = self.stores.plan(&commit.plan).await?;
        let transform = plan_transforms(&plan).await?;
        let store = self.stores.of(&commit.plan, file).await?;
        let Some(relative) = store.relative(&file.url) else {
            return Err(refuse(file, &format!("it is not below {}", store.location())));
        };
        let memory = context(&plan, &transform);
        let topic =
            Arc::new(TopicClient::new(&plan.source.kafka, &plan.source.topic, &self.secrets, &client_name(&plan))?);
        let remake = Remake {
            secrets: self.secrets.clone(),
            commit: commit.clone(),
            file: file.clone(),
            context: Arc::clone(&memory),
            plan: plan.clone(),
            transform,
        };
        let work = tokio::task::spawn_blocking(move || remake.write());
        let lane = work.await.map_err(|error| refuse(file, &format!("making it again broke off: {error}")))??;
        // Asked after the last record was read, as before a commit.
        let info = describe(&topic).await?;
        for range in &commit.ranges {
            check_topic_id(&plan, Some(&range.topic_id), &info)?;
        }
        let made = lane.finish().staged().await?;
        let [again] = made.files.as_slice() else {
            return Err(refuse(file, &format!("its source gives {} files now", made.files.len())));
        };
        if again.rows != file.rows {
            return Err(refuse(file, &format!("its source gives {} rows now", again.rows)));
        }
        let scratch = if file.role == FileRole::Table { Some(&memory.table) } else { memory.dead.as_ref() };
        let Some(scratch) = scratch else { return Err(refuse(file, "it has nowhere to be")) };
        scratch.publish(again).await?;
        let bytes = scratch.read(&again.url).await?;
        let mut staging = store.begin(relative, &Handle::current(), &Budget::new(u64::MAX));
        staging.push(bytes);
        Ok(staging.finish().await?)
    }
}

/// Writing into memory.
fn context(plan: &JobPlan, transform: &Transform) -> Arc<WriteContext> {
    Arc::new(WriteContext {
        job: format!("{}/{}", plan.job.namespace, plan.job.name),
        sink: plan.sink.clone(),
        schema: transform.output_schema(),
        partition_keys: transform.partition_keys(),
        table: Arc::new(Store::memory()),
        dead: Some(Arc::new(Store::memory())),
        topic: plan.source.topic.clone(),
        lessons: Lessons::default(),
        budget: Budget::new(u64::MAX),
        runtime: Handle::current(),
    })
}

/// Partition keys and values.
type Values = Vec<(String, Option<String>)>;

/// One file that is made again, with everything that its rows follow from.
struct Remake {
    plan: JobPlan,
    transform: Transform,
    secrets: PathBuf,
    commit: Commit,
    file: FileRecord,
    context: Arc<WriteContext>,
}

impl Remake {
    /// Writes the file's rows. Blocks, so it must not run on a thread of the runtime.
    fn write(&self) -> Result<LaneWriter, Stop> {
        let mut lane = LaneWriter::new(Arc::clone(&self.context), &self.commit.batch, 0, self.commit.window_start);
        match self.transform.batch_part() {
            Some(part) if self.file.role == FileRole::Table => self.aggregates(part, &mut lane)?,
            _ => {
                let mut router = self.context.router()?;
                self.read(&self.file.sources, |output| Ok(lane.write(self.only(output, &mut router)?)?))?;
            }
        }
        Ok(lane)
    }

    /// Hands over what the row part of the plan makes of these ranges.
    fn read(&self, sources: &[SourceRange], mut each: impl FnMut(OutputBatch) -> Result<(), Stop>) -> Result<(), Stop> {
        let mut decoder = decoder(&self.plan, &self.transform)?;
        let mut program = self.transform.rows(self.commit.window_start)?;
        for source in sources {
            let range = (source.partition, source.from..source.to);
            read_again(&self.plan.source, &client_name(&self.plan), &self.secrets, range, |raw| {
                each(program.apply(decoder.decode(raw)))
            })
            .map_err(|stop| match stop.reason {
                Reason::OffsetOutOfRange => refuse(&self.file, "its records are gone from the topic"),
                _ => stop,
            })?;
        }
        Ok(())
    }

    /// What of an output belongs into the file: its partition's rows, or what is refused.
    fn only(&self, output: OutputBatch, router: &mut Router) -> Result<OutputBatch, Stop> {
        let OutputBatch { raw, rows, origin, refused, filtered } = output;
        let indices: Vec<u32> = if self.transform.batch_part().is_some() {
            // Rows on their way to an aggregate have no partition yet.
            Vec::new()
        } else if self.file.role == FileRole::DeadLetter {
            let unroutable = router.split(&rows)?.refused;
            unroutable.into_iter().flat_map(|(rows, _)| rows.start as u32..rows.end as u32).collect()
        } else {
            self.own(&router.split(&rows)?, router)
        };
        let origin = indices.iter().map(|row| origin.value(*row as usize)).collect::<Vec<_>>().into();
        let rows = self.take(&rows, indices)?;
        let refused = if self.file.role == FileRole::DeadLetter { refused } else { Vec::new() };
        Ok(OutputBatch { raw, rows, origin, refused, filtered })
    }

    /// The rows of an aggregate come from the whole batch, so the whole batch is made again. Rows of one partition are in
    /// one file. An aggregate shows little of what it was made of, so the records and the rows of all partitions are compared.
    fn aggregates(&self, part: &BatchPart, lane: &mut LaneWriter) -> Result<(), Stop> {
        let runtime = Handle::current();
        let run = part.start(self.commit.window_start, 1, &runtime)?;
        let (mut read, mut dead) = (0, 0);
        self.read(&sources_of(&self.commit.ranges), |output| {
            read += output.raw.len() as u64;
            dead += output.refused.len() as u64;
            run.push(0, output.rows);
            Ok(())
        })?;
        let counts = self.commit.counts;
        if (read, dead) != (counts.read, counts.dead) {
            let why = format!(
                "its plan aggregates, and its batch has {read} records now, {dead} of them refused, where {} and {} were \
                 decided",
                counts.read, counts.dead
            );
            return Err(refuse(&self.file, &why));
        }
        let mut router = self.context.router()?;
        let mut found: BTreeMap<Values, u64> = BTreeMap::new();
        for rows in runtime.block_on(run.finish())? {
            let split = router.split(&rows)?;
            for group in &split.groups {
                let values = router.partitions()[group.partition].values.clone();
                *found.entry(values).or_default() += group.rows as u64;
            }
            lane.write_rows(self.take(&rows, self.own(&split, &router))?, &self.file.sources)?;
        }
        self.check_results(&found)
    }

    /// Are there as many rows in each partition as the commit says?
    fn check_results(&self, found: &BTreeMap<Values, u64>) -> Result<(), Stop> {
        let mut decided: BTreeMap<Values, u64> = BTreeMap::new();
        for file in self.commit.files.iter().filter(|file| file.role == FileRole::Table) {
            if decided.insert(file.partition.clone(), file.rows).is_some() {
                return Err(refuse(
                    &self.file,
                    "its plan aggregates, and its batch has several files of one partition",
                ));
            }
        }
        if *found == decided {
            return Ok(());
        }
        let sum = |partitions: &BTreeMap<Values, u64>| partitions.values().sum::<u64>();
        let why = format!(
            "its plan aggregates, and its batch gives other results now: {} rows in {} partitions where {} in {} were \
             decided",
            sum(found),
            found.len(),
            sum(&decided),
            decided.len()
        );
        Err(refuse(&self.file, &why))
    }

    /// The rows of the file's partition.
    fn own(&self, split: &Split, router: &Router) -> Vec<u32> {
        let own = |group: &&Group| router.partitions()[group.partition].values == self.file.partition;
        split.groups.iter().find(own).map(|group| group.indices().collect()).unwrap_or_default()
    }

    fn take(&self, rows: &RecordBatch, indices: Vec<u32>) -> Result<RecordBatch, Stop> {
        take_record_batch(rows, &UInt32Array::from(indices)).map_err(|error| {
            Stop::new(Reason::Internal, format!("rows of {} cannot be picked: {error}", self.file.url))
        })
    }
}

fn refuse(file: &FileRecord, why: &str) -> Stop {
    Stop::new(
        Reason::DataLossRisk,
        format!(
            "the upload of {} ({} rows) was decided and is lost, and it cannot be made again: {why}",
            file.url, file.rows
        ),
    )
}
