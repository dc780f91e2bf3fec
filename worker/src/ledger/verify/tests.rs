use super::super::record::{Move, Published, Repair, Upload};
use super::super::state::{self, State};
use super::super::testing::{batch, commit, plan, record, start};
use super::*;

/// The history that the fold makes of these records.
fn history(bodies: Vec<Body>) -> Vec<Entry> {
    let mut state = State::default();
    (0..)
        .zip(bodies)
        .map(|(seq, body)| {
            let record = record(body);
            let verdict = state::apply(&mut state, seq, &record);
            (seq, record, verdict)
        })
        .collect()
}

/// A history that no fold would make: everything is called legal.
fn forged(bodies: Vec<Body>) -> Vec<Entry> {
    history(bodies).into_iter().map(|(seq, record, _)| (seq, record, Ok(()))).collect()
}

fn reset(nonce: i64, partition: i32, expected: i64, to: i64) -> Body {
    Body::Reset(Reset {
        nonce: Some(nonce),
        positions: [(partition, Move { expected, to })].into(),
        reason: "by hand".into(),
    })
}

fn published(seqs: &[u64]) -> Body {
    Body::Published(Published { seqs: seqs.to_vec() })
}

fn begun() -> Vec<Body> {
    vec![start(false, &[(0, 0)]), plan(1, "p1")]
}

fn problems(history: &[Entry]) -> Vec<String> {
    verify(history, &BTreeSet::new()).problems
}

fn with(more: impl IntoIterator<Item = Body>) -> Vec<Body> {
    begun().into_iter().chain(more).collect()
}

#[test]
fn a_sound_ledger_has_no_problems_and_its_sums_are_told() {
    let lost = batch(&[(0, 5, 9)]);
    let upload = Upload::Multipart { id: "new".into(), parts: vec![] };
    let repair = Repair { seq: 3, url: lost.files[0].url.clone(), bytes: 1, upload };
    let entries = history(with([
        commit(&[(0, 0, 5)]),
        Body::Commit(lost),
        Body::Repair(repair),
        published(&[2]),
        commit(&[(0, 5, 9)]),
    ]));
    let report = verify(&entries, &BTreeSet::new());
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.commits, report.records, report.written, report.files, report.bytes), (2, 9, 9, 2, 51));
    assert_eq!(report.unpublished, [3], "what waits is named");
    assert_eq!(report.voids, ["record 6: partition 0: the range begins at 5, the position is 9"]);
}

#[test]
fn gaps_and_replays_that_the_ledger_records_are_listed_and_no_problems() {
    let report = verify(
        &history(vec![
            start(true, &[(0, 0)]),
            plan(1, "p1"),
            commit(&[(0, 3, 5), (1, 2, 4)]),
            reset(1, 0, 5, 8),
            commit(&[(0, 8, 10)]),
            reset(2, 0, 10, 1),
            commit(&[(0, 1, 2)]),
        ]),
        &BTreeSet::new(),
    );
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.gaps.len(), 3, "{:?}", report.gaps);
    assert!(report.gaps[0].starts_with("partition 0: 0..3"), "{:?}", report.gaps);
    assert!(report.gaps[1].starts_with("partition 1: 0..2"), "{:?}", report.gaps);
    assert!(report.gaps[2].starts_with("partition 0: 5..8"), "{:?}", report.gaps);
    assert_eq!(report.replays, ["partition 0: 1..10 by reset 5 (by hand)"]);
}

#[test]
fn an_offset_in_two_commits_is_a_problem() {
    let found = problems(&forged(with([commit(&[(0, 0, 5)]), commit(&[(0, 4, 6)])])));
    assert_eq!(found, ["record 3: reads partition 0 from 4 although 4..5 was read before"]);
}

#[test]
fn an_offset_in_no_commit_is_a_problem() {
    let found = problems(&forged(with([commit(&[(0, 0, 5)]), commit(&[(0, 6, 7)])])));
    assert_eq!(found, ["record 3: leaves out partition 0, 5..6"]);
    let found = problems(&forged(with([commit(&[(0, 1, 5)])])));
    assert_eq!(found, ["record 2: leaves out partition 0, 0..1"], "only after an earliest start");
    let earliest = vec![start(true, &[(0, 0)]), plan(1, "p1"), commit(&[(0, 0, 0)]), commit(&[(0, 1, 2)])];
    assert_eq!(problems(&forged(earliest)).len(), 1, "and only once");
    let reset_first = vec![start(true, &[(0, 0)]), plan(1, "p1"), reset(1, 0, 0, 1), commit(&[(0, 2, 3)])];
    assert_eq!(problems(&forged(reset_first)).len(), 1, "and not after a reset");
    let second = with([commit(&[(9, 2, 5)]), commit(&[(9, 6, 7)])]);
    assert_eq!(problems(&forged(second)).len(), 1, "a later partition begins once");
}

