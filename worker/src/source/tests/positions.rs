//! Rewinds, the limits of a bounded run, and positions that are not in the topic.

use super::*;

#[test]
fn after_a_rewind_each_record_comes_again_exactly_from_the_positions() {
    let world = World::new("t", 2);
    for partition in 0..2 {
        world.produce("t", partition, 0..4000);
    }
    let mut running = world.reader("t", |config| config.max_batch_rows = 64);
    running.assign(&same(0..2, 0));
    for (epoch, (first, second)) in [(0, 0), (3999, 17), (1000, 4000), (5, 2500), (0, 1)].into_iter().enumerate() {
        // In the middle of reading, with full lanes.
        let _ = running.lanes[0].recv_timeout(Duration::from_millis(100));
        let epoch = epoch as u64;
        let told = running.rewind(BTreeMap::from([(0, first), (1, second)]), epoch);
        running.answer(told);
        running.drain(|input| matches!(input, LaneInput::Abandon { epoch: marked } if *marked == epoch));
        let (got, positions) = running.read_to_end(&same(0..2, 4000));
        assert_eq!(positions, same(0..2, 4000));
        for (partition, start) in [(0, first), (1, second)] {
            let got = got.get(&partition).cloned().unwrap_or_default();
            assert_eq!(got, (start..4000).collect::<Vec<_>>(), "partition {partition} epoch {epoch}");
        }
    }
    running.stop();
}

#[test]
fn a_bounded_run_stops_exactly_at_its_limits() {
    let world = World::new("t", 3);
    for partition in 0..3 {
        world.produce("t", partition, 0..1000);
    }
    let limits = BTreeMap::from([(0, 600), (1, 0), (2, 1000)]);
    let mut running = world.reader("t", |config| config.limits = Some(limits.clone()));
    running.assign(&same(0..3, 0));
    let (got, positions) = running.read_to_end(&limits);
    assert_eq!(positions, limits);
    assert_eq!(
        got.into_iter().map(|(partition, offsets)| (partition, offsets.len())).collect::<Vec<_>>(),
        [(0, 600), (2, 1000)]
    );
    let mut ends = BTreeMap::new();
    while ends.len() < 3 {
        if let SourceEvent::AtEnd { partition, offset, .. } = running.event() {
            ends.insert(partition, offset);
        }
    }
    assert_eq!(ends, limits);
    world.produce("t", 2, 0..10);
    let told = running.rewind(BTreeMap::from([(0, 500), (1, 0), (2, 1000)]), 9);
    running.answer(told);
    let again = running.event();
    assert!(matches!(again, SourceEvent::AtEnd { epoch: 9, .. }), "what is told after a rewind says so: {again:?}");
    let (got, positions) = running.read_to_end(&limits);
    assert_eq!((got.get(&0).map(Vec::len), got.get(&2), positions), (Some(100), None, limits));
    running.stop();
}

#[test]
fn a_position_out_of_range_is_told_with_the_range_and_never_jumps() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..10);
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 500));
    let SourceEvent::Failed(error) = running.event() else { panic!("an error is expected") };
    assert!(
        matches!(error, SourceError::OutOfRange { partition: 0, position: 500, beginning: 0, end: 10, .. }),
        "{error}"
    );
    assert_eq!(error.reason(), Reason::OffsetOutOfRange);
    assert_eq!(running.close(1), (Got::new(), same([0], 500)));
    let told = running.rewind(same([0], 2), 1);
    running.answer(told);
    let (got, _) = running.read_to_end(&same([0], 10));
    assert_eq!(got[&0], (2..10).collect::<Vec<_>>());
    running.stop();
}
