//! Members that join, leave and stop, and a broker that goes away.

use super::*;

#[test]
fn partitions_move_between_members_and_every_record_is_read_once() {
    let world = World::new("t", 4);
    let mut ends = same(0..4, 200);
    for partition in 0..4 {
        world.produce("t", partition, 0..200);
    }
    let mut first = world.reader("t", |_| {});
    assert_eq!(first.assign(&same(0..4, 0)).len(), 4);
    let (_, mut positions) = first.read_to_end(&ends);
    // All partitions are at their ends when the second member comes: the next record of those that stay must not be lost.
    let mut second = world.reader("t", |_| {});
    let revoked = loop {
        match first.event() {
            SourceEvent::Revoked(partitions) => break partitions,
            SourceEvent::AtEnd { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    };
    positions.extend(first.close(1).1);
    assert!(first.reader.send(Command::Unassign(revoked.clone())));
    assert_eq!(second.assign(&positions), revoked);
    for partition in 0..4 {
        world.produce("t", partition, 200..300);
    }
    ends = same(0..4, 300);
    let of = |partitions: &dyn Fn(&i32) -> bool| -> BTreeMap<i32, i64> {
        ends.iter().filter(|(partition, _)| partitions(partition)).map(|(partition, end)| (*partition, *end)).collect()
    };
    let (kept, kept_positions) = first.read_to_end(&of(&|partition| !revoked.contains(partition)));
    let (moved, moved_positions) = second.read_to_end(&of(&|partition| revoked.contains(partition)));
    for (partition, offsets) in kept.iter().chain(&moved) {
        assert_eq!(offsets, &(200..300).collect::<Vec<_>>(), "partition {partition}");
    }
    assert_eq!((kept.len(), moved.len()), (4 - revoked.len(), revoked.len()));
    assert_eq!(kept_positions.len() + moved_positions.len(), 4);
    // The first one leaves; the second gets the rest.
    first.stop();
    let rest = second.assign(&same(0..4, 300));
    assert_eq!(rest.len(), 4 - revoked.len());
    second.stop();
}

#[test]
fn a_member_that_stops_without_having_answered_does_not_hang() {
    let world = World::new("t", 1);
    let mut running = world.reader("t", |_| {});
    assert!(matches!(running.event(), SourceEvent::Assigned(_)));
    running.stop();
}

#[test]
fn a_broker_that_goes_away_is_told_and_nothing_is_lost_when_it_is_back() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..100);
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 0));
    let (got, _) = running.read_to_end(&same([0], 100));
    assert_eq!(got[&0].len(), 100);
    world.cluster.broker_down(-1).unwrap();
    until(|| running.reader.trouble().is_some());
    assert_eq!(running.reader.trouble().map(|trouble| trouble.reason), Some(Reason::SourceUnavailable));
    world.cluster.broker_up(-1).unwrap();
    world.produce("t", 0, 100..200);
    let (got, _) = running.read_to_end(&same([0], 200));
    assert_eq!(got[&0], (100..200).collect::<Vec<_>>());
    until(|| running.reader.trouble().is_none());
    running.stop();
}
