//! Memory: what is held stays within the budget, whatever the rows look like.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Settings, World, output, rows, settings};
use crate::ledger::record::SourceRange;

/// A place for a row, far away from the place of the row before; the same in every run.
fn scattered(row: i64, places: i64) -> usize {
    ((row.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 33).rem_euclid(places))
        as usize
}

#[test]
fn ten_thousand_partitions_stay_within_the_budget_and_lose_nothing() {
    const HOURS: i64 = 10_000;
    let limit = 32 << 20;
    let world = World::new(Settings { budget: limit, ..settings() });
    let hours: Vec<String> = (0..HOURS).map(|hour| format!("h{hour}")).collect();
    let mut expected: BTreeMap<Option<String>, Vec<i64>> = BTreeMap::new();
    let mut lane = world.lane(0);
    let mut pressed = 0;
    for first in (0..70 * 8192).step_by(8192) {
        let ids = first..first + 8192;
        let batch = rows(first, ids.clone().map(|id| Some(hours[scattered(id, HOURS)].as_str())));
        ids.for_each(|id| expected.entry(Some(hours[scattered(id, HOURS)].clone())).or_default().push(id));
        lane.write(output(0, first, batch)).unwrap();
        assert!(world.held(&lane) <= limit, "{} after row {first}", world.held(&lane));
        pressed += usize::from(lane.under_pressure());
    }
    assert!(pressed > 0, "the test does not press");
    assert_eq!(lane.counts().written, 70 * 8192);
    let staged = world.finish(lane);
    assert!(staged.files.len() as i64 >= HOURS);
    assert_eq!(world.table(&staged.files), expected);
    assert_eq!(world.held_at_rest(), 0, "everything is given back");
}

#[test]
fn a_wide_window_with_enough_memory_has_one_file_for_each_partition() {
    let world = World::new(settings());
    let hours: Vec<String> = (0..3000).map(|hour| format!("h{hour}")).collect();
    let mut lane = world.lane(0);
    for first in (0..20 * 8192).step_by(8192) {
        let batch = rows(first, (first..first + 8192).map(|id| Some(hours[scattered(id, 3000)].as_str())));
        lane.write(output(0, first, batch)).unwrap();
    }
    assert!(!lane.under_pressure());
    assert!(world.context.budget.used() < 64 << 20, "{}", world.context.budget.used());
    let met: BTreeSet<usize> = (0..20 * 8192).map(|id| scattered(id, 3000)).collect();
    assert_eq!(world.finish(lane).files.len(), met.len());
}

#[test]
fn under_pressure_the_largest_file_goes_first_and_small_ones_stay_whole() {
    let world = World::new(Settings { budget: 6 << 20, ..settings() });
    let mut lane = world.lane(0);
    let mut next = 0;
    let mut hours = vec![Some("large"); 8000];
    hours.extend(vec![Some("small"); 20]);
    while !lane.under_pressure() {
        lane.write(output(0, next, rows(next, hours.clone()))).unwrap();
        next += hours.len() as i64;
    }
    lane.write(output(0, next, rows(next, hours.clone()))).unwrap();
    let files = world.finish(lane).files;
    let count = |hour: &str| files.iter().filter(|file| file.partition[0].1.as_deref() == Some(hour)).count();
    assert_eq!((count("large"), count("small")), (2, 1));
    world.table(&files);
}

#[test]
fn an_aggregate_keeps_one_file_for_each_partition_under_pressure_too() {
    let world = World::new(Settings { budget: 4 << 20, ..settings() });
    let mut lane = world.lane(0);
    let source = SourceRange { partition: 0, from: 0, to: 1_000_000 };
    for first in (0..400_000).step_by(8000) {
        let hours = (first..first + 8000).map(|id| Some(if id % 3 == 0 { "a" } else { "b" }));
        lane.write_rows(rows(first, hours), &[source]).unwrap();
        assert!(world.held(&lane) <= 4 << 20);
    }
    assert!(lane.under_pressure());
    let staged = world.finish(lane);
    assert_eq!(staged.files.len(), 2);
    let table = world.table(&staged.files);
    assert_eq!(table.values().map(Vec::len).sum::<usize>(), 400_000);
}

#[test]
fn an_abandoned_lane_gives_its_memory_back() {
    let world = World::new(settings());
    let mut lane = world.lane(0);
    for first in (0..160_000).step_by(8000) {
        let hours = (first..first + 8000).map(|id| Some(if id % 100 == 0 { "a" } else { "b" }));
        lane.write(output(0, first, rows(first, hours))).unwrap();
    }
    assert!(world.context.budget.used() > 0);
    lane.abandon();
    assert_eq!(world.held_at_rest(), 0);
}
