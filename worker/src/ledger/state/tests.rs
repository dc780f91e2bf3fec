use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::position::Refused;
use super::super::record::{Move, Published, Reset, RunEnd, Upload};
use super::super::testing::{batch, commit, fold, plan, record, start};
use super::*;

/// What the fold says to this record behind these ones; an illegal record is proven to change nothing but the tail and the count.
fn verdict(before: &[Body], body: Body) -> Result<State, Illegal> {
    let state = fold(before);
    let mut after = state.clone();
    let (seq, record) = (state.next_seq(), record(body));
    let verdict = apply(&mut after, seq, &record);
    assert_eq!(state.check(&record), verdict, "looking and applying agree");
    match verdict {
        Ok(()) => Ok(after),
        Err(illegal) => {
            let mut void = state;
            void.tail = Some(seq);
            void.totals.voids += 1;
            assert_eq!(after, void, "a void record changes nothing");
            Err(illegal)
        }
    }
}

fn started() -> Vec<Body> {
    vec![start(false, &[(0, 10), (1, 20)]), plan(1, "p1")]
}

fn and(mut before: Vec<Body>, more: impl IntoIterator<Item = Body>) -> Vec<Body> {
    before.extend(more);
    before
}

fn reset(nonce: i64, moves: &[(i32, i64, i64)]) -> Body {
    let positions = moves.iter().map(|&(partition, expected, to)| (partition, Move { expected, to })).collect();
    Body::Reset(Reset { nonce: Some(nonce), positions, reason: "test".into() })
}

fn run(id: &str, ends: &[(i32, i64)]) -> Body {
    Body::Run(Run { id: id.into(), ends: ends.iter().copied().collect() })
}

fn run_end(id: &str) -> Body {
    Body::RunEnd(RunEnd { id: id.into() })
}

fn published(seqs: &[u64]) -> Body {
    Body::Published(Published { seqs: seqs.to_vec() })
}

fn repair(seq: u64, url: &str) -> Body {
    let upload = Upload::Multipart { id: "repaired".into(), parts: vec!["new".into()] };
    Body::Repair(Repair { seq, url: url.into(), bytes: 1, upload })
}

fn refused(partition: i32, refused: Refused) -> Illegal {
    Illegal::Position { partition, refused }
}

#[test]
fn a_start_gives_positions_once() {
    let state = fold(&[start(false, &[(0, 10), (1, 20)])]);
    assert_eq!((state.next_offset(0), state.next_offset(1), state.next_offset(2)), (Some(10), Some(20), None));
    assert_eq!((state.topic.as_deref(), state.topic_id.as_deref()), (Some("t"), Some("t-id")));
    let again = verdict(&started(), start(false, &[(2, 0), (1, 20)]));
    assert_eq!(again.unwrap_err(), Illegal::AlreadyStarted { partition: 1, next: 20 });
    assert_eq!(verdict(&started(), start(false, &[(2, 5)])).unwrap().next_offset(2), Some(5));
}

#[test]
fn a_start_names_partitions_with_offsets_that_exist() {
    assert_eq!(verdict(&[], start(false, &[])).unwrap_err(), Illegal::EmptyStart);
    let negative = verdict(&[], start(true, &[(0, 0), (1, -2)]));
    assert_eq!(negative.unwrap_err(), refused(1, Refused::Negative { offset: -2 }));
}

#[test]
fn a_plan_replaces_an_older_one_only() {
    for generation in [0, 1] {
        let illegal = verdict(&started(), plan(generation, "p0")).unwrap_err();
        assert_eq!(illegal, Illegal::OldGeneration { current: 1, found: generation });
    }
    assert_eq!(verdict(&started(), plan(2, "p2")).unwrap().plan.unwrap().hash, "p2");
}

