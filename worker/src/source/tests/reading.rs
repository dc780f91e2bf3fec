//! What lanes are given, and at which offsets a window is cut.

use super::*;

#[test]
fn records_come_from_the_given_positions_and_a_close_names_exactly_what_was_delivered() {
    let world = World::new("t", 3);
    for partition in 0..3 {
        world.produce("t", partition, 0..100);
    }
    let mut running = world.reader("t", |_| {});
    let starts = BTreeMap::from([(0, 10), (1, 0), (2, 100)]);
    running.assign(&starts);
    let mut next = starts.clone();
    // Windows are closed while records arrive: each position is just behind the last record of its partition in the window.
    for window in 0..200 {
        if window % 20 == 0 {
            world.produce("t", window % 3, 0..50);
        }
        let (got, positions) = running.close(window as u64);
        for (partition, offsets) in got {
            let expected: Vec<i64> = (next[&partition]..next[&partition] + offsets.len() as i64).collect();
            assert_eq!(offsets, expected, "partition {partition}");
            next.insert(partition, next[&partition] + offsets.len() as i64);
        }
        assert!(positions.is_empty() || positions == next, "window {window}: {positions:?} instead of {next:?}");
    }
    let (_, positions) = running.read_to_end(&BTreeMap::from([(0, 300), (1, 250), (2, 250)]));
    assert_eq!(positions, BTreeMap::from([(0, 300), (1, 250), (2, 250)]));
    assert_eq!(running.reader.positions(), positions);
    assert_eq!(running.reader.ends(), positions);
    running.stop();
}

#[test]
fn a_record_arrives_with_key_value_headers_and_timestamp() {
    let world = World::new("t", 1);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "h", value: Some("1") })
        .insert(Header::<&str> { key: "h", value: None });
    let record = BaseRecord::to("t").partition(0).key("k").payload("v").headers(headers).timestamp(1234);
    world.producer.send(record).map_err(|(error, _)| error).unwrap();
    world.producer.send(BaseRecord::<str, [u8]>::to("t").partition(0).key("")).map_err(|(error, _)| error).unwrap();
    world.producer.flush(PATIENCE).unwrap();
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 0));
    let mut records = Vec::new();
    while records.len() < 2 {
        if let LaneInput::Batch { raw, .. } = running.lanes[0].recv_timeout(PATIENCE).unwrap() {
            for record in raw.records() {
                let headers: Vec<(String, Option<Vec<u8>>)> =
                    record.headers().map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect();
                let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
                records.push((record.offset, record.timestamp, key, value, headers));
            }
        }
    }
    let headers = vec![("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), None)];
    assert_eq!(records[0], (0, 1234, Some(b"k".to_vec()), Some(b"v".to_vec()), headers));
    assert_eq!(
        (&records[1].2, &records[1].3),
        (&Some(Vec::new()), &None),
        "an empty key is a key, a tombstone has no value"
    );
    running.stop();
}

#[test]
fn the_end_of_a_partition_is_told_with_its_offset() {
    let world = World::new("t", 1);
    world.produce("t", 0, 0..7);
    let mut running = world.reader("t", |_| {});
    running.assign(&same([0], 3));
    assert!(matches!(running.event(), SourceEvent::AtEnd { partition: 0, offset: 7, epoch: 0 }));
    assert_eq!(running.reader.ends(), same([0], 7));
    running.stop();
}
