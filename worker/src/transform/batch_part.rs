//! The batch part: groups, sorts and distinct values over the rows of one window, from all lanes.
//!
//! Rows flow in while the window is read, so a GROUP BY holds its groups and not its rows. It runs as one DataFusion
//! plan with a partition per lane; memory is bounded by a pool and nothing goes to disk.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::error::{TransformError, words};
use super::rows::with_schema;
use super::session::session;
use super::{split, window_time};

/// Batches that wait in a lane before [`BatchRun::push`] blocks: one at work, one ready.
const QUEUE: usize = 2;

/// The part of a plan that looks at many rows.
#[derive(Debug)]
pub struct BatchPart {
    /// The whole plan, optimised; its row part only says where rows come from.
    pub(super) plan: LogicalPlan,
    /// What the row part yields.
    pub(super) rows: SchemaRef,
    /// What the sink takes.
    pub(super) output: SchemaRef,
    /// Bytes of groups, sorts and distinct values.
    pub(super) memory_bytes: usize,
}

/// One window on its way through the batch part. Dropping it ends it.
#[derive(Debug)]
pub struct BatchRun {
    lanes: Vec<mpsc::Sender<RecordBatch>>,
    result: AbortOnDropHandle<Result<Vec<RecordBatch>, TransformError>>,
}

impl BatchPart {
    /// Starts a window for this many lanes; the work runs on `runtime`. `now()` is the window's time.
    pub fn start(&self, window: jiff::Timestamp, lanes: usize, runtime: &Handle) -> Result<BatchRun, TransformError> {
        let lanes = lanes.max(1);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..lanes).map(|_| mpsc::channel(QUEUE)).unzip();
        let limit = self.memory_bytes;
        let failed = move |error: &DataFusionError| failed(error, limit);
        let table = StreamingTable::try_new(
            Arc::clone(&self.rows),
            receivers.into_iter().map(|receiver| Lane::partition(&self.rows, receiver)).collect(),
        )
        .map_err(|error| failed(&error))?;
        let plan = window_time::show(self.plan.clone(), window)
            .and_then(|plan| split::over_table(plan, &provider_as_source(Arc::new(table))))
            .map_err(|error| failed(&error))?;
        let state = session(lanes, limit).map_err(|error| failed(&error))?;
        let output = Arc::clone(&self.output);
        let run = async move {
            let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
            let batches = execute_stream(physical, state.task_ctx())?;
            batches.and_then(|batch| std::future::ready(with_schema(&batch, &output))).try_collect::<Vec<_>>().await
        };
        let result = runtime.spawn(async move {
            let batches = run.await.map_err(|error: DataFusionError| failed(&error))?;
            Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect())
        });
        Ok(BatchRun { lanes: senders, result: AbortOnDropHandle::new(result) })
    }
}

impl BatchRun {
    /// Hands over rows of a lane; blocks while the batch part is behind. Must not be called on a thread of the runtime.
    ///
    /// Rows for a run that needs no more (a LIMIT, or a failure, which [`finish`](Self::finish) tells) are dropped.
    pub fn push(&self, lane: usize, rows: RecordBatch) {
        if rows.num_rows() > 0
            && let Some(sender) = self.lanes.get(lane % self.lanes.len())
        {
            // Nobody listens: the run is over, and `finish` says why.
            let _over = sender.blocking_send(rows);
        }
    }

    /// No more rows: waits for the results, which have the sink's schema.
    pub async fn finish(self) -> Result<Vec<RecordBatch>, TransformError> {
        drop(self.lanes);
        self.result.await.map_err(|error| TransformError::Internal(error.to_string()))?
    }
}

fn failed(error: &DataFusionError, limit: usize) -> TransformError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => {
            let message = message.lines().next().unwrap_or_default().to_owned();
            TransformError::OutOfMemory { limit, message }
        }
        root => TransformError::BatchFailed { message: words(root) },
    }
}

/// The rows of one lane, as a partition of a table. Executed once.
struct Lane {
    schema: SchemaRef,
    receiver: Mutex<Option<mpsc::Receiver<RecordBatch>>>,
}

impl Lane {
    fn partition(schema: &SchemaRef, receiver: mpsc::Receiver<RecordBatch>) -> Arc<dyn PartitionStream> {
        Arc::new(Self { schema: Arc::clone(schema), receiver: Mutex::new(Some(receiver)) })
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

impl PartitionStream for Lane {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let receiver = self.receiver.lock().ok().and_then(|mut receiver| receiver.take());
        let rows = match receiver {
            Some(receiver) => stream::unfold(receiver, |mut receiver| async move {
                let rows = receiver.recv().await?;
                Some((Ok(rows), receiver))
            })
            .left_stream(),
            // To read the rows a second time would be to count them twice.
            None => stream::once(std::future::ready(Err(DataFusionError::Internal("a lane is read twice".to_owned()))))
                .right_stream(),
        };
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