#[test]
fn a_batch_of_another_plan_is_void() {
    let illegal = verdict(&and(started(), [plan(2, "p2")]), commit(&[(0, 10, 11)])).unwrap_err();
    assert_eq!(illegal, Illegal::OtherPlan { current: Some("p2".into()), found: "p1".into() });
    let illegal = verdict(&[start(false, &[(0, 10)])], commit(&[(0, 10, 11)])).unwrap_err();
    assert_eq!(illegal, Illegal::OtherPlan { current: None, found: "p1".into() });
    // Even with stale ranges a worker must learn first that its plan is over.
    let illegal = verdict(&and(started(), [plan(2, "p2")]), commit(&[(0, 5, 11)])).unwrap_err();
    assert!(matches!(illegal, Illegal::OtherPlan { .. }));
}

#[test]
fn nothing_is_committed_before_a_start() {
    assert_eq!(verdict(&[plan(1, "p1")], commit(&[(0, 0, 1)])).unwrap_err(), Illegal::NotStarted);
}

#[test]
fn a_commit_moves_exactly_the_partitions_that_it_read() {
    let state = verdict(&started(), commit(&[(0, 10, 15), (1, 20, 20)])).unwrap();
    assert_eq!((state.next_offset(0), state.next_offset(1)), (Some(15), Some(20)));
    let stale = |from| verdict(&started(), commit(&[(0, 10, 12), (1, from, 30)])).unwrap_err();
    assert_eq!(stale(19), refused(1, Refused::NotNext { next: 20, from: 19 }));
    assert_eq!(stale(21), refused(1, Refused::NotNext { next: 20, from: 21 }));
}

#[test]
fn a_commit_without_sound_ranges_is_void() {
    assert_eq!(verdict(&started(), commit(&[])).unwrap_err(), Illegal::NoRanges);
    let twice = verdict(&started(), commit(&[(0, 10, 12), (0, 12, 13)])).unwrap_err();
    assert_eq!(twice, Illegal::RangesOutOfOrder { before: 0, partition: 0 });
    let unordered = verdict(&started(), commit(&[(1, 20, 21), (0, 10, 12)])).unwrap_err();
    assert_eq!(unordered, Illegal::RangesOutOfOrder { before: 1, partition: 0 });
    let reversed = verdict(&started(), commit(&[(0, 10, 9)])).unwrap_err();
    assert_eq!(reversed, refused(0, Refused::Reversed { from: 10, to: 9 }));
    let negative = verdict(&started(), commit(&[(7, -1, 9)])).unwrap_err();
    assert_eq!(negative, refused(7, Refused::Negative { offset: -1 }));
}

#[test]
fn a_topic_that_was_created_again_is_never_mixed_with_the_old_one() {
    let recreated = Illegal::TopicRecreated { topic: "t".into(), known: "t-id".into(), found: "new".into() };
    let mut again = batch(&[(0, 10, 11), (1, 20, 21)]);
    again.ranges[1].topic_id = "new".into();
    assert_eq!(verdict(&started(), Body::Commit(again)).unwrap_err(), recreated);
    let Body::Start(mut later) = start(true, &[(2, 0)]) else { unreachable!() };
    later.topic_id = "new".into();
    assert_eq!(verdict(&started(), Body::Start(later)).unwrap_err(), recreated);
    let mut other = batch(&[(0, 10, 11)]);
    other.ranges[0].topic = "u".into();
    let illegal = verdict(&started(), Body::Commit(other)).unwrap_err();
    assert_eq!(illegal, Illegal::OtherTopic { known: "t".into(), found: "u".into() });
}

#[test]
fn the_first_commit_after_an_earliest_start_may_begin_where_retention_has_moved_to() {
    let earliest = [start(true, &[(0, 10)]), plan(1, "p1")];
    let state = verdict(&earliest, commit(&[(0, 14, 20)])).unwrap();
    assert_eq!((state.next_offset(0), state.totals.skipped), (Some(20), 4), "the gap is recorded");
    let second = verdict(&and(earliest.to_vec(), [commit(&[(0, 14, 20)])]), commit(&[(0, 21, 22)])).unwrap_err();
    assert_eq!(second, refused(0, Refused::NotNext { next: 20, from: 21 }), "only the first");
    let lower = verdict(&earliest, commit(&[(0, 9, 20)])).unwrap_err();
    assert_eq!(lower, refused(0, Refused::NotNext { next: 10, from: 9 }));
}

