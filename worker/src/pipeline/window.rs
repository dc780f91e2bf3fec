//! When a window closes, and what its records came to: pure decisions.

use std::collections::BTreeMap;
use std::time::Duration;

use sluice_crds::condition::Reason;
use sluice_crds::plan::{DeadLetterPlan, WindowPlan};

use crate::error::Stop;
use crate::ledger::record::{Counts, OffsetRange};

/// A batch of fewer records is too small for `deadLetter.maxPercent` to mean anything.
const MIN_RECORDS_FOR_PERCENT: u64 = 100;

/// An advance over transaction markers alone is worth a commit only this often: it saves nobody any work.
const EMPTY_ADVANCE_EVERY: Duration = Duration::from_mins(1);

/// What is known of an open window.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since it opened.
    pub age: Duration,
    /// Records read by all lanes.
    pub records: u64,
    /// Bytes read by all lanes.
    pub bytes: u64,
    /// A lane closed all its files and is still over the memory budget.
    pub pressed: bool,
    /// Every owned partition is at the end of a bounded run.
    pub at_end: bool,
}

/// A window that came to nothing: which, what it had read, and why.
#[derive(Debug)]
pub struct Failure {
    batch: String,
    ranges: String,
    /// Why.
    pub stop: Stop,
}

impl Failure {
    /// A window that was still open: it would have begun at these offsets.
    pub fn of_open(batch: &str, from: &BTreeMap<i32, i64>, stop: Stop) -> Self {
        let ranges: Vec<_> = from.iter().map(|(partition, from)| format!("{partition}: from {from}")).collect();
        Self { batch: batch.to_owned(), ranges: ranges.join(", "), stop }
    }

    /// A window that was closed with these ranges.
    pub fn of_closed(batch: &str, ranges: &[OffsetRange], stop: Stop) -> Self {
        let ranges: Vec<_> =
            ranges.iter().map(|range| format!("{}: {} to {}", range.partition, range.from, range.to)).collect();
        Self { batch: batch.to_owned(), ranges: ranges.join(", "), stop }
    }

    /// What ends the worker when a plan allows no further try.
    pub fn exhausted(&self, topic: &str, failures: u32) -> Stop {
        let Self { batch, ranges, stop } = self;
        Stop::new(
            Reason::RetriesExhausted,
            format!(
                "batch {batch} of topic {topic} (partition offsets {ranges}) failed {failures} times, the last time with {stop}"
            ),
        )
    }
}

/// Is it time to close the window?
pub fn is_due(plan: &WindowPlan, now: &Progress) -> bool {
    now.age >= plan.period
        || plan.max_records.is_some_and(|most| now.records >= most)
        || plan.max_bytes.is_some_and(|most| now.bytes >= most)
        || now.pressed
        || now.at_end
}

/// The ranges of a batch: of each owned partition, from where the window began to where it ends. Partitions that did not advance are left out.
pub fn ranges(topic: &str, topic_id: &str, from: &BTreeMap<i32, i64>, to: &BTreeMap<i32, i64>) -> Vec<OffsetRange> {
    from.iter()
        .filter_map(|(&partition, &from)| {
            let to = *to.get(&partition)?;
            (to > from).then(|| OffsetRange {
                topic: topic.to_owned(),
                topic_id: topic_id.to_owned(),
                partition,
                from,
                to,
            })
        })
        .collect()
}

/// Is there anything in this batch that a commit should say now?
pub fn is_worth_a_commit(ranges: &[OffsetRange], counts: &Counts, since_last: Duration, last_of_run: bool) -> bool {
    if ranges.is_empty() {
        return false;
    }
    counts.read > 0 || last_of_run || since_last >= EMPTY_ADVANCE_EVERY
}

/// Are more records refused than the job allows? Then it stalls, instead of emptying a topic into the dead letters.
pub fn check_dead_letter_rate(plan: Option<&DeadLetterPlan>, counts: &Counts) -> Result<(), Stop> {
    let Some(most) = plan.and_then(|plan| plan.max_percent) else { return Ok(()) };
    let percent = counts.dead as f64 * 100.0 / counts.read.max(1) as f64;
    if counts.read < MIN_RECORDS_FOR_PERCENT || percent <= most {
        return Ok(());
    }
    Err(Stop::new(
        Reason::DeadLetterRateExceeded,
        format!(
            "{} of {} records of one batch were refused ({percent:.1} %), more than spec.deadLetter.maxPercent ({most} %) \
             allows; nothing of the batch was written: mend the producer or the columns, or raise maxPercent",
            counts.dead, counts.read
        ),
    ))
}

