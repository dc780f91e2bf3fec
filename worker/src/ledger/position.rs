//! The algebra of positions: half-open ranges of offsets that are applied or refused, never guessed.
//!
//! A position is the next offset to read of one partition. A range moves it from its `from` to its `to`, and only if it
//! starts exactly there; so no offset is ever in two ranges and none is left out. The one exception is written into the
//! position itself: a partition that was told to start at its beginning may find that retention has moved that beginning.

use serde::{Deserialize, Serialize};

/// How far one partition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The next offset to read; never negative.
    pub next: i64,
    /// It started at the first record there was and nothing is committed yet: the first range may begin higher.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_beginning: bool,
}

/// Why a position does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// An offset below zero.
    #[error("offset {offset} is negative")]
    Negative {
        /// The offset.
        offset: i64,
    },
    /// A range that ends before it begins.
    #[error("the range {from}..{to} ends before it begins")]
    Reversed {
        /// First offset.
        from: i64,
        /// Behind the last one.
        to: i64,
    },
    /// A range that begins somewhere else than at the position.
    #[error("the range begins at {from}, the position is {next}")]
    NotNext {
        /// The position.
        next: i64,
        /// First offset of the range.
        from: i64,
    },
    /// A reset that expects another position.
    #[error("the reset expects {expected}, the position is {next}")]
    NotExpected {
        /// The position.
        next: i64,
        /// What the reset expects.
        expected: i64,
    },
}

/// A move that is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The position after it.
    pub position: Position,
    /// Offsets that nobody will read: they lie between the position before and the range.
    pub skipped: u64,
    /// Offsets that will be read once more.
    pub replayed: u64,
}

impl Position {
    /// A partition that nobody has read and no start names: it is read from its first record on.
    pub const UNREAD: Self = Self { next: 0, at_beginning: true };

    /// A start at this offset. `beginning`: the offset is where the partition began when somebody looked.
    pub fn start(next: i64, beginning: bool) -> Result<Self, Refused> {
        not_negative(next)?;
        Ok(Self { next, at_beginning: beginning })
    }

    /// Moves over the half-open range `from..to`. An empty range is a range.
    pub fn advance(self, from: i64, to: i64) -> Result<Step, Refused> {
        not_negative(from)?;
        if to < from {
            return Err(Refused::Reversed { from, to });
        }
        let moved_by_retention = self.at_beginning && from > self.next;
        if from != self.next && !moved_by_retention {
            return Err(Refused::NotNext { next: self.next, from });
        }
        let position = Self { next: to, at_beginning: false };
        Ok(Step { position, skipped: from.abs_diff(self.next), replayed: 0 })
    }

    /// Moves to `to`, forward or back, if the position is `expected`.
    pub fn reset(self, expected: i64, to: i64) -> Result<Step, Refused> {
        not_negative(to)?;
        if self.next != expected {
            return Err(Refused::NotExpected { next: self.next, expected });
        }
        let distance = to.abs_diff(self.next);
        let (skipped, replayed) = if to > self.next { (distance, 0) } else { (0, distance) };
        Ok(Step { position: Self { next: to, at_beginning: false }, skipped, replayed })
    }
}

fn not_negative(offset: i64) -> Result<(), Refused> {
    if offset < 0 { Err(Refused::Negative { offset }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(next: i64) -> Position {
        Position { next, at_beginning: false }
    }

    #[test]
    fn a_range_applies_only_where_the_position_is() {
        let step = at(5).advance(5, 9).unwrap();
        assert_eq!(step, Step { position: at(9), skipped: 0, replayed: 0 });
        assert_eq!(at(5).advance(4, 9), Err(Refused::NotNext { next: 5, from: 4 }));
        assert_eq!(at(5).advance(6, 9), Err(Refused::NotNext { next: 5, from: 6 }));
    }

    #[test]
    fn an_empty_range_is_a_range_and_a_reversed_one_is_not() {
        assert_eq!(at(5).advance(5, 5).unwrap().position, at(5));
        assert_eq!(at(5).advance(5, 4), Err(Refused::Reversed { from: 5, to: 4 }));
    }

    #[test]
    fn only_the_first_range_after_a_beginning_may_begin_higher_and_none_may_begin_lower() {
        let beginning = Position::start(10, true).unwrap();
        let step = beginning.advance(12, 20).unwrap();
        assert_eq!((step.position, step.skipped), (at(20), 2));
        assert_eq!(beginning.advance(10, 20).unwrap().skipped, 0);
        assert_eq!(beginning.advance(9, 20), Err(Refused::NotNext { next: 10, from: 9 }));
        assert!(step.position.advance(21, 22).is_err(), "the second range may not");
        assert!(Position::start(10, false).unwrap().advance(12, 20).is_err(), "nor after another start");
        assert_eq!(Position::UNREAD.advance(7, 8).unwrap().skipped, 7);
    }

    #[test]
    fn negative_offsets_are_refused_everywhere() {
        let refused = Refused::Negative { offset: -1 };
        assert_eq!(Position::start(-1, true), Err(refused));
        assert_eq!(at(-1).advance(-1, 0), Err(refused));
        assert_eq!(at(0).reset(0, -1), Err(refused));
    }

    #[test]
    fn a_reset_moves_either_way_from_the_expected_position_only() {
        assert_eq!(at(5).reset(5, 2).unwrap(), Step { position: at(2), skipped: 0, replayed: 3 });
        assert_eq!(at(5).reset(5, 9).unwrap(), Step { position: at(9), skipped: 4, replayed: 0 });
        assert_eq!(at(5).reset(4, 9), Err(Refused::NotExpected { next: 5, expected: 4 }));
        let step = Position::start(5, true).unwrap().reset(5, 6).unwrap();
        assert!(!step.position.at_beginning, "a reset is exact");
    }

    proptest! {
        #[test]
        fn applied_ranges_never_overlap_and_what_lies_between_is_counted(
            beginning: bool,
            ranges in prop::collection::vec((-1i64..30, -1i64..30), 0..40),
        ) {
            let mut position = Position::start(3, beginning).unwrap();
            let mut read = std::collections::BTreeSet::new();
            let mut skipped = 0;
            for (from, to) in ranges {
                let before = position;
                let Ok(step) = position.advance(from, to) else { continue };
                prop_assert!(step.position.next >= before.next, "a position never goes back");
                for offset in from..to {
                    prop_assert!(read.insert(offset), "offset {offset} was applied twice");
                }
                position = step.position;
                skipped += step.skipped;
            }
            prop_assert_eq!(position.next - 3, (read.len() as u64 + skipped) as i64, "nothing is left out silently");
        }
    }
}