#[test]
fn a_partition_in_no_start_is_read_from_its_beginning() {
    assert_eq!(verdict(&started(), commit(&[(9, 0, 3)])).unwrap().totals.skipped, 0);
    let state = verdict(&started(), commit(&[(9, 5, 8)])).unwrap();
    assert_eq!((state.next_offset(9), state.totals.skipped), (Some(8), 5));
}

#[test]
fn a_commit_waits_until_a_record_names_it_as_published() {
    let first = fold(&and(started(), [commit(&[(0, 10, 11)])]));
    assert_eq!(first.unpublished.keys().copied().collect::<Vec<_>>(), [2]);
    let mut next = batch(&[(0, 11, 12)]);
    next.published = vec![2, 3, 99];
    let before = and(started(), [commit(&[(0, 10, 11)]), Body::Commit(next)]);
    let state = fold(&before);
    assert_eq!(state.unpublished.keys().copied().collect::<Vec<_>>(), [3], "a commit never publishes itself");
    assert_eq!(state.marks.keys().copied().collect::<Vec<_>>(), [3]);
    let state = fold(&and(before, [published(&[3]), published(&[3, 2])]));
    assert!(state.unpublished.is_empty() && state.marks.is_empty());
}

#[test]
fn a_void_commit_publishes_nothing() {
    let mut stale = batch(&[(0, 10, 12)]);
    stale.published = vec![2];
    assert!(verdict(&and(started(), [commit(&[(0, 10, 11)])]), Body::Commit(stale)).is_err());
}

#[test]
fn a_lost_file_is_repaired_once_and_only_while_it_waits() {
    let mut lost = batch(&[(0, 10, 11)]);
    lost.files.push(lost.files[0].clone());
    lost.files[1].url = "s3://lake/other".into();
    let (url, other) = (lost.files[0].url.clone(), lost.files[1].clone());
    let before = and(started(), [Body::Commit(lost)]);

    let state = verdict(&before, repair(2, &url)).unwrap();
    let files = &state.unpublished[&2].files;
    assert_eq!(files[0].upload, Upload::Multipart { id: "repaired".into(), parts: vec!["new".into()] });
    assert_eq!((files[0].bytes, files[0].rows, &files[0].url), (1, 1, &url));
    assert_eq!(files[1], other, "its neighbour stays");
    assert_eq!(state.totals.bytes, 1 + other.bytes);

    let repaired = and(before.clone(), [repair(2, &url)]);
    let again = verdict(&repaired, repair(2, &url)).unwrap_err();
    assert_eq!(again, Illegal::AlreadyRepaired { seq: 2, url: url.clone() });
    assert!(verdict(&repaired, repair(2, &other.url)).is_ok());
    let unknown = verdict(&before, repair(2, "s3://lake/none")).unwrap_err();
    assert_eq!(unknown, Illegal::UnknownFile { seq: 2, url: "s3://lake/none".into() });
    let late = verdict(&and(before.clone(), [published(&[2])]), repair(2, &url)).unwrap_err();
    assert_eq!(late, Illegal::NotUnpublished { seq: 2 });
    assert_eq!(verdict(&before, repair(1, &url)).unwrap_err(), Illegal::NotUnpublished { seq: 1 });
}

