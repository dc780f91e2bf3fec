//! Conditions: what is true now, merged with what was known before.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use sluice_crds::condition::ConditionType;

/// Longer messages are cut: the API server takes 32768 bytes, people read less.
const LONGEST_MESSAGE: usize = 2048;

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be told.
    Unknown,
}

impl Truth {
    /// As conditions spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::True } else { Self::False }
    }
}

/// One condition as it is found now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aspect {
    /// Its type.
    pub type_: ConditionType,
    /// Is it so?
    pub truth: Truth,
    /// A word of the one vocabulary.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Aspect {
    /// An aspect.
    pub fn new(
        type_: ConditionType,
        truth: impl Into<Truth>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self { type_, truth: truth.into(), reason: reason.into(), message: message.into() }
    }
}

/// The conditions of a status. A transition time stays while the status of the condition stays. What is not found now is left out.
pub fn merge(previous: &[Condition], aspects: Vec<Aspect>, generation: i64, now: Timestamp) -> Vec<Condition> {
    aspects
        .into_iter()
        .map(|aspect| {
            let before = find(previous, aspect.type_).filter(|before| before.status == aspect.truth.as_str());
            Condition {
                type_: aspect.type_.to_string(),
                status: aspect.truth.as_str().to_owned(),
                reason: aspect.reason,
                message: shortened(&aspect.message, LONGEST_MESSAGE),
                observed_generation: Some(generation),
                last_transition_time: before.map_or(Time(seconds(now)), |before| before.last_transition_time.clone()),
            }
        })
        .collect()
}

/// The condition of a type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == type_.as_str())
}

/// Whole seconds, which is what the API server keeps: a written status reads back as it was written.
pub fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// The text, cut at a character near the length.
pub fn shortened(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let end = (0..=longest - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let ready = |truth: bool, reason: &str| vec![Aspect::new(ConditionType::Ready, truth, reason, "m")];
        let first = merge(&[], ready(false, "Starting"), 1, at(10));
        let second = merge(&first, ready(false, "Draining"), 2, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("Draining", Some(2)));
        let third = merge(&second, ready(true, "Running"), 2, at(30));
        assert_eq!(third[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn what_is_not_found_now_is_gone() {
        let both = vec![
            Aspect::new(ConditionType::Ready, false, "Starting", ""),
            Aspect::new(ConditionType::Reconciling, true, "NewGeneration", ""),
        ];
        let first = merge(&[], both, 1, at(1));
        let second = merge(&first, vec![Aspect::new(ConditionType::Ready, true, "Running", "")], 1, at(2));
        assert_eq!(second.len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let cut = shortened(&"ä".repeat(2000), 2048);
        assert!(cut.len() <= 2048 && cut.ends_with('…'));
        assert_eq!(shortened("short", 2048), "short");
    }
}