/// The wait before a try: the plan's back-off, doubled for each earlier failure, at most five minutes.
pub fn backoff(first: Duration, failures: u32) -> Duration {
    const MOST: Duration = Duration::from_mins(5);
    first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_crds::plan::Location;

    const QUIET: Progress = Progress { age: Duration::ZERO, records: 0, bytes: 0, pressed: false, at_end: false };

    #[test]
    fn a_window_closes_by_whatever_comes_first() {
        let plan = WindowPlan { period: Duration::from_secs(10), max_records: Some(100), max_bytes: Some(1000) };
        assert!(!is_due(&plan, &QUIET));
        assert!(is_due(&plan, &Progress { age: Duration::from_secs(10), ..QUIET }));
        assert!(is_due(&plan, &Progress { records: 100, ..QUIET }));
        assert!(is_due(&plan, &Progress { bytes: 1000, ..QUIET }));
        assert!(is_due(&plan, &Progress { pressed: true, ..QUIET }));
        assert!(is_due(&plan, &Progress { at_end: true, ..QUIET }));
        assert!(!is_due(&plan, &Progress { records: 99, bytes: 999, ..QUIET }));
    }

    #[test]
    fn ranges_name_only_partitions_that_advanced_and_are_still_owned() {
        let from = BTreeMap::from([(0, 5), (1, 7), (2, 9)]);
        let to = BTreeMap::from([(0, 8), (1, 7), (3, 4)]);
        let ranges = ranges("t", "id", &from, &to);
        assert_eq!(ranges.len(), 1);
        assert_eq!((ranges[0].partition, ranges[0].from, ranges[0].to), (0, 5, 8));
    }

    #[test]
    fn an_empty_advance_is_committed_seldom_and_at_the_end() {
        let range = ranges("t", "id", &BTreeMap::from([(0, 5)]), &BTreeMap::from([(0, 6)]));
        let none = Counts::default();
        let some = Counts { read: 1, ..none };
        let soon = Duration::from_secs(1);
        assert!(!is_worth_a_commit(&range, &none, soon, false));
        assert!(is_worth_a_commit(&range, &none, EMPTY_ADVANCE_EVERY, false));
        assert!(is_worth_a_commit(&range, &none, soon, true));
        assert!(is_worth_a_commit(&range, &some, soon, false));
        assert!(!is_worth_a_commit(&[], &none, EMPTY_ADVANCE_EVERY, true));
    }

    #[test]
    fn a_flood_of_dead_letters_stalls_and_a_few_do_not() {
        let location = Location { url: "file:///d/".into(), s3: None };
        let plan = DeadLetterPlan { location, max_percent: Some(5.0) };
        let counts = |read, dead| Counts { read, dead, ..Counts::default() };
        assert!(check_dead_letter_rate(Some(&plan), &counts(1000, 50)).is_ok());
        assert!(check_dead_letter_rate(Some(&plan), &counts(99, 99)).is_ok());
        assert!(check_dead_letter_rate(None, &counts(1000, 1000)).is_ok());
        let stop = check_dead_letter_rate(Some(&plan), &counts(1000, 51)).unwrap_err();
        assert_eq!(stop.reason, Reason::DeadLetterRateExceeded);
        assert!(stop.message.contains("51 of 1000"));
    }

    #[test]
    fn a_worker_that_gives_up_names_the_batch_its_ranges_and_the_cause() {
        let stop = || Stop::new(Reason::SinkUnavailable, "the disk is full");
        let from = BTreeMap::from([(0, 5), (2, 9)]);
        let closed = ranges("t", "id", &from, &BTreeMap::from([(0, 8), (2, 20)]));
        for (failure, offsets) in [
            (Failure::of_open("b1", &from, stop()), "0: from 5, 2: from 9"),
            (Failure::of_closed("b1", &closed, stop()), "0: 5 to 8, 2: 9 to 20"),
        ] {
            let stop = failure.exhausted("t", 4);
            assert_eq!(stop.reason, Reason::RetriesExhausted);
            for part in ["batch b1 of topic t", offsets, "failed 4 times", "the disk is full"] {
                assert!(stop.message.contains(part), "{part} is not in: {}", stop.message);
            }
        }
    }

    #[test]
    fn back_off_doubles_up_to_five_minutes() {
        let ten = Duration::from_secs(10);
        assert_eq!(backoff(ten, 1), ten);
        assert_eq!(backoff(ten, 3), Duration::from_secs(40));
        assert_eq!(backoff(ten, 60), Duration::from_mins(5));
    }
}