#[test]
fn a_reset_is_applied_once_and_only_to_what_it_expects() {
    let state = verdict(&started(), reset(3, &[(0, 10, 4), (1, 20, 25)])).unwrap();
    assert_eq!((state.next_offset(0), state.next_offset(1)), (Some(4), Some(25)));
    assert_eq!((state.totals.replayed, state.totals.skipped, state.nonce), (6, 5, Some(3)));
    for nonce in [2, 3] {
        let illegal = verdict(&and(started(), [reset(3, &[(0, 10, 4)])]), reset(nonce, &[(0, 4, 5)])).unwrap_err();
        assert_eq!(illegal, Illegal::OldNonce { current: 3, found: nonce });
    }
    let moved = verdict(&started(), reset(1, &[(0, 10, 4), (1, 19, 25)])).unwrap_err();
    assert_eq!(moved, refused(1, Refused::NotExpected { next: 20, expected: 19 }));
    let unread = verdict(&started(), reset(1, &[(5, 0, 4)])).unwrap_err();
    assert_eq!(unread, Illegal::NoPosition { partition: 5 });
    let negative = verdict(&started(), reset(1, &[(0, 10, -1)])).unwrap_err();
    assert_eq!(negative, refused(0, Refused::Negative { offset: -1 }));
}

#[test]
fn a_run_is_decided_once_and_ended_by_its_id() {
    let open = and(started(), [run("r1", &[(0, 11)])]);
    assert_eq!(verdict(&open, run("r2", &[])).unwrap_err(), Illegal::RunOpen { open: "r1".into() });
    let other = verdict(&open, run_end("r2")).unwrap_err();
    assert_eq!(other, Illegal::OtherRun { open: Some("r1".into()), found: "r2".into() });
    let none = verdict(&started(), run_end("r1")).unwrap_err();
    assert_eq!(none, Illegal::OtherRun { open: None, found: "r1".into() });
    let ended = and(open, [run_end("r1")]);
    assert_eq!(fold(&ended).run, None);
    assert_eq!(verdict(&ended, run("r1", &[])).unwrap_err(), Illegal::RunOver { id: "r1".into() });
    assert!(verdict(&ended, run("r2", &[])).is_ok());
}

#[test]
fn totals_and_the_last_commit_are_sums_of_what_is_legal() {
    let mut second = batch(&[(1, 20, 23)]);
    second.counts = Counts { read: 3, written: 1, filtered: 1, dead: 1, bytes: 9 };
    second.files.clear();
    let name = second.batch.clone();
    let state = verdict(&and(started(), [commit(&[(0, 10, 12)])]), Body::Commit(second)).unwrap();
    let counts = Counts { read: 5, written: 3, filtered: 1, dead: 1, bytes: 23 };
    assert_eq!(state.totals, Totals { counts, commits: 2, files: 1, bytes: 20, ..Totals::default() });
    let last = state.last_commit.unwrap();
    assert_eq!((last.seq, last.batch, last.records, last.files, last.bytes), (3, name, 3, 0, 0));
    assert_eq!(state.tail, Some(3));
}

/// Any record over a small world, legal or not.
fn any_body() -> impl Strategy<Value = Body> {
    let offset = -1i64..12;
    let range = (0i32..4, offset.clone(), offset.clone());
    prop_oneof![
        2 => (any::<bool>(), prop::collection::btree_map(0i32..4, offset.clone(), 0..3))
            .prop_map(|(earliest, map)| start(earliest, &map.into_iter().collect::<Vec<_>>())),
        1 => (0i64..4).prop_map(|generation| plan(generation, if generation % 2 == 0 { "p1" } else { "p2" })),
        12 => (prop::collection::vec(range.clone(), 0..3), prop::collection::vec(0u64..40, 0..2), any::<bool>()).prop_map(
            |(ranges, published, older)| {
                let mut commit = batch(&ranges);
                commit.published = published;
                commit.plan = if older { "p2" } else { "p1" }.into();
                Body::Commit(commit)
            }
        ),
        1 => prop::collection::vec(0u64..40, 0..3).prop_map(|seqs| published(&seqs)),
        1 => (0u64..40).prop_map(|seq| repair(seq, "s3://lake/none")),
        1 => (0i64..6, prop::collection::vec(range, 0..2)).prop_map(|(nonce, moves)| reset(nonce, &moves)),
        1 => "r[12]".prop_map(|id| run(&id, &[(0, 3)])),
        1 => "r[12]".prop_map(|id| run_end(&id)),
    ]
}

