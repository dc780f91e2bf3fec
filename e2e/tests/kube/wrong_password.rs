//! A wrong password is told as that, by both ends, before a worker is started with it; and the right one heals it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sluice_e2e::broker::cache;
use sluice_e2e::k8s::kinds::CONNECTION;
use sluice_e2e::k8s::stage::{SOON, Stage, promise};
use sluice_e2e::k8s::{condition, has_condition, is_ready};
use sluice_e2e::s3::SECRET_KEY;

/// The kubelet brings a changed Secret within two minutes, and the agent looks ten seconds later.
const CHANGED: Duration = Duration::from_mins(4);

#[test]
fn a_wrong_key_of_s3_is_an_authentication_that_failed() -> Result<()> {
    promise("kube_wrong_key", async |stage| {
        let (_, job) = stage.job(1).await?;
        let manifests = job.manifests();
        stage.kube.apply(&manifests.replace(SECRET_KEY, "not-the-secret")).await?;
        failed_login(&stage, "lake", "not-the-secret").await?;
        stage.kube.apply(&manifests).await?;
        stage.kube.until(CONNECTION, "lake", "the right key is taken", CHANGED, is_ready).await.map(drop)
    })
}

#[test]
fn a_wrong_password_of_kafka_is_an_authentication_that_failed() -> Result<()> {
    promise("kube_wrong_password", async |stage| {
        let authority = std::fs::read_to_string(cache()?.join("kafka/tls/ca.crt"))?;
        let authority: String = authority.lines().flat_map(|line| ["    ", line, "\n"]).collect();
        let bootstrap = stage.world.cluster().broker().sasl();
        let manifests = |password: &str| {
            format!(
                "apiVersion: v1
kind: Secret
metadata: {{name: kafka}}
stringData:
  password: {password}
  ca.crt: |
{authority}---
apiVersion: sluice.dev/v1alpha1
kind: Connection
metadata: {{name: kafka}}
spec:
  kafka:
    bootstrapServers: [\"{bootstrap}\"]
    tls:
      trustedCertificates: [{{secretName: kafka, certificate: ca.crt}}]
      hostnameVerification: false
    authentication:
      type: scram-sha-512
      username: alice
      passwordSecret: {{secretName: kafka, password: password}}
"
            )
        };
        stage.kube.apply(&manifests("wrong-password")).await?;
        failed_login(&stage, "kafka", "wrong-password").await?;
        stage.kube.apply(&manifests("alice-secret")).await?;
        let found = stage.kube.until(CONNECTION, "kafka", "the right password is taken", CHANGED, is_ready).await?;
        ensure!(!found.to_string().contains("alice-secret"), "the password is in the status");
        Ok(())
    })
}

async fn failed_login(stage: &Stage, connection: &str, secret: &str) -> Result<()> {
    let refused = |connection: &Value| has_condition(connection, "Ready", "False", "AuthenticationFailed");
    let found = stage.kube.until(CONNECTION, connection, "the login is refused", SOON, refused).await?;
    let message = condition(&found, "Ready").context("no condition")?["message"].to_string();
    ensure!(!message.contains(secret), "the secret is in the message: {message}");
    Ok(())
}
