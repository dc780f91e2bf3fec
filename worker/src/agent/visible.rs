//! What is decided and not visible, of a job whose workers are gone: nobody else can tell, and nobody publishes it before the job runs again.
//!
//! The ledger alone does not tell. It says of a commit that it is visible in a later record, which a worker that was killed has not written;
//! and while workers are at work, their last commit is always one that no record says it of. So the files themselves are looked at, and only
//! while nobody is at work: each of them is asked for until it was seen once, and of each commit one that is missing is enough.

use std::collections::BTreeSet;

use futures::StreamExt;
use sluice_crds::plan::JobPlan;

use super::Tools;
use super::world::JobFacts;
use crate::error::Stop;
use crate::ledger::Ledger;
use crate::ledger::record::{Commit, FileRecord};
use crate::pipeline::stores::home;

/// Files that are asked for at the same time.
const AT_ONCE: usize = 16;

/// How many commits are decided whose files are not all visible; nothing while that is not known. `seen`: urls of files that were visible.
pub async fn unpublished(facts: &JobFacts, tools: &Tools, ledger: &Ledger, seen: &mut BTreeSet<String>) -> Option<u64> {
    let open = &ledger.state().unpublished;
    seen.retain(|url| open.values().flat_map(|commit| &commit.files).any(|file| file.url == *url));
    if open.is_empty() {
        return Some(0);
    }
    if !facts.at_rest {
        return None;
    }
    let mut missing = 0;
    for commit in open.values() {
        match is_visible(commit, facts, tools, ledger, seen).await {
            Ok(visible) => missing += u64::from(!visible),
            Err(stop) => {
                tracing::debug!(job = facts.plan.job.name, error = %stop, "what is visible of the last commits is not known");
                return None;
            }
        }
    }
    Some(missing)
}

async fn is_visible(
    commit: &Commit,
    facts: &JobFacts,
    tools: &Tools,
    ledger: &Ledger,
    seen: &mut BTreeSet<String>,
) -> Result<bool, Stop> {
    let files: Vec<FileRecord> = commit.files.iter().filter(|file| !seen.contains(&file.url)).cloned().collect();
    if files.is_empty() {
        return Ok(true);
    }
    let earlier = if commit.plan == facts.hash { None } else { Some(plan_of(commit, ledger).await?) };
    let looks = files.into_iter().map(|file| look(&facts.plan, earlier.as_ref(), file, tools));
    let mut looks = std::pin::pin!(futures::stream::iter(looks).buffer_unordered(AT_ONCE));
    while let Some(found) = looks.next().await {
        match found? {
            Some(url) => seen.insert(url),
            None => return Ok(false),
        };
    }
    Ok(true)
}

/// The url of the file if it is visible.
async fn look(
    plan: &JobPlan,
    earlier: Option<&JobPlan>,
    file: FileRecord,
    tools: &Tools,
) -> Result<Option<String>, Stop> {
    // Without a place it cannot be published either, and the worker that tries says so.
    let Some(location) = home(plan, earlier.unwrap_or(plan), file.role) else { return Ok(None) };
    let size = tools.lakes.open(location)?.size(&file.url).await?;
    Ok((size == Some(file.bytes)).then_some(file.url))
}

