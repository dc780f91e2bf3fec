//! The operator, installed by Helm as its users do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::kinds::{DEPLOYMENT, LEASE, POD};
use super::{Kube, Said, run};

/// The namespace of the release.
pub const NAMESPACE: &str = "sluice-system";
/// The release.
pub const RELEASE: &str = "sluice";
/// The name of its Deployment, its lease and its account.
pub const NAME: &str = "sluice-operator";
/// The pods of the operator.
pub const PODS: &str = "app.kubernetes.io/component=operator";
/// How long a start may take: an image is there, or is pulled.
const START_LIMIT: Duration = Duration::from_mins(3);

/// The operator of the cluster.
#[derive(Debug, Clone)]
pub struct Operator {
    kube: Kube,
}

impl Operator {
    /// The operator; the first call installs it.
    pub async fn shared() -> Result<&'static Self> {
        static OPERATOR: OnceCell<Operator> = OnceCell::const_new();
        OPERATOR
            .get_or_try_init(|| async {
                let operator = Self { kube: Kube::new(NAMESPACE).await? };
                operator.install(&[]).await?;
                Ok(operator)
            })
            .await
    }

    /// Its namespace.
    pub fn kube(&self) -> &Kube {
        &self.kube
    }

    /// Installs or upgrades the release, with these values beside the image, and waits until it runs.
    pub async fn install(&self, values: &[&str]) -> Result<()> {
        let image = image()?;
        let (repository, tag) = image.rsplit_once(':').context("SLUICE_IMAGE has no tag")?;
        let image = [format!("image.repository={repository}"), format!("image.tag={tag}")];
        let chart = chart()?;
        let chart = chart.to_str().context("a folder that is not UTF-8")?;
        let mut arguments = vec!["upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE];
        // Waits for the Deployment, and tells what is wrong with it when that takes too long.
        arguments.extend(["--create-namespace", "--wait", "--timeout", "3m"]);
        for value in image.iter().map(String::as_str).chain(values.iter().copied()) {
            arguments.extend(["--set", value]);
        }
        let said = run("helm", &arguments, "").await?;
        ensure!(said.ok, "helm upgrade: {}{}", said.out, said.err);
        self.until_ready().await
    }

    /// `helm` with the namespace of the release.
    pub async fn helm(&self, arguments: &[&str]) -> Result<Said> {
        run("helm", &[arguments, &["--namespace", NAMESPACE][..]].concat(), "").await
    }

    /// Waits until all its pods are of the present template, and ready.
    pub async fn until_ready(&self) -> Result<()> {
        let rolled_out = |deployment: &Value| {
            let (spec, status) = (&deployment["spec"], &deployment["status"]);
            let (wanted, no) = (&spec["replicas"], Value::from(0));
            status["observedGeneration"] == deployment["metadata"]["generation"]
                && [&status["replicas"], &status["updatedReplicas"], &status["readyReplicas"]]
                    .iter()
                    .all(|found| if found.is_null() { wanted == &no } else { *found == wanted })
        };
        self.kube.until(DEPLOYMENT, NAME, "the operator runs", START_LIMIT, rolled_out).await.map(drop)
    }

    /// Sets the number of operators, and waits until so many run.
    pub async fn scale(&self, replicas: u32) -> Result<()> {
        self.kube.scale(DEPLOYMENT, NAME, replicas).await?;
        self.until_ready().await?;
        let there = |pods: &std::collections::BTreeMap<String, Value>| pods.len() == replicas as usize;
        self.kube.until_all(POD, PODS, "its pods are as many", START_LIMIT, there).await.map(drop)
    }

    /// The name of the pod that leads; waits until there is one other than this.
    pub async fn leader_other_than(&self, former: &str, limit: Duration) -> Result<String> {
        let held = |lease: &Value| {
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
            !holder.is_empty() && holder != former
        };
        let lease = self.kube.until(LEASE, NAME, "an operator leads", limit, held).await?;
        let holder = lease["spec"]["holderIdentity"].as_str().context("the lease has no holder")?;
        Ok(holder.to_owned())
    }
}

/// The image under test.
pub fn image() -> Result<String> {
    std::env::var("SLUICE_IMAGE").context("SLUICE_IMAGE is not set: the image that the cluster has")
}

/// The same image under another name, to upgrade to.
pub fn next_image() -> Result<String> {
    std::env::var("SLUICE_IMAGE_NEXT")
        .context("SLUICE_IMAGE_NEXT is not set: another name of the image that the cluster has")
}

/// `$SLUICE_CHART`, or the chart of this repository.
fn chart() -> Result<PathBuf> {
    let chart = std::env::var_os("SLUICE_CHART")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/sluice")), PathBuf::from);
    ensure!(chart.join("Chart.yaml").is_file(), "there is no chart in {}", chart.display());
    Ok(chart)
}
