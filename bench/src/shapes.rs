//! What the pipeline is measured with: records of many shapes, and the job for each.
//!
//! Records are different from each other, as they are in life: nothing of them repeats but what a producer repeats. The same seed gives
//! the same records.

mod records;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

pub use records::{FIRST_TIME, HOURS};

/// What must become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A row.
    Written,
    /// A filter removes it.
    Filtered,
    /// A dead letter.
    Dead,
}

/// Writes the value of one record: of what is random, for its index, of how many.
type Make = fn(&mut StdRng, u64, u64, &mut Vec<u8>) -> Fate;

/// Records of one kind, and the job that reads them.
#[derive(Debug, Clone)]
pub struct Shape {
    /// What it is called in tables and flags.
    pub name: &'static str,
    /// What is special, in words.
    pub about: &'static str,
    /// How many records there are.
    pub records: u64,
    /// Partitions of the topic.
    pub partitions: i32,
    /// `compression.type` of the producer.
    pub codec: &'static str,
    /// Columns of the source table: name and type.
    pub source: Vec<(String, String)>,
    /// `spec.transforms`, as lines of YAML.
    pub transforms: Vec<String>,
    /// Columns of the sink.
    pub sink: Vec<(String, String)>,
    /// Partition keys of the sink.
    pub keys: Vec<(String, String)>,
    make: Make,
}

impl Shape {
    /// The same with another number of records.
    #[must_use]
    pub fn with_records(self, records: u64) -> Self {
        Self { records, ..self }
    }

    /// Gives all records, in order. `take` may end it.
    ///
    /// # Errors
    /// What `take` says.
    pub fn generate<E>(&self, seed: u64, mut take: impl FnMut(u64, &[u8], Fate) -> Result<(), E>) -> Result<(), E> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut value = Vec::new();
        for index in 0..self.records {
            value.clear();
            let fate = (self.make)(&mut random, index, self.records, &mut value);
            take(index, &value, fate)?;
        }
        Ok(())
    }
}

fn columns(declared: &[(&str, &str)]) -> Vec<(String, String)> {
    declared.iter().map(|(name, hive)| ((*name).to_owned(), (*hive).to_owned())).collect()
}

fn lines(text: &[&str]) -> Vec<String> {
    text.iter().map(|line| (*line).to_owned()).collect()
}

/// The sample job of AWS Glue Streaming.
pub fn sample() -> Shape {
    Shape {
        name: "sample",
        about: "the Glue sample job: six columns of seven, a filter, by day and hour",
        records: 2_000_000,
        partitions: 8,
        codec: "none",
        source: columns(&[
            ("event_id", "string"),
            ("user_id", "string"),
            ("event_type", "string"),
            ("amount", "double"),
            ("currency", "string"),
            ("event_time", "bigint"),
            ("metadata", "string"),
        ]),
        transforms: lines(&[
            "- filter: \"event_id IS NOT NULL AND amount > 0\"",
            "- derive: {event_timestamp: \"to_timestamp_millis(event_time)\"}",
            "- derive:",
            "    event_date: \"CAST(event_timestamp AS DATE)\"",
            "    event_hour: \"CAST(date_part('hour', event_timestamp) AS INT)\"",
            "- drop: [event_time, metadata]",
        ]),
        sink: columns(&[
            ("event_id", "string"),
            ("user_id", "string"),
            ("event_type", "string"),
            ("amount", "double"),
            ("currency", "string"),
            ("event_timestamp", "timestamp"),
        ]),
        keys: columns(&[("event_date", "date"), ("event_hour", "int")]),
        make: records::sample,
    }
}

/// The sample job with records for ten seconds and more.
pub fn long_sample() -> Shape {
    Shape { name: "long sample", records: 12_000_000, ..sample() }
}

/// Rows as they were decoded, by the hour of `t`, which is in milliseconds.
fn by_hour(name: &'static str, about: &'static str, records: u64, source: Vec<(String, String)>, make: Make) -> Shape {
    let sink = source.iter().filter(|(name, _)| name != "t").cloned().collect();
    let transforms =
        lines(&["- derive: {hour: \"CAST(date_part('hour', to_timestamp_millis(t)) AS INT)\"}", "- drop: [t]"]);
    Shape {
        name,
        about,
        records,
        partitions: 8,
        codec: "none",
        source,
        transforms,
        sink,
        keys: columns(&[("hour", "int")]),
        make,
    }
}

fn wide() -> Shape {
    let typed = |n: usize| match n % 4 {
        0 => "string",
        1 => "double",
        2 => "bigint",
        _ => "boolean",
    };
    let mut source = columns(&[("t", "bigint")]);
    source.extend((0..99).map(|n| (format!("field_{n:02}"), typed(n).to_owned())));
    by_hour("100 columns", "100 columns of four types", 250_000, source, records::wide)
}

fn nested() -> Shape {
    const ORDER: &str = "struct<id:string,customer:struct<name:string,address:struct<street:string,city:string,geo:struct<lat:double,\
                         lon:double>>>,items:array<struct<sku:string,quantity:int,prices:array<double>>>,labels:map<string,string>>";
    let source = columns(&[("t", "bigint"), ("order", ORDER)]);
    by_hour("nested", "structs four deep, arrays of structs, a map", 600_000, source, records::nested)
}

