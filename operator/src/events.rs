//! Events: one for each transition of a condition.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::condition::shortened;
use crate::context::Context;

/// The API server refuses longer notes.
const LONGEST_NOTE: usize = 1024;

/// A condition that became something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The reason that the condition has now.
    pub reason: String,
    /// What happened.
    pub note: String,
    /// Should somebody look?
    pub warning: bool,
}

/// What became something else. A new status of the same kind of trouble is none: only status and reason count, not the words.
pub fn transitions(before: &[Condition], now: &[Condition]) -> Vec<Transition> {
    let changed = now.iter().filter(|condition| {
        match before.iter().find(|before| before.type_ == condition.type_) {
            Some(before) => (&before.status, &before.reason) != (&condition.status, &condition.reason),
            // What is as one would expect of a new object is no news.
            None => condition.type_ == "Ready" || is_trouble(condition) || condition.type_ == "Reconciling",
        }
    });
    changed
        .map(|condition| Transition {
            reason: condition.reason.clone(),
            note: shortened(&format!("{}={}: {}", condition.type_, condition.status, condition.message), LONGEST_NOTE),
            warning: is_trouble(condition),
        })
        .collect()
}

/// Is this bad news?
pub fn is_trouble(condition: &Condition) -> bool {
    match (condition.type_.as_str(), condition.status.as_str()) {
        ("Ready", "False") => !matches!(condition.reason.as_str(), "Starting" | "Draining"),
        ("ConfigValid" | "LagWithinTarget", "False")
        | ("Stalled" | "DeadLettersPresent" | "ScalingLimited" | "SchemaDrifted", "True") => true,
        _ => false,
    }
}

/// Publishes transitions. An event that cannot be written is logged and forgotten: status says the same.
///
/// The recorder goes with them: it would keep each event for six minutes, to find the same one again. A transition is never the same,
/// because the object had another version then.
pub async fn publish(context: &Context, about: &ObjectReference, transitions: Vec<Transition>) {
    let recorder = Recorder::new(context.client.clone(), context.reporter.clone());
    for transition in transitions {
        let event = Event {
            type_: if transition.warning { EventType::Warning } else { EventType::Normal },
            reason: transition.reason,
            note: Some(transition.note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = recorder.publish(&event, about).await {
            let object = about.name.as_deref().unwrap_or_default();
            tracing::warn!(%error, object, reason = event.reason, "the event was not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use sluice_crds::condition::ConditionType;

    use super::*;
    use crate::condition::{Aspect, merge};

    fn conditions(aspects: &[(ConditionType, bool, &str, &str)]) -> Vec<Condition> {
        let aspects =
            aspects.iter().map(|(type_, truth, reason, message)| Aspect::new(*type_, *truth, *reason, *message));
        merge(&[], aspects.collect(), 1, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_transition_is_an_event_and_other_words_are_none() {
        use ConditionType::{ConfigValid, Ready};
        let before = conditions(&[(Ready, false, "Starting", "a"), (ConfigValid, true, "Valid", "")]);
        let same = conditions(&[(Ready, false, "Starting", "b"), (ConfigValid, true, "Valid", "")]);
        assert_eq!(transitions(&before, &same), []);
        let after = conditions(&[(Ready, true, "Running", "2 workers"), (ConfigValid, true, "Valid", "")]);
        let events = transitions(&before, &after);
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].reason.as_str(), events[0].warning), ("Running", false));
        assert_eq!(events[0].note, "Ready=True: 2 workers");
    }

    #[test]
    fn trouble_warns_and_a_healthy_beginning_is_quiet() {
        use ConditionType::{ConfigValid, LagWithinTarget, Ready, Stalled};
        let first = conditions(&[(Ready, false, "Starting", ""), (ConfigValid, true, "Valid", "")]);
        let events = transitions(&[], &first);
        assert_eq!(
            events.iter().map(|event| (event.reason.as_str(), event.warning)).collect::<Vec<_>>(),
            [("Starting", false)]
        );
        let bad = conditions(&[
            (Ready, false, "WorkersCrashing", ""),
            (Stalled, true, "RecordRejected", ""),
            (ConfigValid, true, "Valid", ""),
            (LagWithinTarget, false, "FallingBehind", ""),
        ]);
        let events = transitions(&first, &bad);
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event.warning));
    }
}