#[test]
fn a_range_that_runs_backwards_is_a_problem() {
    assert!(problems(&forged(with([commit(&[(0, 0, -1)])]))).iter().any(|problem| problem.contains("backwards")));
}

#[test]
fn a_start_or_a_reset_that_does_not_fit_is_a_problem() {
    let found = problems(&forged(with([start(false, &[(0, 0)])])));
    assert_eq!(found, ["record 2: starts partition 0 a second time"]);
    let found = problems(&forged(with([reset(1, 0, 3, 4)])));
    assert_eq!(found, ["record 2: resets partition 0 from 3, but it is at Some(0)"]);
}

#[test]
fn records_that_vanish_between_reading_and_writing_are_a_problem() {
    let mut lossy = batch(&[(0, 0, 5)]);
    lossy.counts.written = 4;
    lossy.files[0].rows = 4;
    let entries = history(with([Body::Commit(lossy)]));
    assert_eq!(problems(&entries), ["record 2: read 5 records, but wrote 4, filtered 0 and refused 0"]);
    assert!(
        verify(&entries, &BTreeSet::from(["p1".to_owned()])).problems.is_empty(),
        "an aggregate makes other rows than it reads"
    );
}

#[test]
fn files_that_do_not_hold_what_was_counted_are_a_problem() {
    let mut short = batch(&[(0, 0, 5)]);
    short.files[0].rows = 4;
    assert_eq!(problems(&history(with([Body::Commit(short)]))), ["record 2: wrote 5 rows, but its files have 4"]);
    let mut dead = batch(&[(0, 0, 5)]);
    (dead.counts.written, dead.counts.dead, dead.files[0].rows) = (4, 1, 4);
    let found = problems(&history(with([Body::Commit(dead.clone())])));
    assert_eq!(found, ["record 2: refused 1 records, but its dead letter files have 0"]);
    let mut letters = dead.files[0].clone();
    (letters.role, letters.rows, letters.url) = (FileRole::DeadLetter, 1, "s3://lake/dead".into());
    dead.files.push(letters);
    assert!(problems(&history(with([Body::Commit(dead)]))).is_empty());
}

#[test]
fn a_file_of_two_commits_or_of_unread_offsets_is_a_problem() {
    let first = batch(&[(0, 0, 5)]);
    let mut second = batch(&[(0, 5, 6)]);
    second.files[0].url = first.files[0].url.clone();
    let found = problems(&history(with([Body::Commit(first), Body::Commit(second)])));
    assert!(found.len() == 1 && found[0].contains("which was named before"), "{found:?}");
    for (partition, from, to) in [(1, 0, 5), (0, 0, 6)] {
        let mut stray = batch(&[(0, 0, 5)]);
        stray.files[0].sources[0] = super::super::record::SourceRange { partition, from, to };
        let found = problems(&history(with([Body::Commit(stray)])));
        assert!(found.len() == 1 && found[0].contains("which was not read"), "{found:?}");
    }
    let upload = Upload::Multipart { id: "new".into(), parts: vec![] };
    let repair = Body::Repair(Repair { seq: 1, url: "s3://none".into(), bytes: 1, upload });
    assert_eq!(problems(&forged(with([repair]))).len(), 1, "a repair of no file");
}

#[test]
fn a_record_that_is_missing_or_there_twice_is_a_problem() {
    let mut entries = history(with([commit(&[(0, 0, 5)])]));
    drop(entries.remove(1).2);
    assert_eq!(problems(&entries), ["record 2: comes where record 1 must be"]);
    let mut entries = history(with([published(&[]), published(&[])]));
    entries[3].1.id = entries[2].1.id.clone();
    assert_eq!(problems(&entries), ["record 3: is the same as record 2"]);
}

#[test]
fn a_void_commit_that_is_called_published_is_a_problem() {
    let found = problems(&history(with([commit(&[(0, 3, 5)]), published(&[2])])));
    assert_eq!(found, ["record 3: names record 2 as published, which is no commit"]);
    let mut early = batch(&[(0, 0, 5)]);
    early.published = vec![7];
    assert_eq!(problems(&history(with([Body::Commit(early)]))).len(), 1);
}
