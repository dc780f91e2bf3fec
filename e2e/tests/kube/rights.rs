//! What operator, agent and workers may do, asked of the API server.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use sluice_e2e::k8s::operator::{self, NAMESPACE};
use sluice_e2e::k8s::stage::{Stage, promise};

/// What everybody may who can log in.
const EVERYBODY: [&str; 5] = ["selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "[/", "[]"];

#[test]
fn nobody_may_more_than_is_needed() -> Result<()> {
    promise("kube_rights", async |stage| {
        let (_, job) = stage.job(1).await?;
        stage.start(&job).await?;
        let namespace = stage.kube.namespace();

        let operator = format!("system:serviceaccount:{NAMESPACE}:{}", operator::NAME);
        let rights = list(&stage, &operator).await?;
        let kinds: BTreeSet<&str> = rights.iter().map(|(kind, _)| kind.as_str()).collect();
        ensure!(kinds.contains("streamingjobs.sluice.dev"), "the operator may not see jobs: {rights:?}");
        for (kind, verbs) in &rights {
            ensure!(!kind.contains("secret") && kind != "*.*", "the operator may {verbs} {kind}");
            ensure!(!verbs.contains('*'), "the operator may do anything with {kind}");
            let ours = kind.ends_with("sluice.dev") && !kind.contains('/');
            ensure!(!ours || verbs == "[get list watch]", "the operator may {verbs} {kind}");
            // Without these two, it cannot give away more than it has itself.
            let gives = verbs.contains("bind") || verbs.contains("escalate");
            ensure!(!gives, "the operator may {verbs} {kind}");
        }
        for (verb, what) in
            [("get", "secrets"), ("list", "secrets"), ("create", "pods"), ("delete", "pods"), ("create", "pods/exec")]
        {
            ensure!(!may(&stage, &operator, verb, what).await?, "the operator may {verb} {what}");
        }

        let agent = format!("system:serviceaccount:{namespace}:sluice-agent");
        let expected: Vec<_> = ["connections", "datacatalogtables", "streamingjobs"]
            .map(|kind| (format!("{kind}.sluice.dev"), "[get list watch]".to_owned()))
            .into_iter()
            .collect();
        let rights = list(&stage, &agent).await?;
        ensure!(rights == expected, "the agent may {rights:?}");

        let worker = format!("system:serviceaccount:{namespace}:{}-worker", job.name);
        let rights = list(&stage, &worker).await?;
        ensure!(rights.is_empty(), "a worker may {rights:?}");
        for pod in stage.workers(&job).await? {
            ensure!(pod["spec"]["automountServiceAccountToken"] == false, "a worker has a token");
        }
        Ok(())
    })
}

/// Kinds and verbs of `kubectl auth can-i --list`, without what everybody may, in order.
async fn list(stage: &Stage, account: &str) -> Result<Vec<(String, String)>> {
    let table = stage.kube.kubectl(&["auth", "can-i", "--list", "--no-headers", "--as", account]).await?;
    let mut rights = Vec::new();
    for line in table.lines() {
        let Some(kind) = line.split_whitespace().next() else { continue };
        let verbs = line.rfind('[').map_or("", |at| line[at..].trim());
        if !EVERYBODY.iter().any(|common| kind.starts_with(common)) {
            rights.push((kind.to_owned(), verbs.to_owned()));
        }
    }
    rights.sort();
    Ok(rights)
}

async fn may(stage: &Stage, account: &str, verb: &str, what: &str) -> Result<bool> {
    // It ends with 1 when the answer is no.
    let said = stage.kube.try_kubectl(&["auth", "can-i", verb, what, "--as", account], "").await?;
    ensure!(["yes", "no"].contains(&said.out.trim()), "kubectl auth can-i says {}{}", said.out, said.err);
    Ok(said.out.trim() == "yes")
}
