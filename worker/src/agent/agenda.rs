//! What is to be looked at, and when. Pure: the clock is an argument, and nobody is asked anything here.
//!
//! It promises: of one subject there is one look at a time; a subject whose inputs change is looked at again at once, also when
//! they change during a look; a subject that is gone, or was made anew meanwhile, takes no result of an old look.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// What kind of look it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The test of a connection.
    Connection,
    /// What is at the place of a table.
    Table,
    /// The transforms of a job, planned.
    Check,
    /// Lag and ledger of a job.
    Job,
}

impl Kind {
    /// The word in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Table => "table",
            Self::Check => "check",
            Self::Job => "job",
        }
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// The kind of look.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
}

/// A look that is to be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// At what.
    pub subject: Subject,
    /// Names this look.
    number: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Agenda {
    entries: BTreeMap<Subject, Entry>,
    looks: u64,
}

#[derive(Debug)]
struct Entry {
    /// Whatever the result depends on, as it is now.
    inputs: String,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To be looked at then; nothing: not before the inputs change.
    Waiting(Option<Instant>),
    /// A look of this number is under way, which began with these inputs.
    Looking { number: u64, inputs: String },
}

impl Agenda {
    /// Takes over what there is to look at, each with all that the result depends on.
    pub fn set(&mut self, subjects: impl IntoIterator<Item = (Subject, String)>, now: Instant) {
        let mut before = std::mem::take(&mut self.entries);
        for (subject, inputs) in subjects {
            let state = match before.remove(&subject) {
                Some(Entry { inputs: old, state: State::Waiting(at) }) if old == inputs => State::Waiting(at),
                Some(Entry { state: looking @ State::Looking { .. }, .. }) => looking,
                _ => State::Waiting(Some(now)),
            };
            self.entries.insert(subject, Entry { inputs, state });
        }
    }

    /// Everything that is due. It counts as under way from now on.
    pub fn due(&mut self, now: Instant) -> Vec<Look> {
        let mut due = Vec::new();
        for (subject, entry) in &mut self.entries {
            if matches!(entry.state, State::Waiting(Some(at)) if at <= now) {
                self.looks += 1;
                entry.state = State::Looking { number: self.looks, inputs: entry.inputs.clone() };
                due.push(Look { subject: subject.clone(), number: self.looks });
            }
        }
        due
    }

    /// A look is over. `again`: after this time, or not before the inputs change. False: nobody wants its result any more.
    pub fn done(&mut self, look: &Look, now: Instant, again: Option<Duration>) -> bool {
        let Some(entry) = self.entries.get_mut(&look.subject) else { return false };
        let State::Looking { number, inputs } = &entry.state else { return false };
        if *number != look.number {
            return false;
        }
        let changed = *inputs != entry.inputs;
        entry.state = State::Waiting(if changed { Some(now) } else { again.map(|again| now + again) });
        true
    }

    /// When the next look is due.
    pub fn next(&self) -> Option<Instant> {
        let waiting = |entry: &Entry| if let State::Waiting(at) = entry.state { at } else { None };
        self.entries.values().filter_map(waiting).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn subject(name: &str) -> Subject {
        Subject { kind: Kind::Connection, name: name.to_owned() }
    }

    fn agenda(now: Instant, subjects: &[(&str, &str)]) -> Agenda {
        let mut agenda = Agenda::default();
        set(&mut agenda, now, subjects);
        agenda
    }

    fn set(agenda: &mut Agenda, now: Instant, subjects: &[(&str, &str)]) {
        agenda.set(subjects.iter().map(|(name, inputs)| (subject(name), (*inputs).to_owned())), now);
    }

    fn due(agenda: &mut Agenda, now: Instant) -> Vec<Look> {
        agenda.due(now)
    }

    #[test]
    fn each_subject_is_looked_at_once_and_again_after_its_time() {
        let now = Instant::now();
        let mut agenda = agenda(now, &[("a", "1"), ("b", "1")]);
        let looks = due(&mut agenda, now);
        assert_eq!(looks.iter().map(|look| look.subject.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((due(&mut agenda, now), agenda.next()), (Vec::new(), None), "one look at a time");
        assert!(agenda.done(&looks[0], now, Some(MINUTE)));
        assert!(agenda.done(&looks[1], now, None));
        assert_eq!(agenda.next(), Some(now + MINUTE));
        assert_eq!(due(&mut agenda, now + MINUTE / 2), Vec::new());
        assert_eq!(due(&mut agenda, now + MINUTE).len(), 1, "b waits for a change");
    }

    #[test]
    fn a_change_is_looked_at_at_once_also_when_it_comes_during_a_look() {
        let now = Instant::now();
        let mut agenda = agenda(now, &[("a", "1")]);
        let first = due(&mut agenda, now).remove(0);
        set(&mut agenda, now, &[("a", "2")]);
        assert_eq!(due(&mut agenda, now), Vec::new(), "the first look is not over");
        assert!(agenda.done(&first, now, None));
        let second = due(&mut agenda, now).remove(0);
        assert!(agenda.done(&second, now, None));
        set(&mut agenda, now, &[("a", "2")]);
        assert_eq!(due(&mut agenda, now), Vec::new(), "nothing changed");
        set(&mut agenda, now, &[("a", "3")]);
        assert_eq!(due(&mut agenda, now).len(), 1);
    }

    #[test]
    fn a_subject_that_is_gone_or_made_anew_takes_no_result_of_an_old_look() {
        let now = Instant::now();
        let mut agenda = agenda(now, &[("a", "1")]);
        let old = due(&mut agenda, now).remove(0);
        set(&mut agenda, now, &[]);
        set(&mut agenda, now, &[("a", "1")]);
        assert!(!agenda.done(&old, now, None), "it waits for its first look");
        let new = due(&mut agenda, now).remove(0);
        assert!(!agenda.done(&old, now, None), "another look is under way");
        assert!(agenda.done(&new, now, None));
        set(&mut agenda, now, &[]);
        assert!(!agenda.done(&new, now, None));
    }
}