/// The plan that a commit names.
async fn plan_of(commit: &Commit, ledger: &Ledger) -> Result<JobPlan, Stop> {
    let json = ledger.plan(&commit.plan).await?;
    serde_json::from_slice(&json).map_err(|error| {
        let message = format!("the plan {}, which commits of the ledger name, cannot be read: {error}", commit.plan);
        Stop::new(sluice_crds::condition::Reason::DataLossRisk, message)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use jiff::Timestamp;
    use sluice_crds::resolve::ResolveContext;
    use tempfile::TempDir;
    use tokio::runtime::Handle;

    use super::*;
    use crate::agent::brokers::Brokers;
    use crate::agent::lakes::Lakes;
    use crate::agent::secrets::Secrets;
    use crate::agent::testing;
    use crate::agent::world::World;
    use crate::budget::Budget;
    use crate::ledger::record::{Body, Counts, FileRole, OffsetRange, PlanChange, Published, SourceRange, Start};
    use crate::ledger::{Decision, Owner};
    use crate::store::Store;

    const MANIFEST: &str = r#"
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {name: kafka, namespace: etl}
spec: {kafka: {bootstrapServers: ["kafka:9092"]}}
---
apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders, namespace: etl}
spec:
  suspend: true
  source:
    table:
      database: shop
      location: {kafka: {connectionRef: {name: kafka}, topic: orders}}
      format: {json: {}}
      columns: [{name: id, type: string}]
  sink:
    table:
      database: shop
      location: {objectStore: {url: "file://FOLDER/orders/"}}
      format: {parquet: {}}
"#;

    async fn decide(ledger: &mut Ledger, body: Body) -> u64 {
        let record = ledger.record(body);
        match ledger.decide(&record).await.unwrap() {
            Decision::Decided { seq } => seq,
            other @ Decision::Void(_) => panic!("{other:?}"),
        }
    }

    fn facts(folder: &TempDir, text: &str) -> JobFacts {
        let text = text.replace("FOLDER", &folder.path().display().to_string());
        let mut world = World::of(&testing::objects(&text), &ResolveContext::Local);
        std::sync::Arc::into_inner(world.jobs.remove("orders").expect("a job")).expect("nobody else has it")
    }

    fn commit(plan: &str, file: FileRecord) -> Commit {
        Commit {
            worker: "w".to_owned(),
            batch: "b".to_owned(),
            plan: plan.to_owned(),
            window_start: Timestamp::UNIX_EPOCH,
            window_end: Timestamp::UNIX_EPOCH,
            ranges: vec![OffsetRange {
                topic: "orders".to_owned(),
                topic_id: "id".to_owned(),
                partition: 0,
                from: 0,
                to: 1,
            }],
            files: vec![file],
            counts: Counts::default(),
            published: Vec::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_is_unpublished_until_its_files_are_seen_or_the_ledger_says_so() {
        let folder = TempDir::new().unwrap();
        let at_work = facts(&folder, &MANIFEST.replace("suspend: true", "suspend: false"));
        let facts = facts(&folder, MANIFEST);
        let secrets = Secrets::new(folder.path());
        let tools = Tools { brokers: Brokers::new(secrets.clone()), lakes: Lakes::new(secrets.clone()), secrets };
        let (table, place) = (tools.lakes.open(&facts.plan.sink.location).unwrap(), &facts.plan.checkpoint);
        let (objects, prefix) = tools.lakes.open(place).unwrap().objects();
        let name = String::from;
        let owner = Owner { cluster: name("c"), namespace: name("n"), name: name("j"), kafka_cluster: name("k") };
        let mut ledger = Ledger::open(objects, prefix, &place.url, &owner).await.unwrap();
        let positions = BTreeMap::from([(0, 0)]);
        let start = Start { topic: name("orders"), topic_id: name("id"), earliest: false, positions };
        decide(&mut ledger, Body::Start(start)).await;
        decide(&mut ledger, Body::Plan(PlanChange { generation: 1, hash: facts.hash.clone() })).await;
        let mut seen = BTreeSet::new();
        assert_eq!(unpublished(&facts, &tools, &ledger, &mut seen).await, Some(0), "nothing is decided");

        let mut staging = table.begin("part.parquet", &Handle::current(), &Budget::new(u64::MAX));
        staging.push(Bytes::from_static(b"rows"));
        let staged: crate::store::StagedUpload = staging.finish().await.unwrap();
        let file = FileRecord {
            role: FileRole::Table,
            url: staged.url,
            rows: 1,
            bytes: staged.bytes,
            partition: Vec::new(),
            sources: vec![SourceRange { partition: 0, from: 0, to: 1 }],
            upload: staged.upload,
        };
        let seq = decide(&mut ledger, Body::Commit(commit(&facts.hash, file.clone()))).await;
        assert_eq!(unpublished(&facts, &tools, &ledger, &mut seen).await, Some(1));
        assert_eq!(unpublished(&at_work, &tools, &ledger, &mut seen).await, None, "its workers may be about to");

        // A worker that was killed before it could say so has published it.
        publish(&table, &file).await;
        assert_eq!(unpublished(&facts, &tools, &ledger, &mut seen).await, Some(0));
        // What somebody deletes afterwards was visible.
        std::fs::remove_file(folder.path().join("orders/part.parquet")).unwrap();
        assert_eq!(unpublished(&facts, &tools, &ledger, &mut seen).await, Some(0));
        decide(&mut ledger, Body::Published(Published { seqs: vec![seq] })).await;
        assert_eq!(unpublished(&at_work, &tools, &ledger, &mut seen).await, Some(0), "the ledger says so");
        assert!(seen.is_empty(), "{seen:?}");
    }

    async fn publish(table: &Store, file: &FileRecord) {
        assert_eq!(table.publish(file).await.unwrap(), crate::store::Publication::Visible);
    }
}
