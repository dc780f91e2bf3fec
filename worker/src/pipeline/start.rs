//! What happens before the first record is read: everything that can be wrong is found here, in the order of who can mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sluice_crds::condition::Reason;
use sluice_crds::plan::{JobPlan, Mode, StartPosition, plan_hash};

use super::stores::Stores;
use crate::decode::{Decoder, source_schema};
use crate::error::Stop;
use crate::ledger::record::{Body, PlanChange, Run, Start};
use crate::ledger::{Decision, Ledger, Owner};
use crate::source::{SourceError, TopicClient, TopicInfo};
use crate::transform::Transform;

/// How long brokers may take to answer before the worker gives up: they may be starting, too.
const PATIENCE: Duration = Duration::from_secs(30);

/// A plan that stands on its feet: stores answer, the topic exists, the ledger is ours and knows where to begin.
pub struct Opened {
    /// The transforms.
    pub transform: Arc<Transform>,
    /// The stores.
    pub stores: Arc<Stores>,
    /// The ledger, with plan and start positions decided.
    pub ledger: Ledger,
    /// The topic as the broker describes it.
    pub topic: Arc<TopicClient>,
    /// Its id.
    pub topic_id: String,
    /// How many partitions it has.
    pub partitions: usize,
    /// Hash of the plan.
    pub plan_hash: String,
    /// Generation of the plan in the ledger.
    pub generation: i64,
    /// A bounded run: the run that this worker takes part in.
    pub run: Option<Run>,
}

/// Plans the transforms of a job against its schemas. Needs no network.
pub async fn plan_transforms(plan: &JobPlan) -> Result<Transform, Stop> {
    let source = source_schema(&plan.source.columns, plan.source.kafka_metadata);
    let memory = usize::try_from(plan.memory_budget).unwrap_or(usize::MAX);
    let transform = Transform::plan(source, &plan.transforms, &plan.parameters, &plan.sink, memory).await?;
    decoder(plan, &transform)?;
    Ok(transform)
}

/// How the worker calls itself to the brokers.
pub fn client_name(plan: &JobPlan) -> String {
    format!("{}.{}", plan.job.namespace, plan.job.name)
}

/// Asks for the topic's id.
pub async fn describe(topic: &Arc<TopicClient>) -> Result<TopicInfo, Stop> {
    blocking(topic, |topic| topic.describe(PATIENCE)).await
}

/// A decoder of the columns that the plan needs. The metadata column stands behind the declared ones, and is made only for
/// a plan that reads it.
pub fn decoder(plan: &JobPlan, transform: &Transform) -> Result<Decoder, Stop> {
    let source = &plan.source;
    let needed = transform.needed_columns();
    let (declared, metadata) = needed.split_at(needed.partition_point(|column| *column < source.columns.len()));
    Ok(Decoder::new(&source.topic, &source.columns, declared, !metadata.is_empty())?)
}

/// Opens everything.
pub async fn open(plan: &JobPlan, secrets: &Path) -> Result<Opened, Stop> {
    plan.check_version().map_err(|error| Stop::new(Reason::ConfigInvalid, error.to_string()))?;
    let transform = Arc::new(plan_transforms(plan).await?);
    let stores = Arc::new(Stores::open(plan, secrets)?);
    stores.probe().await?;

    let topic = Arc::new(TopicClient::new(&plan.source.kafka, &plan.source.topic, secrets, &client_name(plan))?);
    // Side by side: an answer that is late delays nothing as long as the brokers are late, too.
    let (described, ()) = tokio::join!(described(&topic), stores.look_at_lifecycles());
    let (info, cluster) = described?;
    let owner = Owner {
        cluster: plan.job.cluster.clone(),
        namespace: plan.job.namespace.clone(),
        name: plan.job.name.clone(),
        kafka_cluster: cluster,
    };
    let (objects, prefix) = stores.checkpoint.objects();
    let mut ledger = Ledger::open(objects, prefix, &plan.checkpoint.url, &owner).await?;
    check_topic(plan, &ledger, &info)?;

    let hash = plan_hash(plan);
    let generation = adopt_plan(plan, &hash, &mut ledger).await?;
    decide_start(plan, &topic, &info, &mut ledger).await?;
    let run = match plan.mode {
        Mode::Continuous => None,
        Mode::UntilCaughtUp => Some(open_run(&topic, &info, &mut ledger).await?),
    };
    Ok(Opened {
        transform,
        stores,
        ledger,
        topic,
        topic_id: info.topic_id,
        partitions: info.partitions.len(),
        plan_hash: hash,
        generation,
        run,
    })
}

async fn described(topic: &Arc<TopicClient>) -> Result<(TopicInfo, String), Stop> {
    blocking(topic, |topic| Ok((topic.describe(PATIENCE)?, topic.cluster_id(PATIENCE)?))).await
}

/// Runs a blocking question to the brokers aside.
pub async fn blocking<T, F>(topic: &Arc<TopicClient>, ask: F) -> Result<T, Stop>
where
    T: Send + 'static,
    F: FnOnce(&TopicClient) -> Result<T, SourceError> + Send + 'static,
{
    let topic = Arc::clone(topic);
    match tokio::task::spawn_blocking(move || ask(&topic)).await {
        Ok(answer) => Ok(answer?),
        Err(error) => Err(Stop::new(Reason::Internal, format!("a question to the brokers broke off: {error}"))),
    }
}

