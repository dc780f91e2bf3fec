//! Tests of the decoder as a whole. `serde_json` is the judge of what is JSON, `arrow-json` of what a value is.

mod mutation;
mod oracle;
mod records;
mod respelt;
mod rules;
mod types;

use arrow::array::RecordBatch;
use sluice_crds::plan::ColumnPlan;

use super::{Code, Decoder};
use crate::batch::{DecodedBatch, RawBatch, RecordError};

/// The codes of refusals that are about the value of a column: the text is JSON, and another reader may take it.
const VALUE_CODES: [Code; 9] = [
    Code::WrongType,
    Code::NotAnInteger,
    Code::OutOfRange,
    Code::InvalidTimestamp,
    Code::TimestampPrecision,
    Code::InvalidDate,
    Code::InvalidDecimal,
    Code::DecimalScale,
    Code::NullInRequiredColumn,
];

/// Columns from `name type` pairs; a name that ends with `!` is declared `nullable: false`.
fn columns(declared: &[(&str, &str)]) -> Vec<ColumnPlan> {
    let column = |(name, hive): &(&str, &str)| ColumnPlan {
        name: name.trim_end_matches('!').to_owned(),
        type_: hive.parse().expect(hive),
        nullable: !name.ends_with('!'),
    };
    declared.iter().map(column).collect()
}

/// A decoder of all these columns.
fn decoder(declared: &[(&str, &str)]) -> Decoder {
    let needed: Vec<usize> = (0..declared.len()).collect();
    Decoder::new("orders", &columns(declared), &needed, false).expect("the columns are good")
}

fn raw(values: impl IntoIterator<Item = impl AsRef<[u8]>>) -> RawBatch {
    let mut raw = RawBatch::new(3);
    for (offset, value) in (100..).zip(values) {
        raw.push(offset, 1_000 + offset, None, Some(value.as_ref()), []);
    }
    raw
}

/// Decodes, and checks what holds for every batch.
fn decode(decoder: &mut Decoder, raw: RawBatch) -> DecodedBatch {
    let records = raw.len();
    let batch = decoder.decode(raw);
    assert_eq!(batch.raw.len(), records);
    assert_eq!(batch.rows.num_rows(), batch.origin.len());
    assert_eq!(batch.rows.schema(), decoder.schema());
    let mut seen: Vec<u32> =
        batch.origin.iter().copied().chain(batch.refused.iter().map(|refused| refused.row)).collect();
    assert!(batch.origin.is_sorted() && batch.refused.is_sorted_by_key(|refused| refused.row));
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..records as u32), "every record is exactly one row or one refusal");
    for refused in &batch.refused {
        assert!(refused.error.message.chars().count() < 400, "{}", refused.error.message);
        assert!(Code::ALL.iter().any(|code| code.as_str() == refused.error.code));
    }
    batch
}

/// The rows as JSON, one for each.
fn shown(rows: &RecordBatch) -> Vec<String> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(rows).expect("rows can be shown");
    writer.finish().expect("rows can be shown");
    String::from_utf8(writer.into_inner()).expect("JSON is UTF-8").lines().map(str::to_owned).collect()
}

/// The one row that the text gives.
#[track_caller]
fn row(declared: &[(&str, &str)], text: &str) -> String {
    let batch = decode(&mut decoder(declared), raw([text]));
    assert_eq!(batch.refused, [], "{text}");
    shown(&batch.rows).remove(0)
}

/// Why the text is refused. A good record stands on each side, and stays what it is.
#[track_caller]
fn refusal(declared: &[(&str, &str)], text: impl AsRef<[u8]>) -> RecordError {
    let bytes = text.as_ref();
    let mut decoder = decoder(declared);
    let neighbour = r#"{"id":1}"#;
    let mut batch = decode(&mut decoder, raw([neighbour.as_bytes(), bytes, neighbour.as_bytes()]));
    assert_eq!(batch.refused.len(), 1, "{} was accepted", String::from_utf8_lossy(bytes));
    assert_eq!(batch.rows, decode(&mut decoder, raw([neighbour, neighbour])).rows);
    batch.refused.remove(0).error
}

/// The code, and the field if there is one: `WrongType items[2].sku`.
#[track_caller]
fn code(declared: &[(&str, &str)], text: impl AsRef<[u8]>) -> String {
    let error = refusal(declared, text);
    format!("{} {}", error.code, error.field.unwrap_or_default()).trim_end().to_owned()
}
