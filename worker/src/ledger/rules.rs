//! The rules: which record is legal in which state.
//!
//! A record that breaks a rule when it is decided is void, for everybody in the same way: a rule looks at the state and
//! the record and at nothing else. No rule ever becomes stricter or looser without a new version of records.

use std::collections::BTreeMap;

use super::position::{Position, Refused, Step};
use super::record::{Body, Commit, OffsetRange, PlanChange, Repair, Reset, Run, RunEnd, Start};
use super::state::State;

/// The rule that a record breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// A start without a partition would make every partition a later one.
    #[error("the start names no partition")]
    EmptyStart,
    /// A start for a partition that has a position.
    #[error("partition {partition} has a position already, {next}")]
    AlreadyStarted {
        /// The partition.
        partition: i32,
        /// Its position.
        next: i64,
    },
    /// Another topic than the one of the first start.
    #[error("the ledger is of topic {known}, the record of {found}")]
    OtherTopic {
        /// The ledger's topic.
        known: String,
        /// The record's topic.
        found: String,
    },
    /// The same topic under another id: its offsets mean other records.
    #[error("topic {topic} was created again: its id was {known} and is {found} now")]
    TopicRecreated {
        /// The topic.
        topic: String,
        /// The ledger's id of it.
        known: String,
        /// The record's id of it.
        found: String,
    },
    /// A plan that is not newer.
    #[error("the plan's generation {found} is not higher than {current}")]
    OldGeneration {
        /// The generation in force.
        current: i64,
        /// The record's.
        found: i64,
    },
    /// A batch of another plan than the one in force.
    #[error("the batch is of plan {found}, in force is {}", current.as_deref().unwrap_or("none"))]
    OtherPlan {
        /// Hash of the plan in force.
        current: Option<String>,
        /// Hash in the record.
        found: String,
    },
    /// A batch before any start was decided.
    #[error("no starting positions are decided yet")]
    NotStarted,
    /// A batch without a range.
    #[error("the batch has no ranges")]
    NoRanges,
    /// Two ranges of one partition, or ranges out of order.
    #[error("the range of partition {partition} comes after that of partition {before}: partitions must rise")]
    RangesOutOfOrder {
        /// The partition of the range before.
        before: i32,
        /// The partition.
        partition: i32,
    },
    /// A range, a start or a reset that does not fit the position.
    #[error("partition {partition}: {refused}")]
    Position {
        /// The partition.
        partition: i32,
        /// What does not fit.
        refused: Refused,
    },
    /// A repair of a commit whose files are visible, or that is none.
    #[error("record {seq} is not a commit that waits to be published")]
    NotUnpublished {
        /// The commit.
        seq: u64,
    },
    /// A repair of a file that the commit does not have.
    #[error("commit {seq} has no file {url}")]
    UnknownFile {
        /// The commit.
        seq: u64,
        /// The file.
        url: String,
    },
    /// A second repair of a file.
    #[error("file {url} of commit {seq} was repaired before")]
    AlreadyRepaired {
        /// The commit.
        seq: u64,
        /// The file.
        url: String,
    },
    /// A reset that was applied before.
    #[error("the reset's nonce {found} is not higher than {current}")]
    OldNonce {
        /// The highest nonce so far.
        current: i64,
        /// The record's.
        found: i64,
    },
    /// A reset of a partition that nobody has read.
    #[error("partition {partition} has no position to reset")]
    NoPosition {
        /// The partition.
        partition: i32,
    },
    /// A run while another one is open.
    #[error("run {open} is still open")]
    RunOpen {
        /// The open run.
        open: String,
    },
    /// A run that has ended: its ends are decided only once.
    #[error("run {id} has ended already")]
    RunOver {
        /// The run.
        id: String,
    },
    /// The end of a run that is not open.
    #[error("run {found} is not open, {} is", open.as_deref().unwrap_or("none"))]
    OtherRun {
        /// The open run.
        open: Option<String>,
        /// The record's.
        found: String,
    },
}

/// What a legal record does to positions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves {
    /// New positions of the partitions that it names.
    pub positions: BTreeMap<i32, Position>,
    /// Offsets that nobody will read.
    pub skipped: u64,
    /// Offsets that will be read once more.
    pub replayed: u64,
}

impl Moves {
    fn step(&mut self, partition: i32, step: Step) {
        self.positions.insert(partition, step.position);
        self.skipped = self.skipped.saturating_add(step.skipped);
        self.replayed = self.replayed.saturating_add(step.replayed);
    }
}

/// Is the record legal in this state, and what does it move?
pub(super) fn check(state: &State, body: &Body) -> Result<Moves, Illegal> {
    let still = |verdict: Result<(), Illegal>| verdict.map(|()| Moves::default());
    match body {
        Body::Start(start) => check_start(state, start),
        Body::Plan(plan) => still(check_plan(state, plan)),
        Body::Commit(commit) => check_commit(state, commit),
        Body::Published(_) => Ok(Moves::default()),
        Body::Repair(repair) => still(check_repair(state, repair)),
        Body::Reset(reset) => check_reset(state, reset),
        Body::Run(run) => still(check_run(state, run)),
        Body::RunEnd(end) => still(check_run_end(state, end)),
    }
}

