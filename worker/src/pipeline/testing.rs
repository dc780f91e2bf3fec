//! A pipeline whose reader is played by the test: it says what the group does and what was read, in the order it wants.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use sluice_crds::manifest;
use sluice_crds::plan::JobPlan;
use sluice_crds::resolve::{ResolveContext, resolve};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::{Pipeline, WorkerOptions, build, start};
use crate::batch::RawBatch;
use crate::budget::Budget;
use crate::error::Stop;
use crate::ledger::record::{Body, Commit};
use crate::report::Board;
use crate::source::{Command, EmbeddedKafka, LaneInput, Reader, SourceEvent};

/// Nothing here takes longer on any machine that works; shorter than a drain, so that one that is stuck is seen.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) const GOOD: &str = r#"{"id":"a"}"#;
pub(super) const BAD: &str = "{broken";

const MANIFEST: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka}
spec: {kafka: {bootstrapServers: ["BROKER"]}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders}
spec:
  mode: Continuous
  source:
    table:
      database: test
      location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
      format: {json: {}}
      columns: [{name: id, type: string}]
  window: {period: 1h}
  sink:
    table:
      database: test
      location: {objectStore: {url: "file://FOLDER/orders/"}}
      format: {parquet: {}}
  retries: {perWindow: 3, backoff: 10ms}
"#;

/// A job without dead letters, whose window stays open for an hour.
pub(super) fn plan(broker: &str, folder: &Path) -> JobPlan {
    let text = MANIFEST.replace("BROKER", broker).replace("FOLDER", &folder.display().to_string());
    let manifests = manifest::parse([("job.yaml", text.as_str())]).unwrap();
    let job = manifests.jobs.values().next().unwrap();
    resolve(job, &manifests.tables, &manifests.connections, &ResolveContext::Local).unwrap()
}

/// Records of one partition that all have this text.
pub(super) fn raw(partition: i32, offsets: Range<i64>, text: &str) -> RawBatch {
    let mut raw = RawBatch::new(partition);
    for offset in offsets {
        raw.push(offset, 0, None, Some(text.as_bytes()), std::iter::empty());
    }
    raw
}

/// The test's end of a pipeline.
pub(super) struct Played {
    pub events: UnboundedSender<SourceEvent>,
    pub commands: Receiver<Command>,
    pub lanes: Vec<Sender<LaneInput>>,
    pub stop: watch::Sender<bool>,
    /// What lanes hold; back at zero when they are done with all that was sent.
    pub held: Arc<Budget>,
    folder: TempDir,
    _kafka: EmbeddedKafka,
}

/// A pipeline with one lane for each partition; each partition of the topic has this many records.
pub(super) async fn play(partitions: i32, records: usize, change: impl FnOnce(&mut JobPlan)) -> (Pipeline, Played) {
    let (kafka, producer) = EmbeddedKafka::start("orders", partitions).unwrap();
    for partition in (0..partitions).cycle().take(records * partitions as usize) {
        producer.produce("orders", partition, GOOD.as_bytes()).unwrap();
    }
    producer.flush().unwrap();
    let folder = TempDir::new().unwrap();
    let mut plan = plan(&kafka.bootstrap_servers(), folder.path());
    change(&mut plan);
    let options = WorkerOptions { lanes: Some(partitions as usize), ..WorkerOptions::new(folder.path()) };
    let opened = start::open(&plan, &options.secrets).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let (events, told) = mpsc::unbounded_channel();
    let mut ends = None;
    let pipeline = build::build(plan, options, opened, Board::new(), stopped, |_, lanes| {
        let (reader, commands) = Reader::played();
        ends = Some((commands, lanes));
        Ok((reader, told))
    });
    let (commands, lanes) = ends.unwrap();
    let held = Budget::new(u64::MAX);
    (pipeline.unwrap(), Played { events, commands, lanes, stop, held, folder, _kafka: kafka })
}

/// Lets it run until it ends by itself.
pub(super) fn run(mut pipeline: Pipeline) -> JoinHandle<(Pipeline, Result<(), Stop>)> {
    tokio::spawn(async move {
        let outcome = pipeline.run().await;
        (pipeline, outcome)
    })
}

/// How it ended.
pub(super) async fn ended(running: JoinHandle<(Pipeline, Result<(), Stop>)>) -> (Pipeline, Result<(), Stop>) {
    tokio::time::timeout(PATIENCE, running).await.expect("an end in time").expect("no panic")
}

impl Played {
    pub fn tell(&self, event: SourceEvent) {
        self.events.send(event).unwrap();
    }

    /// The next command that is not a report to the group.
    pub fn command(&self) -> Command {
        loop {
            match self.commands.recv_timeout(PATIENCE).expect("a command in time") {
                Command::CommitGroup { .. } => {}
                command => return command,
            }
        }
    }

    /// Gives partitions to the pipeline; the positions from which it wants to read them.
    pub fn assign(&self, partitions: &[i32]) -> BTreeMap<i32, i64> {
        self.tell(SourceEvent::Assigned(partitions.to_vec()));
        match self.command() {
            Command::Assign(positions) => positions,
            other => panic!("positions are expected, and not {other:?}"),
        }
    }

    /// Records were read.
    pub fn read(&self, partition: i32, offsets: Range<i64>, text: &str) {
        let lane = &self.lanes[partition as usize % self.lanes.len()];
        lane.send(LaneInput::Batch { raw: raw(partition, offsets, text), held: self.held.hold(1) }).unwrap();
    }

    /// The window that is to be opened, and where to say up to where the closed one goes.
    pub fn closing(&self) -> (u64, oneshot::Sender<BTreeMap<i32, i64>>) {
        match self.command() {
            Command::Close { window, reply } => (window, reply),
            other => panic!("a close is expected, and not {other:?}"),
        }
    }

    /// Carries a close out.
    pub fn close(&self, positions: &[(i32, i64)]) {
        let (window, reply) = self.closing();
        for lane in &self.lanes {
            lane.send(LaneInput::Close { window }).unwrap();
        }
        reply.send(positions.iter().copied().collect()).unwrap();
    }

    /// Carries a rewind out; where to, and its epoch.
    pub fn rewind(&self) -> (BTreeMap<i32, i64>, u64) {
        match self.command() {
            Command::Rewind { positions, epoch, done } => {
                for lane in &self.lanes {
                    lane.send(LaneInput::Abandon { epoch }).unwrap();
                }
                done.send(()).unwrap();
                (positions, epoch)
            }
            other => panic!("a rewind is expected, and not {other:?}"),
        }
    }

    /// All files below the folder whose name ends like this.
    pub fn files(&self, end: &str) -> usize {
        fn count(folder: &Path, end: &str) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries
                .map(
                    |path| {
                        if path.is_dir() {
                            count(&path, end)
                        } else {
                            usize::from(path.to_string_lossy().ends_with(end))
                        }
                    },
                )
                .sum()
        }
        count(self.folder.path(), end)
    }
}

/// The commits that the ledger holds.
pub(super) async fn commits(pipeline: &Pipeline) -> Vec<Commit> {
    let history = pipeline.committer.ledger.lock().await.history().await.unwrap();
    let bodies = history.into_iter().map(|(_, record, _)| record.body);
    bodies.filter_map(|body| if let Body::Commit(commit) = body { Some(commit) } else { None }).collect()
}
