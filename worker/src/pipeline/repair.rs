//! Making a file again whose upload was lost between the commit and the publish.
//!
//! A commit names the plan, the window's time and each file's source ranges, and transforms are deterministic. So the same
//! rows come out when the ranges are read again; their number is compared with the commit's before anything is decided. The
//! file goes to the **same key** under a new upload, which the ledger decides by a Repair: of two repairs only one wins.

use std::path::PathBuf;
use std::sync::Arc;

use sluice_crds::condition::Reason;
use sluice_crds::plan::JobPlan;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use super::start::{client_name, decoder, plan_transforms};
use super::stores::Stores;
use crate::batch::OutputBatch;
use crate::budget::Budget;
use crate::error::Stop;
use crate::ledger::Ledger;
use crate::ledger::record::{Commit, FileRecord, FileRole};
use crate::source::read_again;
use crate::store::{StagedUpload, Store};
use crate::transform::Transform;
use crate::write::route::Router;
use crate::write::{LaneWriter, WriteContext};

/// Makes lost files again.
pub struct Repairer {
    /// The ledger, which has the plans.
    pub ledger: Arc<Mutex<Ledger>>,
    /// Where the files go.
    pub stores: Arc<Stores>,
    /// Folder of secrets.
    pub secrets: PathBuf,
}

impl Repairer {
    /// Stages a file of a commit again. Nothing is decided or visible yet.
    pub async fn remake(&self, commit: &Commit, file: &FileRecord) -> Result<StagedUpload, Stop> {
        let plan = self.ledger.lock().await.plan(&commit.plan).await?;
        let plan: JobPlan = serde_json::from_slice(&plan)
            .map_err(|error| refuse(file, &format!("its plan {} cannot be read: {error}", commit.plan)))?;
        let transform = plan_transforms(&plan).await?;
        if transform.batch_part().is_some() {
            return Err(refuse(file, "its plan aggregates, and such files cannot be made again yet"));
        }
        let store = self.stores.of(file.role)?;
        let Some(relative) = store.relative(&file.url) else {
            return Err(refuse(file, &format!("it is not below {}", store.location())));
        };
        let (secrets, commit, wanted) = (self.secrets.clone(), commit.clone(), file.clone());
        let work = tokio::task::spawn_blocking(move || rows_again(&plan, &transform, &secrets, &commit, &wanted));
        let writer = work.await.map_err(|error| refuse(file, &format!("making it again broke off: {error}")))??;

        let memory = writer.context;
        let made = writer.lane.finish().staged().await?;
        let [again] = made.files.as_slice() else {
            return Err(refuse(file, &format!("its ranges give {} files now", made.files.len())));
        };
        if again.rows != file.rows {
            return Err(refuse(file, &format!("its ranges give {} rows now", again.rows)));
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

/// A lane writer into memory, with what it writes to.
struct Again {
    lane: LaneWriter,
    context: Arc<WriteContext>,
}

fn rows_again(
    plan: &JobPlan,
    transform: &Transform,
    secrets: &std::path::Path,
    commit: &Commit,
    file: &FileRecord,
) -> Result<Again, Stop> {
    let context = Arc::new(WriteContext {
        job: format!("{}/{}", plan.job.namespace, plan.job.name),
        sink: plan.sink.clone(),
        schema: transform.output_schema(),
        partition_keys: transform.partition_keys(),
        table: Arc::new(Store::memory()),
        dead: Some(Arc::new(Store::memory())),
        topic: plan.source.topic.clone(),
        budget: Budget::new(u64::MAX),
        runtime: Handle::current(),
    });
    let mut lane = LaneWriter::new(Arc::clone(&context), &commit.batch, 0, commit.window_start);
    let mut decoder = decoder(plan, transform)?;
    let mut program = transform.rows(commit.window_start)?;
    let mut router = context.router()?;
    for source in &file.sources {
        read_again(&plan.source, &client_name(plan), secrets, (source.partition, source.from..source.to), |raw| {
            let output = program.apply(decoder.decode(raw));
            Ok::<_, Stop>(lane.write(only(output, file, &mut router)?)?)
        })?;
    }
    Ok(Again { lane, context })
}

/// What of an output belongs into the file.
fn only(output: OutputBatch, file: &FileRecord, router: &mut Router) -> Result<OutputBatch, Stop> {
    let OutputBatch { raw, rows, origin, refused, filtered } = output;
    let split = router.split(&rows)?;
    let (indices, refused): (Vec<u32>, _) = if file.role == FileRole::DeadLetter {
        let unroutable = split.refused.into_iter().flat_map(|(rows, _)| rows.start as u32..rows.end as u32);
        (unroutable.collect(), refused)
    } else {
        let own = split.groups.iter().find(|group| router.partitions()[group.partition].values == file.partition);
        (own.map(|group| group.indices().collect()).unwrap_or_default(), Vec::new())
    };
    let origin = indices.iter().map(|row| origin.value(*row as usize)).collect::<Vec<_>>().into();
    let rows = arrow::compute::take_record_batch(&rows, &arrow::array::UInt32Array::from(indices))
        .map_err(|error| Stop::new(Reason::Internal, format!("rows of {} cannot be picked: {error}", file.url)))?;
    Ok(OutputBatch { raw, rows, origin, refused, filtered })
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