/// Makes ranges begin where positions are, most of the time, so that long legal histories happen.
fn steer(state: &State, body: Body, steered: bool) -> Body {
    let Body::Commit(mut commit) = body else { return body };
    if steered {
        for range in &mut commit.ranges {
            let length = range.to.abs_diff(range.from) as i64 % 4;
            range.from = state.next_offset(range.partition).unwrap_or(range.from.max(0));
            range.to = range.from + length;
        }
        commit.ranges.sort_by_key(|range| range.partition);
        commit.ranges.dedup_by_key(|range| range.partition);
        if let Some(plan) = &state.plan {
            commit.plan.clone_from(&plan.hash);
        }
    }
    Body::Commit(commit)
}

/// A record, the state before it, and the verdict.
type Folded = (Record, State, Result<(), Illegal>);

fn fold_any(bodies: Vec<(Body, bool)>) -> (State, Vec<Folded>) {
    let mut state = fold(&[start(true, &[(0, 2), (1, 0)]), plan(0, "p1")]);
    let mut steps = Vec::new();
    for (body, steered) in bodies {
        let record = record(steer(&state, body, steered));
        let before = state.clone();
        let seq = state.next_seq();
        let verdict = apply(&mut state, seq, &record);
        steps.push((record, before, verdict));
    }
    (state, steps)
}

proptest! {
    #[test]
    fn no_offset_is_ever_in_two_commits_and_positions_go_back_by_resets_only(
        bodies in prop::collection::vec((any_body(), prop::bool::weighted(0.8)), 0..60)
    ) {
        let (end, steps) = fold_any(bodies);
        let mut read: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
        let states: Vec<_> = steps.iter().skip(1).map(|(_, before, _)| before).chain([&end]).collect();
        for ((record, before, verdict), after) in steps.iter().zip(states) {
            match &record.body {
                Body::Commit(commit) if verdict.is_ok() => for range in &commit.ranges {
                    for offset in range.from..range.to {
                        prop_assert!(read.entry(range.partition).or_default().insert(offset), "{offset} twice");
                    }
                },
                // What lies behind the new position may be read again.
                Body::Reset(reset) if verdict.is_ok() => for (partition, change) in &reset.positions {
                    read.entry(*partition).or_default().retain(|offset| *offset < change.to);
                },
                _ => {}
            }
            if !matches!(record.body, Body::Reset(_)) {
                for (partition, position) in &before.positions {
                    prop_assert!(after.positions[partition].next >= position.next, "{partition} went back");
                }
            }
            if verdict.is_err() {
                let mut void = before.clone();
                void.tail = after.tail;
                void.totals.voids += 1;
                prop_assert_eq!(&void, after, "a void record changes nothing");
            }
            prop_assert_eq!(after.tail, Some(before.next_seq()));
            prop_assert!(after.unpublished.keys().eq(after.marks.keys()));
        }
    }

    #[test]
    fn two_readers_agree_wherever_one_of_them_took_a_snapshot(
        bodies in prop::collection::vec((any_body(), prop::bool::weighted(0.8)), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let (end, steps) = fold_any(bodies);
        let cut = cut.index(steps.len());
        let written = serde_json::to_string(&steps[cut].1).unwrap();
        let mut other: State = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&other, &steps[cut].1, "a state is read as it was written");
        for (record, _, verdict) in &steps[cut..] {
            let read: Record = serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap();
            let seq = other.next_seq();
            prop_assert_eq!(&apply(&mut other, seq, &read), verdict);
        }
        prop_assert_eq!(other, end);
    }
}