fn check_start(state: &State, start: &Start) -> Result<Moves, Illegal> {
    if start.positions.is_empty() {
        return Err(Illegal::EmptyStart);
    }
    check_topic(state, &start.topic, &start.topic_id)?;
    let mut moves = Moves::default();
    for (&partition, &next) in &start.positions {
        if let Some(position) = state.positions.get(&partition) {
            return Err(Illegal::AlreadyStarted { partition, next: position.next });
        }
        let position = Position::start(next, start.earliest).map_err(|refused| refuse(partition, refused))?;
        moves.positions.insert(partition, position);
    }
    Ok(moves)
}

fn check_plan(state: &State, plan: &PlanChange) -> Result<(), Illegal> {
    match &state.plan {
        Some(current) if plan.generation <= current.generation => {
            Err(Illegal::OldGeneration { current: current.generation, found: plan.generation })
        }
        _ => Ok(()),
    }
}

fn check_commit(state: &State, commit: &Commit) -> Result<Moves, Illegal> {
    // The plan comes first: a worker of an older plan must learn that it is superseded, whatever its ranges are.
    let plan = state.plan.as_ref().map(|plan| &plan.hash);
    if plan != Some(&commit.plan) {
        return Err(Illegal::OtherPlan { current: plan.cloned(), found: commit.plan.clone() });
    }
    if state.topic.is_none() {
        return Err(Illegal::NotStarted);
    }
    if commit.ranges.is_empty() {
        return Err(Illegal::NoRanges);
    }
    for pair in commit.ranges.windows(2) {
        let (before, partition) = (pair[0].partition, pair[1].partition);
        if partition <= before {
            return Err(Illegal::RangesOutOfOrder { before, partition });
        }
    }
    let mut moves = Moves::default();
    for OffsetRange { topic, topic_id, partition, from, to } in &commit.ranges {
        check_topic(state, topic, topic_id)?;
        let position = state.positions.get(partition).copied().unwrap_or(Position::UNREAD);
        moves.step(*partition, position.advance(*from, *to).map_err(|refused| refuse(*partition, refused))?);
    }
    Ok(moves)
}

fn check_topic(state: &State, topic: &str, id: &str) -> Result<(), Illegal> {
    let (Some(known), Some(known_id)) = (&state.topic, &state.topic_id) else { return Ok(()) };
    if known != topic {
        return Err(Illegal::OtherTopic { known: known.clone(), found: topic.to_owned() });
    }
    if known_id != id {
        return Err(Illegal::TopicRecreated { topic: topic.to_owned(), known: known_id.clone(), found: id.to_owned() });
    }
    Ok(())
}

fn check_repair(state: &State, repair: &Repair) -> Result<(), Illegal> {
    let Repair { seq, url, .. } = repair;
    let commit = state.unpublished.get(seq).ok_or(Illegal::NotUnpublished { seq: *seq })?;
    if !commit.files.iter().any(|file| file.url == *url) {
        return Err(Illegal::UnknownFile { seq: *seq, url: url.clone() });
    }
    if state.marks.get(seq).is_some_and(|mark| mark.repaired.contains(url)) {
        return Err(Illegal::AlreadyRepaired { seq: *seq, url: url.clone() });
    }
    Ok(())
}

fn check_reset(state: &State, reset: &Reset) -> Result<Moves, Illegal> {
    if let (Some(current), Some(found)) = (state.nonce, reset.nonce)
        && found <= current
    {
        return Err(Illegal::OldNonce { current, found });
    }
    let mut moves = Moves::default();
    for (&partition, change) in &reset.positions {
        let position = state.positions.get(&partition).ok_or(Illegal::NoPosition { partition })?;
        moves
            .step(partition, position.reset(change.expected, change.to).map_err(|refused| refuse(partition, refused))?);
    }
    Ok(moves)
}

fn check_run(state: &State, run: &Run) -> Result<(), Illegal> {
    if let Some(open) = &state.run {
        return Err(Illegal::RunOpen { open: open.id.clone() });
    }
    if state.last_run.as_ref() == Some(&run.id) {
        return Err(Illegal::RunOver { id: run.id.clone() });
    }
    Ok(())
}

fn check_run_end(state: &State, end: &RunEnd) -> Result<(), Illegal> {
    let open = state.run.as_ref().map(|run| &run.id);
    if open != Some(&end.id) {
        return Err(Illegal::OtherRun { open: open.cloned(), found: end.id.clone() });
    }
    Ok(())
}

fn refuse(partition: i32, refused: Refused) -> Illegal {
    Illegal::Position { partition, refused }
}