fn large() -> Shape {
    let source = columns(&[("t", "bigint"), ("id", "string"), ("level", "string"), ("body", "string")]);
    by_hour("2 KB records", "one column of text in each", 250_000, source, records::large)
}

fn tiny() -> Shape {
    let source = columns(&[("t", "bigint"), ("v", "int")]);
    by_hour("tiny records", "a time and a number, 29 bytes", 6_000_000, source, records::tiny)
}

fn unicode() -> Shape {
    let source =
        columns(&[("t", "bigint"), ("id", "bigint"), ("city", "string"), ("title", "string"), ("text", "string")]);
    by_hour("non-ASCII text", "every string has letters beyond ASCII", 1_000_000, source, records::unicode)
}

fn projection() -> Shape {
    let mut source = columns(&[("t", "bigint")]);
    source.extend((0..49).map(|n| (format!("field_{n:02}"), if n % 2 == 0 { "string" } else { "double" }.to_owned())));
    let mut shape =
        by_hour("3 of 50 fields", "50 columns are declared, 3 are used", 600_000, source, records::projection);
    shape.transforms.insert(0, "- select: [t, field_10, field_31]".to_owned());
    shape.sink.retain(|(name, _)| name == "field_10" || name == "field_31");
    shape
}

fn aggregate() -> Shape {
    let sql = "SELECT user_id, currency, event_type, count(*) AS events, sum(amount) AS amount FROM input WHERE amount > 0 \
               GROUP BY user_id, currency, event_type";
    Shape {
        name: "GROUP BY",
        about: "SQL with GROUP BY over three columns, some hundred thousand groups in a window",
        records: 1_000_000,
        transforms: vec![format!("- sql: \"{sql}\""), "  scope: Batch".to_owned()],
        sink: columns(&[("user_id", "string"), ("event_type", "string"), ("events", "bigint"), ("amount", "double")]),
        keys: columns(&[("currency", "string")]),
        ..sample()
    }
}

/// All shapes, the sample first.
pub fn all() -> Vec<Shape> {
    let half = |name, about, make| Shape { name, about, records: 1_000_000, make, ..sample() };
    let codec = |codec, name| Shape { name, about: "the sample job", records: 1_000_000, codec, ..sample() };
    let spread = Shape {
        name: "200 topic partitions",
        about: "the sample job; five megabytes wait in each partition of the topic, more than may be fetched ahead in all",
        records: 4_000_000,
        partitions: 200,
        ..sample()
    };
    let mut many = half("500 partition values", "500 values of the partition key, in no order", records::scattered);
    many.source.push(("shop".to_owned(), "int".to_owned()));
    many.transforms = lines(&[
        "- filter: \"event_id IS NOT NULL AND amount > 0\"",
        "- derive: {event_timestamp: \"to_timestamp_millis(event_time)\"}",
        "- drop: [event_time, metadata]",
    ]);
    many.keys = columns(&[("shop", "int")]);
    vec![
        sample(),
        wide(),
        nested(),
        large(),
        tiny(),
        unicode(),
        half("1 % bad", "the sample job; one record of a hundred is no JSON", records::damaged),
        many,
        codec("lz4", "lz4 topic"),
        codec("zstd", "zstd topic"),
        spread,
        projection(),
        aggregate(),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::convert::Infallible;

    use super::*;

    /// Every record is an object with the declared members, unless it is to be a dead letter.
    #[test]
    fn records_are_what_their_columns_say() {
        for shape in all() {
            let declared: BTreeSet<&str> = shape.source.iter().map(|(name, _)| name.as_str()).collect();
            let few = shape.clone().with_records(3000);
            let (mut dead, mut filtered, mut bytes) = (0, 0, 0);
            let mut texts = BTreeSet::new();
            few.generate(1, |_, value, fate| {
                bytes += value.len();
                texts.insert(value.to_vec());
                dead += u32::from(fate == Fate::Dead);
                filtered += u32::from(fate == Fate::Filtered);
                let parsed = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(value);
                assert_eq!(parsed.is_ok(), fate != Fate::Dead, "{}", String::from_utf8_lossy(value));
                let members = parsed.unwrap_or_default();
                assert!(members.keys().all(|name| declared.contains(name.as_str())), "{}: {members:?}", shape.name);
                Ok::<(), Infallible>(())
            })
            .unwrap();
            assert!(texts.len() > 2900, "{}: {} different records", shape.name, texts.len());
            assert_eq!(dead > 0, shape.name == "1 % bad", "{}", shape.name);
            assert_eq!(filtered > 0, shape.source.iter().any(|(name, _)| name == "event_id"), "{}", shape.name);
            assert!(bytes > 3000 * 15, "{}: {bytes} bytes", shape.name);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_records() {
        let few = sample().with_records(50);
        let texts = |seed| {
            let mut texts = Vec::new();
            few.generate(seed, |_, value, _| {
                texts.push(value.to_vec());
                Ok::<(), Infallible>(())
            })
            .unwrap();
            texts
        };
        assert_eq!(texts(7), texts(7));
        assert_ne!(texts(7), texts(8));
    }
}
