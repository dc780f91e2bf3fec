//! From a job and what it refers to, to the plan that a worker runs.
//!
//! `resolve` is pure: it looks up references in the maps that it is given, fills in defaults, and checks what a schema cannot
//! check. It goes on after an error where that is cheap, so that a person sees all of them at once. What a later release
//! does is answered with "not supported yet", by name; nothing is silently ignored.

mod alone;
mod error;
mod kafka;
mod secret;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod transform;

pub use alone::{Endpoint, TablePlace, endpoint, table_place};
pub use error::{Place, ResolveError};

use std::collections::BTreeMap;

use crate::connection::Connection;
use crate::data_catalog_table::DataCatalogTable;
use crate::plan::{
    DeadLetterPlan, JobIdentity, JobPlan, Location, Mode, OnOffsetOutOfRange, PLAN_VERSION, RetriesPlan, SourcePlan,
    StartPosition, WindowPlan,
};
use crate::reference::ObjectKey;
use crate::streaming_job::{StartPositionSpec, StartPositionType, StreamingJob, StreamingJobSpec};
use crate::units::{Duration, Size};

/// Period of a window when the job names none: that of Glue.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(100);
/// Shorter windows would make more ledger records than data.
const MIN_PERIOD: Duration = Duration::from_secs(1);
/// Longer windows would outlive credentials and upload ids.
const MAX_PERIOD: Duration = Duration::from_secs(12 * 3600);
/// Tries after the first when the job names no number: that of Glue.
pub const DEFAULT_RETRIES: u32 = 3;
/// Wait before the first retry.
pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(10);
/// Memory budget of a worker without a memory limit.
pub const DEFAULT_MEMORY_BUDGET: Size = Size::from_mebibytes(192);

/// Where the plan will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveContext {
    /// On this machine, by `sluice run`: `file://` locations are allowed, and the ledger belongs to `local`.
    Local,
    /// In a cluster.
    Cluster {
        /// UID of the `kube-system` namespace: the ledger belongs to this cluster.
        uid: String,
    },
}

/// Makes the plan of a job, or tells everything that is wrong with it.
///
/// `tables` and `connections` may hold more than is needed; references are looked up in the job's own namespace.
pub fn resolve(
    job: &StreamingJob,
    tables: &BTreeMap<ObjectKey, DataCatalogTable>,
    connections: &BTreeMap<ObjectKey, Connection>,
    context: &ResolveContext,
) -> Result<JobPlan, Vec<ResolveError>> {
    let key = ObjectKey::of(&job.metadata);
    let spec = Place::new("StreamingJob", key.clone(), "spec");
    let mut resolver = Resolver { key, spec, tables, connections, context, errors: Vec::new() };
    let plan = resolver.plan(job);
    resolver.ended(plan)
}

/// The state of one call: what can be looked up, and what was found to be wrong.
///
/// A method that returns `None` has pushed an error.
struct Resolver<'a> {
    key: ObjectKey,
    /// The place of the job's spec.
    spec: Place,
    tables: &'a BTreeMap<ObjectKey, DataCatalogTable>,
    connections: &'a BTreeMap<ObjectKey, Connection>,
    context: &'a ResolveContext,
    errors: Vec<ResolveError>,
}

