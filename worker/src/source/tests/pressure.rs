//! Full lanes and a budget that is used up.

use super::*;

#[test]
fn full_lanes_stop_the_reading_but_not_the_commands_and_nothing_is_lost() {
    let world = World::new("t", 2);
    for partition in 0..2 {
        // More than librdkafka may hold: a look takes all of that.
        world.produce_sized("t", partition, 0..3000, 1500);
    }
    let mut running = world.reader("t", |config| config.max_batch_rows = 100);
    running.assign(&same(0..2, 0));
    // Nobody reads the lanes, which have room for two batches each.
    until(|| running.lanes.iter().any(Receiver::is_full));
    let asked = Instant::now();
    let early = running.start_close(1);
    let positions = running.answer(early);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(positions.values().sum::<i64>() < 2 * 3000, "{positions:?}");
    let got = running.drain(|input| matches!(input, LaneInput::Close { window: 1 }));
    let (rest, _) = running.read_to_end(&same(0..2, 3000));
    for partition in 0..2 {
        let of = |got: &Got| got.get(&partition).cloned().unwrap_or_default();
        assert_eq!(of(&got).len() as i64, positions[&partition]);
        let all: Vec<i64> = [of(&got), of(&rest)].concat();
        assert_eq!(all, (0..3000).collect::<Vec<_>>());
    }
    running.stop();
}

#[test]
fn a_used_up_budget_stops_the_reading_until_memory_is_given_back() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..500);
    let mut running = world.reader("t", |_| {});
    let pressure = running.budget.hold(running.budget.limit() + 1);
    running.assign(&same([0], 0));
    for window in 0..3 {
        assert_eq!(running.close(window), (Got::new(), same([0], 0)));
    }
    drop(pressure);
    let (got, _) = running.read_to_end(&same([0], 500));
    assert_eq!(got[&0].len(), 500);
    let budget = Arc::clone(&running.budget);
    running.stop();
    assert_eq!(budget.used(), 0, "all is given back");
}
