//! What became of the records that this process sent.

use std::collections::{HashMap, VecDeque};

use super::Decision;

/// Answers that are kept. Only the last few are ever asked for again, by a caller that did not hear the answer.
const KEPT: usize = 64;

/// Records by id, each with its decision once its slot was seen.
#[derive(Debug, Default)]
pub(super) struct Sent {
    decisions: HashMap<String, Option<Decision>>,
    answered: VecDeque<String>,
}

impl Sent {
    /// A record is about to be sent: its answer will be wanted.
    pub fn expect(&mut self, id: &str) {
        self.decisions.entry(id.to_owned()).or_insert(None);
    }

    /// A record was seen in its slot. Records of others are of no interest.
    pub fn answer(&mut self, id: &str, decision: Decision) {
        let Some(slot @ None) = self.decisions.get_mut(id) else { return };
        *slot = Some(decision);
        self.answered.push_back(id.to_owned());
        if self.answered.len() > KEPT
            && let Some(oldest) = self.answered.pop_front()
        {
            self.decisions.remove(&oldest);
        }
    }

    /// What became of a record; `None`: it was not sent, or nobody knows yet.
    pub fn decision(&self, id: &str) -> Option<Decision> {
        self.decisions.get(id).cloned().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sent_is_remembered_and_not_for_ever() {
        let mut sent = Sent::default();
        sent.answer("stranger", Decision::Decided { seq: 0 });
        assert_eq!(sent.decision("stranger"), None);
        for seq in 0..=KEPT as u64 {
            sent.expect(&seq.to_string());
            assert_eq!(sent.decision(&seq.to_string()), None, "nobody knows yet");
            sent.answer(&seq.to_string(), Decision::Decided { seq });
        }
        assert_eq!(sent.decision("0"), None, "forgotten");
        assert_eq!(sent.decision("1"), Some(Decision::Decided { seq: 1 }));
        assert_eq!(sent.decisions.len(), KEPT);
    }
}