impl Resolver<'_> {
    /// What was found, unless anything is wrong.
    fn ended<T>(self, found: Option<T>) -> Result<T, Vec<ResolveError>> {
        match found {
            Some(found) if self.errors.is_empty() => Ok(found),
            _ => Err(self.errors),
        }
    }

    fn plan(&mut self, job: &StreamingJob) -> Option<JobPlan> {
        let spec = &job.spec;
        self.later_releases(spec);
        let identity = self.identity(job);
        let source = self.source(spec);
        let window = self.window(spec);
        let parameters = spec.parameters.clone().unwrap_or_default();
        let transforms = self.transforms(spec.transforms.as_deref().unwrap_or_default(), &parameters);
        let sink = self.sink(&spec.sink);
        let dead_letter = self.dead_letter(spec);
        let checkpoint = self.checkpoint(spec, sink.as_ref().map(|sink| &sink.location));
        let retries = self.retries(spec);
        if let Some(sink) = &sink {
            self.outside_of_sink(&sink.location, dead_letter.as_ref().map(|dead| &dead.location), checkpoint.as_ref());
        }
        Some(JobPlan {
            version: PLAN_VERSION,
            job: identity?,
            mode: spec.mode.unwrap_or(Mode::Continuous),
            source: source?,
            window: window?,
            parameters,
            transforms: transforms?,
            sink: sink?,
            dead_letter,
            checkpoint: checkpoint?,
            retries: retries?,
            memory_budget: memory_budget(spec),
        })
    }

    fn push<T>(&mut self, error: ResolveError) -> Option<T> {
        self.errors.push(error);
        None
    }

    /// Answers what a later release does.
    fn later(&mut self, present: bool, at: Place, what: &'static str, mend: &'static str) {
        if present {
            self.errors.push(ResolveError::NotSupportedYet { at, what, mend });
        }
    }

    fn later_releases(&mut self, spec: &StreamingJobSpec) {
        let at = |field| self.spec.child(field);
        let fields = [
            (
                spec.schedule.is_some(),
                at("schedule"),
                "a schedule",
                "remove it, and start each run by a CronJob or by hand",
            ),
            (spec.timeout.is_some(), at("timeout"), "a timeout", "remove it"),
            (spec.autoscaling.is_some(), at("autoscaling"), "autoscaling", "set workers.replicas instead"),
            (spec.replay.is_some(), at("replay"), "a replay", "make a new job with another checkpoint instead"),
        ];
        for (present, at, what, mend) in fields {
            self.later(present, at, what, mend);
        }
    }

    fn identity(&mut self, job: &StreamingJob) -> Option<JobIdentity> {
        if self.key.name.is_empty() {
            let at = Place { field: "metadata.name".to_owned(), ..self.spec.clone() };
            return self.push(ResolveError::FieldMissing { at, needed_by: "the job's ledger" });
        }
        let (cluster, generation) = match self.context {
            ResolveContext::Local => ("local".to_owned(), None),
            ResolveContext::Cluster { uid } => (uid.clone(), job.metadata.generation),
        };
        Some(JobIdentity { cluster, namespace: self.key.namespace.clone(), name: self.key.name.clone(), generation })
    }

    fn source(&mut self, spec: &StreamingJobSpec) -> Option<SourcePlan> {
        let source = &spec.source;
        let kafka_metadata = source.kafka_metadata.unwrap_or(false);
        let table = self.source_table(source, kafka_metadata);
        let start_position = self.start_position(source.start_position.as_ref());
        let default_group = || format!("sluice.{}.{}", self.key.namespace, self.key.name);
        let group_id = source.group_id.clone().unwrap_or_else(default_group);
        let table = table?;
        Some(SourcePlan {
            kafka: table.kafka,
            topic: table.topic,
            group_id,
            start_position: start_position?,
            on_offset_out_of_range: source.on_offset_out_of_range.unwrap_or(OnOffsetOutOfRange::Stall),
            kafka_metadata,
            format: table.format,
            columns: table.columns,
        })
    }

    fn start_position(&mut self, spec: Option<&StartPositionSpec>) -> Option<StartPosition> {
        let Some(spec) = spec else { return Some(StartPosition::Earliest) };
        match (spec.type_, &spec.time) {
            (StartPositionType::Earliest, _) => Some(StartPosition::Earliest),
            (StartPositionType::Latest, _) => Some(StartPosition::Latest),
            (StartPositionType::Timestamp, Some(time)) => Some(StartPosition::Timestamp { time: time.0 }),
            (StartPositionType::Timestamp, None) => {
                let at = self.spec.child("source.startPosition.time");
                self.push(ResolveError::FieldMissing { at, needed_by: "startPosition of type Timestamp" })
            }
        }
    }

    fn window(&mut self, spec: &StreamingJobSpec) -> Option<WindowPlan> {
        let window = spec.window.clone().unwrap_or_default();
        let period = window.period.unwrap_or(DEFAULT_PERIOD);
        if !(MIN_PERIOD..=MAX_PERIOD).contains(&period) {
            let at = self.spec.child("window.period");
            return self.push(ResolveError::DurationOutOfRange {
                at,
                value: period,
                least: MIN_PERIOD,
                most: MAX_PERIOD,
            });
        }
        let max_records = match window.max_records {
            Some(number) => Some(self.number("window.maxRecords", number, 1, i64::MAX)? as u64),
            None => None,
        };
        Some(WindowPlan { period: period.get(), max_records, max_bytes: window.max_bytes.map(Size::bytes) })
    }

    fn number(&mut self, field: &str, value: i64, least: i64, most: i64) -> Option<i64> {
        if (least..=most).contains(&value) {
            return Some(value);
        }
        let at = self.spec.child(field);
        self.push(ResolveError::NumberOutOfRange { at, value: value.to_string(), least, most })
    }

    fn retries(&mut self, spec: &StreamingJobSpec) -> Option<RetriesPlan> {
        let retries = spec.retries.clone().unwrap_or_default();
        let per_window = match retries.per_window {
            Some(number) => self.number("retries.perWindow", number.into(), 0, 1000)? as u32,
            None => DEFAULT_RETRIES,
        };
        Some(RetriesPlan { per_window, backoff: retries.backoff.unwrap_or(DEFAULT_BACKOFF).get() })
    }

    fn dead_letter(&mut self, spec: &StreamingJobSpec) -> Option<DeadLetterPlan> {
        let dead_letter = spec.dead_letter.as_ref()?;
        if let Some(percent) = dead_letter.max_percent.filter(|percent| !(0.0..=100.0).contains(percent)) {
            let at = self.spec.child("deadLetter.maxPercent");
            let error = ResolveError::NumberOutOfRange { at, value: percent.to_string(), least: 0, most: 100 };
            self.errors.push(error);
        }
        let at = self.spec.child("deadLetter.objectStore");
        let location = self.location(&dead_letter.object_store, &at)?;
        Some(DeadLetterPlan { location, max_percent: dead_letter.max_percent })
    }

    /// The ledger's folder: as written, else beside the sink.
    fn checkpoint(&mut self, spec: &StreamingJobSpec, sink: Option<&Location>) -> Option<Location> {
        let at = self.spec.child("checkpoint");
        if let Some(checkpoint) = &spec.checkpoint {
            return self.location(checkpoint, &at);
        }
        let Some(sink) = sink else {
            let topic = self.sink_is_topic(&spec.sink);
            return if topic { self.push(ResolveError::CheckpointNeeded { at, sink: "in a topic" }) } else { None };
        };
        match store::beside(&sink.url) {
            Some(parent) => {
                let url = format!("{parent}_sluice/{}.{}/", self.key.namespace, self.key.name);
                Some(Location { url, s3: sink.s3.clone() })
            }
            None => self.push(ResolveError::CheckpointNeeded { at, sink: "at the root of a bucket" }),
        }
    }

    fn outside_of_sink(&mut self, sink: &Location, dead_letter: Option<&Location>, checkpoint: Option<&Location>) {
        for (field, other) in [("deadLetter.objectStore.url", dead_letter), ("checkpoint.url", checkpoint)] {
            let Some(other) = other.filter(|other| store::readers_would_see(sink, other)) else { continue };
            let at = self.spec.child(field);
            self.errors.push(ResolveError::InsideSink { at, url: other.url.clone(), sink: sink.url.clone() });
        }
    }
}

/// Half of the memory limit: the other half is for the program, its plans and what allocators keep.
fn memory_budget(spec: &StreamingJobSpec) -> u64 {
    let resources = spec.workers.as_ref().and_then(|workers| workers.resources.as_ref());
    let limit = resources.and_then(|resources| resources.limits.as_ref()).and_then(|limits| limits.memory);
    limit.map_or(DEFAULT_MEMORY_BUDGET.bytes(), |limit| limit.bytes() / 2)
}
