//! The last runs of a bounded job.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use sluice_crds::condition::{Reason, StateReason};
use sluice_crds::streaming_job::RunStatus;

use super::Facts;
use super::progress::Progress;
use super::troubles::Trouble;
use crate::condition::seconds;
use crate::streaming_job::rollout;

/// Runs that status shows.
const SHOWN: usize = 10;

/// What was told before, with the present run brought up to date.
pub fn runs(facts: &Facts<'_>, progress: &Progress) -> Vec<RunStatus> {
    let mut runs = facts.before.runs.clone();
    let Some((valid, run)) = facts.valid.and_then(|valid| Some((valid, rollout::current_run(valid, facts.world)?)))
    else {
        return runs;
    };
    let at = match runs.iter().position(|known| known.id == valid.run && known.completion_time.is_none()) {
        Some(at) => at,
        None if runs.first().is_some_and(|known| known.id == valid.run) => return runs,
        None => {
            // A run that nobody saw end was replaced by this one.
            for known in runs.iter_mut().filter(|known| known.completion_time.is_none()) {
                known.completion_time = Some(Time(seconds(facts.now)));
                known.reason = Some(Reason::Superseded.to_string());
            }
            let start_time = run.creation_timestamp().unwrap_or(Time(seconds(facts.now)));
            let new =
                RunStatus { id: valid.run.clone(), start_time, completion_time: None, reason: None, records: None };
            runs.insert(0, new);
            runs.truncate(SHOWN);
            0
        }
    };
    let known = &mut runs[at];
    // Workers of a run end one after the other, and what they read counts for good.
    known.records = known.records.max((progress.read > 0).then_some(progress.read as i64));
    if let Some(end) = rollout::ended(run) {
        let finished = run.status.as_ref().and_then(|status| status.completion_time.clone());
        known.completion_time = Some(finished.unwrap_or(Time(seconds(facts.now))));
        known.reason = Some(match end {
            Ok(()) => StateReason::Completed.to_string(),
            Err(_) => Trouble::of(facts)
                .and_then(|trouble| trouble.stalls())
                .unwrap_or(Reason::RetriesExhausted.as_str())
                .to_owned(),
        });
    }
    runs
}
