//! A real cluster, as its users have it: `kubectl` for what people type, a client of the API for what is waited for.
//!
//! Nothing sleeps until something is so: every wait is a watch that ends with the event.

pub mod evidence;
pub mod kinds;
pub mod operator;
pub mod stage;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt as _, pin_mut};
use kube::api::{DynamicObject, ListParams, Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use kinds::Kind;

/// How long one command may take: longer than any of ours waits for the API server.
const COMMAND_LIMIT: Duration = Duration::from_mins(5);

/// One namespace of the cluster.
#[derive(Clone)]
pub struct Kube {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Kube {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kube({})", self.namespace)
    }
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Said {
    /// Did it end with 0?
    pub ok: bool,
    /// What it printed.
    pub out: String,
    /// What it complained of.
    pub err: String,
}

impl Kube {
    /// The namespace of the cluster that `KUBECONFIG` names. It need not exist yet.
    pub async fn new(namespace: &str) -> Result<Self> {
        // kube's TLS asks for the provider of the process. It fails only when there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        ensure!(
            std::env::var_os("KUBECONFIG").is_some(),
            "KUBECONFIG is not set: run these tests by `make kube`, or e2e/cluster/kube/with.sh"
        );
        let client = Client::try_default().await.context("there is no way to the API server of KUBECONFIG")?;
        Ok(Self { client, namespace: namespace.to_owned() })
    }

    /// Its name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Runs `kubectl` in this namespace; an error when it does not end well.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let said = self.try_kubectl(arguments, "").await?;
        ensure!(said.ok, "kubectl {}: {}{}", arguments.join(" "), said.out, said.err);
        Ok(said.out)
    }

    /// Runs `kubectl` in this namespace, with something to read.
    pub async fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<Said> {
        let place = ["--namespace", self.namespace.as_str()];
        run("kubectl", &[&place[..], arguments].concat(), input).await
    }

    /// `kubectl apply`.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        let said = self.try_kubectl(&["apply", "-f", "-"], manifests).await?;
        ensure!(said.ok, "these manifests are refused: {}\n{manifests}", said.err);
        Ok(())
    }

    /// `kubectl apply` of what must be refused; answers the words of the refusal.
    pub async fn refused(&self, manifests: &str) -> Result<String> {
        let said = self.try_kubectl(&["apply", "-f", "-"], manifests).await?;
        ensure!(!said.ok, "these manifests are let in:\n{manifests}");
        Ok(said.err)
    }

    /// Changes some fields of an object, as a person with an editor would.
    pub async fn change(&self, kind: Kind, name: &str, fields: &Value) -> Result<()> {
        let patched = self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(fields)).await;
        patched.map(drop).with_context(|| format!("cannot change {} {name}", kind.kind))
    }

    /// `kubectl scale`.
    pub async fn scale(&self, kind: Kind, name: &str, replicas: u32) -> Result<()> {
        self.kubectl(&["scale", &format!("{}/{name}", kind.full()), &format!("--replicas={replicas}")]).await.map(drop)
    }

    /// Asks for the deletion of an object, without waiting for it.
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<()> {
        self.kubectl(&["delete", &format!("{}/{name}", kind.full()), "--wait=false"]).await.map(drop)
    }

    /// An object, if it is there.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        let object = self.api(kind).get_opt(name).await.with_context(|| format!("cannot read {} {name}", kind.kind))?;
        Ok(object.map(serde_json::to_value).transpose()?)
    }

    /// The objects that carry these labels; an empty selector: all.
    pub async fn list(&self, kind: Kind, selector: &str) -> Result<Vec<Value>> {
        let list = self.api(kind).list(&ListParams::default().labels(selector)).await;
        let list = list.with_context(|| format!("cannot list {}", kind.plural))?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// Waits until an object is as it should be; answers it.
    pub async fn until(
        &self,
        kind: Kind,
        name: &str,
        what: &str,
        limit: Duration,
        done: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let found = self.watch(kind, config, what, limit, |objects| objects.values().any(&done)).await?;
        found.into_values().next().with_context(|| format!("{} {name} is gone", kind.kind))
    }

    /// Waits until an object is gone.
    pub async fn until_gone(&self, kind: Kind, name: &str, limit: Duration) -> Result<()> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        self.watch(kind, config, "it is gone", limit, BTreeMap::is_empty).await.map(drop)
    }

    /// Waits until the objects with these labels are, together, as they should be; answers them by their names.
    pub async fn until_all(
        &self,
        kind: Kind,
        selector: &str,
        what: &str,
        limit: Duration,
        done: impl Fn(&BTreeMap<String, Value>) -> bool,
    ) -> Result<BTreeMap<String, Value>> {
        self.watch(kind, watcher::Config::default().labels(selector), what, limit, done).await
    }

    async fn watch(
        &self,
        kind: Kind,
        config: watcher::Config,
        what: &str,
        limit: Duration,
        done: impl Fn(&BTreeMap<String, Value>) -> bool,
    ) -> Result<BTreeMap<String, Value>> {
        let events = watcher::watcher(self.api(kind), config).default_backoff();
        pin_mut!(events);
        let mut objects = BTreeMap::new();
        let waiting = async {
            // The first list counts when it is complete; from then on each change does.
            let mut complete = false;
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => {
                        objects.clear();
                        complete = false;
                    }
                    Ok(Event::InitDone) => complete = true,
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        objects.insert(object.metadata.name.clone().unwrap_or_default(), serde_json::to_value(object)?);
                    }
                    Ok(Event::Delete(object)) => {
                        objects.remove(&object.metadata.name.unwrap_or_default());
                    }
                    // It begins again by itself, also after the API server was away.
                    Err(_) => {}
                }
                if complete && done(&objects) {
                    return anyhow::Ok(());
                }
            }
            bail!("the watch of {} has ended", kind.plural)
        };
        let outcome = tokio::time::timeout(limit, waiting).await;
        match outcome {
            Ok(result) => result.map(|()| objects),
            Err(_) => bail!("after {limit:?} not yet: {what}; {}", told(kind, &objects)),
        }
    }
}

/// What objects say of themselves, for the message of a failure.
fn told(kind: Kind, objects: &BTreeMap<String, Value>) -> String {
    if objects.is_empty() {
        return format!("there is no such {}", kind.kind);
    }
    let status = |(name, object): (&String, &Value)| format!("{} {name}: {}", kind.kind, object["status"]);
    objects.iter().map(status).collect::<Vec<_>>().join("\n")
}

/// Runs a program to its end, with something to read.
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Result<Said> {
    run_in(Path::new("."), program, arguments, input).await
}

/// As [`run`], in a folder.
pub async fn run_in(folder: &Path, program: &str, arguments: &[&str], input: &str) -> Result<Said> {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {program}; is it installed?"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = tokio::time::timeout(COMMAND_LIMIT, child.wait_with_output()).await;
    let output = output.with_context(|| format!("{program} {} takes too long", arguments.join(" ")))??;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) })
}

/// A condition of an object.
pub fn condition<'v>(object: &'v Value, type_: &str) -> Option<&'v Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

/// Has the object this condition, of its present generation, with this status and reason?
pub fn has_condition(object: &Value, type_: &str, status: &str, reason: &str) -> bool {
    let current = |condition: &&Value| condition["observedGeneration"] == object["metadata"]["generation"];
    let found = condition(object, type_).filter(current);
    found.is_some_and(|found| found["status"] == status && found["reason"] == reason)
}

/// Is the object ready, by its status of its present generation?
pub fn is_ready(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
        && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
}
