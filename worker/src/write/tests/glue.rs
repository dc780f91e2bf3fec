//! The shape of Glue's sample job: events in order of time, partitioned by day and hour.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::world::{Settings, World, output, settings};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("eventId", DataType::Utf8, false),
        Field::new("userId", DataType::Utf8, true),
        Field::new("eventType", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("currency", DataType::Utf8, true),
        Field::new("eventTime", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("event_date", DataType::Date32, true),
        Field::new("hour", DataType::Int32, true),
    ]))
}

/// Rows `first..first + count` of a stream with `per_hour` events in an hour.
fn events(first: i64, count: i64, per_hour: i64) -> RecordBatch {
    let rows = first..first + count;
    let strings = |text: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(rows.clone().map(|row| Some(text(row))).collect::<StringArray>())
    };
    let mixed = |row: i64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) as u64;
    let micros = |row: i64| 1_767_225_600_000_000 + row * (3_600_000_000 / per_hour);
    let hour = |row: i64| row / per_hour;
    let columns: Vec<ArrayRef> = vec![
        strings(&|row| format!("{:016x}-{:016x}-abcd", mixed(row), mixed(row + 77))),
        strings(&|row| format!("user-{}", mixed(row) % 100_000)),
        strings(&|row| ["view", "click", "purchase", "refund"][(mixed(row) % 4) as usize].to_owned()),
        Arc::new(rows.clone().map(|row| Some((mixed(row) % 50_000) as f64 / 100.0)).collect::<Float64Array>()),
        strings(&|row| ["EUR", "USD", "GBP"][(mixed(row) % 3) as usize].to_owned()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.clone().map(micros)).with_timezone("UTC")),
        Arc::new(rows.clone().map(|row| Some((micros(row) / 86_400_000_000) as i32)).collect::<Date32Array>()),
        Arc::new(rows.clone().map(|row| Some((hour(row) % 24) as i32)).collect::<Int32Array>()),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

#[test]
fn events_in_order_of_time_make_one_file_an_hour() {
    let world = World::new(Settings { schema: schema(), partition_keys: 2, ..settings() });
    let mut lane = world.lane(0);
    for first in (0..400_000).step_by(8192) {
        lane.write(output(0, first, events(first, 8192.min(400_000 - first), 66_667))).unwrap();
    }
    let mut files = world.finish(lane).files;
    files.sort_by(|a, b| a.url.cmp(&b.url));
    assert_eq!(files.len(), 6);
    assert!(files[5].url.contains("event_date=2026-01-01/hour=5/part-"), "{}", files[5].url);
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 400_000);
    for file in &files {
        world.read(file);
    }
}