/// Does the ledger speak of the topic that there is?
pub fn check_topic(plan: &JobPlan, ledger: &Ledger, info: &TopicInfo) -> Result<(), Stop> {
    let state = ledger.state();
    if let Some(known) = &state.topic
        && *known != plan.source.topic
    {
        return Err(Stop::new(
            Reason::CheckpointForeign,
            format!(
                "the ledger at {} belongs to topic {known}, the job reads {}: give the job another spec.checkpoint.url, or another name",
                plan.checkpoint.url, plan.source.topic
            ),
        ));
    }
    check_topic_id(plan, state.topic_id.as_deref(), info)
}

/// The offsets of a topic that was created again mean other records.
pub fn check_topic_id(plan: &JobPlan, known: Option<&str>, info: &TopicInfo) -> Result<(), Stop> {
    match known {
        Some(known) if !known.is_empty() && !info.topic_id.is_empty() && known != info.topic_id => Err(Stop::new(
            Reason::TopicRecreated,
            format!(
                "topic {} was deleted and created again (id {known} is now {}): its offsets mean other records; start \
                 a new ledger with another spec.checkpoint.url",
                plan.source.topic, info.topic_id
            ),
        )),
        _ => Ok(()),
    }
}

/// Makes this plan the ledger's, unless a newer one is already there. Workers with the same plan agree on one generation.
async fn adopt_plan(plan: &JobPlan, hash: &str, ledger: &mut Ledger) -> Result<i64, Stop> {
    let json = serde_json::to_vec(plan)
        .map_err(|error| Stop::new(Reason::Internal, format!("the plan cannot be written as JSON: {error}")))?;
    ledger.put_plan(hash, &json).await?;
    loop {
        let generation = match &ledger.state().plan {
            Some(known) if known.hash == hash => return Ok(known.generation),
            Some(known) => plan.job.generation.unwrap_or(known.generation + 1),
            None => plan.job.generation.unwrap_or(1),
        };
        let record = ledger.record(Body::Plan(PlanChange { generation, hash: hash.to_owned() }));
        if let Decision::Decided { .. } = ledger.decide(&record).await? {
            return Ok(generation);
        }
        // Somebody was faster: with the same plan (then it is ours too), or with a newer one.
        if let Some(known) = &ledger.state().plan
            && known.hash != hash
            && plan.job.generation.is_some_and(|ours| ours <= known.generation)
        {
            return Err(Stop::new(
                Reason::Superseded,
                format!(
                    "generation {generation} of the job is older than generation {} in the ledger",
                    known.generation
                ),
            ));
        }
    }
}

/// Decides where the job begins, once and for all partitions that exist now.
async fn decide_start(
    plan: &JobPlan,
    topic: &Arc<TopicClient>,
    info: &TopicInfo,
    ledger: &mut Ledger,
) -> Result<(), Stop> {
    while ledger.state().topic.is_none() {
        let (from, partitions) = (plan.source.start_position, info.partitions.clone());
        let positions = blocking(topic, move |topic| topic.start_positions(&partitions, from, PATIENCE)).await?;
        let record = ledger.record(Body::Start(Start {
            topic: plan.source.topic.clone(),
            topic_id: info.topic_id.clone(),
            earliest: from == StartPosition::Earliest,
            positions,
        }));
        // Void means that another worker decided first; its positions are everybody's.
        ledger.decide(&record).await?;
    }
    Ok(())
}

/// Joins the open run, or opens one that ends where the topic ends now.
async fn open_run(topic: &Arc<TopicClient>, info: &TopicInfo, ledger: &mut Ledger) -> Result<Run, Stop> {
    loop {
        if let Some(run) = &ledger.state().run {
            return Ok(run.clone());
        }
        let partitions = info.partitions.clone();
        let ends = blocking(topic, move |topic| topic.ends(&partitions, PATIENCE)).await?;
        let id = ledger.record(Body::RunEnd(crate::ledger::record::RunEnd { id: String::new() })).id;
        let record = ledger.record(Body::Run(Run { id, ends }));
        ledger.decide(&record).await?;
    }
}

/// Positions at which newly assigned partitions begin: the ledger's, or the beginning for partitions that are younger than the Start.
pub async fn positions_of(
    topic: &Arc<TopicClient>,
    ledger: &Ledger,
    partitions: &BTreeSet<i32>,
) -> Result<BTreeMap<i32, i64>, Stop> {
    let state = ledger.state();
    let mut positions = BTreeMap::new();
    let mut ask = Vec::new();
    for &partition in partitions {
        let known = state.positions.get(&partition);
        if let Some(position) = known {
            positions.insert(partition, position.next);
        }
        // Nothing was committed yet and the start was the first record there is: retention may have moved it.
        if known.is_none_or(|position| position.at_beginning) {
            ask.push(partition);
        }
    }
    if !ask.is_empty() {
        for (partition, beginning) in blocking(topic, move |topic| topic.beginnings(&ask, PATIENCE)).await? {
            let position = positions.entry(partition).or_insert(beginning);
            *position = beginning.max(*position);
        }
    }
    Ok(positions)
}
