//! Dead letters as they lie in the store.

use arrow::array::UInt32Array;

use crate::batch::{OutputBatch, RawBatch, RecordError, Refused, Stage};
use crate::ledger::record::{Counts, FileRole, SourceRange};
use crate::write::WriteError;

use super::world::{BATCH, Settings, World, output, rows, settings};

fn refused(row: u32, stage: Stage, code: &'static str, message: &str, field: Option<&str>) -> Refused {
    let (message, field) = (message.to_owned(), field.map(str::to_owned));
    Refused { row, error: RecordError { stage, code, message, field } }
}

fn spoiled() -> OutputBatch {
    let mut raw = RawBatch::new(2);
    let headers = [("trace", Some(&b"42"[..])), ("bin", Some(&[0xff, 0][..])), ("none", None)];
    raw.push(10, 1_700_000_000_123, Some(b"key \"1\""), Some("{\"a\": \"ä\n\"".as_bytes()), headers);
    raw.push(11, 1_700_000_001_000, None, Some(b"{}"), []);
    raw.push(12, -1, Some(&[0xc3]), Some(&[0xff, 0xfe, 0x00]), []);
    raw.push(13, 0, None, None, []);
    let refused = vec![
        refused(0, Stage::Decode, "InvalidJson", "the text ends inside of an object", None),
        refused(2, Stage::Decode, "InvalidUtf8", "byte 0 is not UTF-8", None),
        refused(3, Stage::Transform, "CastFailed", "1.5 is not an int", Some("items[2].qty")),
    ];
    OutputBatch { raw, rows: rows(0, [Some("07")]), origin: vec![1].into(), refused, filtered: 0 }
}

#[test]
fn a_dead_letter_says_what_was_refused_and_why() {
    let world = World::new(settings());
    let mut lane = world.lane(1);
    let bytes = spoiled().raw.bytes() as u64;
    lane.write(spoiled()).unwrap();
    assert_eq!(lane.counts().dead, 3);
    assert_eq!(lane.dead_codes()[&("decode", "InvalidJson")], 1);
    let staged = world.finish(lane);
    assert_eq!(staged.counts, Counts { read: 4, written: 1, filtered: 0, dead: 3, bytes });
    assert_eq!(staged.dead_codes.values().sum::<u64>(), 3);
    let file = staged.files.iter().find(|file| file.role == FileRole::DeadLetter).unwrap();
    let store = world.context.dead.clone().unwrap();
    assert_eq!(file.url, store.url(&format!("dl_date=2026-03-01/dead-{BATCH}-1-0.jsonl")));
    assert_eq!(file.partition, [("dl_date".to_owned(), Some("2026-03-01".to_owned()))]);
    assert_eq!((file.rows, &file.sources), (3, &vec![SourceRange { partition: 2, from: 10, to: 14 }]));
    let text = String::from_utf8(world.bytes(&store, file).to_vec()).unwrap();
    let tail = format!(r#""job":"default/orders","batch":"{BATCH}","time":"2026-03-01T23:59:30Z"}}"#);
    let golden = [
        r#"{"topic":"orders","partition":2,"offset":10,"timestamp":"2023-11-14T22:13:20.123Z","key":"key \"1\"","keyEncoding":"utf8","headers":[{"key":"trace","value":"42","valueEncoding":"utf8"},{"key":"bin","value":"/wA=","valueEncoding":"base64"},{"key":"none","value":null,"valueEncoding":null}],"value":"{\"a\": \"ä\n\"","valueEncoding":"utf8","stage":"decode","code":"InvalidJson","message":"the text ends inside of an object","field":null,"#,
        r#"{"topic":"orders","partition":2,"offset":12,"timestamp":null,"key":"ww==","keyEncoding":"base64","headers":[],"value":"//4A","valueEncoding":"base64","stage":"decode","code":"InvalidUtf8","message":"byte 0 is not UTF-8","field":null,"#,
        r#"{"topic":"orders","partition":2,"offset":13,"timestamp":"1970-01-01T00:00:00Z","key":null,"keyEncoding":null,"headers":[],"value":null,"valueEncoding":null,"stage":"transform","code":"CastFailed","message":"1.5 is not an int","field":"items[2].qty","#,
    ];
    let golden = golden.map(|line| format!("{line}{tail}\n")).concat();
    assert_eq!(text, golden);
}

#[test]
fn without_a_place_for_dead_letters_the_first_one_is_an_error_that_names_the_record() {
    let world = World::new(Settings { dead_letters: false, ..settings() });
    let error = world.lane(0).write(spoiled()).unwrap_err();
    assert!(matches!(error, WriteError::Rejected { .. }));
    let text = error.to_string();
    assert!(text.contains("record orders/2 offset 10"), "{text}");
    assert!(text.contains("InvalidJson") && text.contains("spec.deadLetter"), "{text}");
}

#[test]
fn a_record_whose_partition_value_names_no_folder_is_a_dead_letter_and_its_neighbours_are_written() {
    let world = World::new(settings());
    let long = "x".repeat(300);
    // Record 100 was filtered out, 103 was refused before: what is left comes from 101, 102 and 104.
    let mut batch = output(3, 100, rows(0, vec![None; 5]));
    batch.rows = rows(101, [Some("07"), Some(&long), Some("07")]);
    batch.origin = vec![1, 2, 4].into();
    batch.filtered = 1;
    batch.refused = vec![refused(3, Stage::Transform, "ExpressionFailed", "no", None)];
    let mut lane = world.lane(0);
    lane.write(batch).unwrap();
    lane.write(output(3, 105, rows(105, [Some(long.as_str())]))).unwrap();
    let staged = world.finish(lane);
    let counts = staged.counts;
    assert_eq!((counts.read, counts.written, counts.filtered, counts.dead), (6, 2, 1, 3));
    assert_eq!(staged.dead_codes[&("write", "PartitionValueTooLong")], 2);
    let (table, dead): (Vec<_>, Vec<_>) = staged.files.into_iter().partition(|file| file.role == FileRole::Table);
    assert_eq!((table.len(), table[0].rows, world.ids(&table[0])), (1, 2, vec![101, 103]));
    let lines = world.bytes(world.context.dead.as_ref().unwrap(), &dead[0]);
    let lines: Vec<serde_json::Value> =
        lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let offsets: Vec<_> = lines.iter().map(|line| line["offset"].as_i64().unwrap()).collect();
    assert_eq!(offsets, [102, 103, 105]);
    assert_eq!(
        (&lines[0]["stage"], &lines[0]["field"], &lines[0]["value"]),
        (&"write".into(), &"hour".into(), &"{}".into())
    );
    assert!(lines[0]["message"].as_str().unwrap().contains("makes a path of"), "{}", lines[0]);
}

#[test]
fn a_record_of_ten_megabytes_is_kept_whole() {
    let world = World::new(settings());
    let value: Vec<u8> = (0..10 << 20).map(|at| b'a' + (at % 26) as u8).collect();
    let mut raw = RawBatch::new(0);
    raw.push(0, -1, None, Some(&value), []);
    let refused = vec![refused(0, Stage::Decode, "InvalidJson", "no", None)];
    let mut lane = world.lane(0);
    lane.write(OutputBatch { raw, rows: rows(0, []), origin: UInt32Array::from_iter_values([]), refused, filtered: 0 })
        .unwrap();
    let files = world.finish(lane).files;
    let bytes = world.bytes(world.context.dead.as_ref().unwrap(), &files[0]);
    let line: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(line["value"].as_str().unwrap().as_bytes(), value);
}
