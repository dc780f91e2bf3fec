//! What a failed test leaves behind: the objects, events and logs of a namespace. Secrets are not among them.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::Kube;
use super::kinds::{self, CONNECTION, EVENT, MADE, POD, STREAMING_JOB, TABLE};

/// Writes down everything of a namespace that helps to understand it. What cannot be had is left out: the test has failed already.
pub async fn keep(kube: &Kube, folder: &Path) -> Result<()> {
    let folder = folder.join(kube.namespace());
    fs::create_dir_all(&folder)?;
    for kind in [STREAMING_JOB, TABLE, CONNECTION, POD, kinds::LEASE].into_iter().chain(MADE) {
        if let Ok(objects) = kube.list(kind, "").await {
            fs::write(folder.join(format!("{}.json", kind.plural)), serde_json::to_string_pretty(&objects)?)?;
        }
    }
    if let Ok(events) = kube.list(EVENT, "").await {
        let mut lines: Vec<String> = events.iter().map(line).collect();
        lines.sort();
        fs::write(folder.join("events.txt"), lines.join("\n"))?;
    }
    for pod in kube.list(POD, "").await.unwrap_or_default() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        for (which, suffix) in [(&["logs", name][..], "log"), (&["logs", name, "--previous"][..], "previous.log")] {
            if let Ok(said) = kube.try_kubectl(which, "").await
                && said.ok
            {
                fs::write(folder.join(format!("{name}.{suffix}")), said.out)?;
            }
        }
    }
    Ok(())
}

fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // Who writes the old way has the time elsewhere.
    let time = [&event["eventTime"], &event["deprecatedLastTimestamp"], &event["metadata"]["creationTimestamp"]];
    let time = time.into_iter().find(|time| time.is_string()).map(text).unwrap_or_default();
    let about = &event["regarding"];
    let (kind, name, reason, note) =
        (text(&about["kind"]), text(&about["name"]), text(&event["reason"]), text(&event["note"]));
    format!("{time} {kind} {name} {reason}: {note}")
}
