//! What each step does, what is read, and what reaches the sink.

use arrow::array::{StructArray, TimestampMicrosecondArray};

use super::*;
use sluice_crds::types::HiveType;

#[tokio::test]
async fn the_glue_sample_gives_the_rows_of_its_table() {
    let source = source(&[
        "event_id string",
        "user_id string",
        "event_type string",
        "amount double",
        "currency string",
        "event_time bigint",
        "metadata string",
    ]);
    let steps = [
        filter("event_id IS NOT NULL AND amount > 0"),
        derive(&[("event_timestamp", "to_timestamp_millis(event_time)")]),
        derive(&[
            ("event_date", "CAST(event_timestamp AS DATE)"),
            ("event_hour", "CAST(date_part('hour', event_timestamp) AS INT)"),
        ]),
        TransformStep::Drop(names(&["event_time", "metadata"])),
    ];
    let table = sink(
        Some(&[
            "event_id string",
            "user_id string",
            "event_type string",
            "amount double",
            "currency string",
            "event_timestamp timestamp",
        ]),
        &["event_date date", "event_hour int"],
    );
    let transform = plan_with(&source, &steps, &[], &table).await.expect("plan");
    assert_eq!(transform.needed_columns(), [0, 1, 2, 3, 4, 5], "metadata is not decoded");
    assert_eq!(transform.partition_keys(), 2);
    let strings = |values: [Option<&str>; 5]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let rows = RecordBatch::try_new(
        source,
        vec![
            strings([Some("e1"), None, Some("e3"), Some("e4"), Some("e5")]),
            strings([Some("u1"), Some("u2"), Some("u3"), None, Some("u5")]),
            strings([Some("buy"); 5]),
            Arc::new(Float64Array::from(vec![Some(12.5), Some(1.0), Some(-3.0), Some(0.25), None])),
            strings([Some("EUR"); 5]),
            Arc::new(Int64Array::from(vec![1_767_225_599_123, 0, 0, 1_767_225_600_000, 0])),
            strings([Some("{}"); 5]),
        ],
    )
    .expect("rows");
    let output = run(&transform, &rows);
    assert_eq!(
        text(&output.rows),
        [
            "event_id=e1 user_id=u1 event_type=buy amount=12.5 currency=EUR event_timestamp=2025-12-31T23:59:59.123Z event_date=2025-12-31 event_hour=23",
            "event_id=e4 user_id=null event_type=buy amount=0.25 currency=EUR event_timestamp=2026-01-01T00:00:00Z event_date=2026-01-01 event_hour=0",
        ]
    );
    assert_eq!((output.filtered, output.refused.len()), (3, 0));
}

#[tokio::test]
async fn each_step_does_what_its_name_says() {
    let cases: Vec<(&str, Vec<TransformStep>, &str)> = vec![
        ("nothing", vec![], "id=0 a=1 b=10 s=s0 d=0.0"),
        ("filter", vec![filter("b >= 20 AND a IS NOT NULL")], "id=1 a=2 b=20 s=s1 d=0.5"),
        ("a null condition is not true", vec![filter("a > 1")], "id=1 a=2 b=20 s=s1 d=0.5"),
        (
            "derive appends in name order",
            vec![derive(&[("z", "a + 1"), ("y", "upper(s)")])],
            "id=0 a=1 b=10 s=s0 d=0.0 y=S0 z=2",
        ),
        ("derive replaces in place", vec![derive(&[("a", "a * 100")])], "id=0 a=100 b=10 s=s0 d=0.0"),
        ("derive sees the input only", vec![derive(&[("a", "b"), ("b", "a")])], "id=0 a=10 b=1 s=s0 d=0.0"),
        ("select", vec![TransformStep::Select(names(&["s", "a + b AS sum", "input.a"]))], "s=s0 sum=11 a=1"),
        ("select all", vec![TransformStep::Select(names(&["*", "1 AS one"]))], "id=0 a=1 b=10 s=s0 d=0.0 one=1"),
        ("rename", vec![TransformStep::Rename(map(&[("a", "b"), ("b", "a")]))], "id=0 b=1 a=10 s=s0 d=0.0"),
        ("drop", vec![TransformStep::Drop(names(&["s", "d", "a"]))], "id=0 b=10"),
        (
            "cast",
            vec![TransformStep::Cast(BTreeMap::from([
                ("a".to_owned(), HiveType::TinyInt),
                ("d".to_owned(), HiveType::Decimal { precision: 4, scale: 1 }),
            ]))],
            "id=0 a=1 b=10 s=s0 d=0.0",
        ),
        ("sql", vec![sql("SELECT s, b - a AS diff FROM input WHERE a = 1")], "s=s0 diff=9"),
        (
            "sql with names",
            vec![sql("WITH x AS (SELECT a AS q FROM input) SELECT t.q FROM (SELECT q FROM x) AS t;")],
            "q=1",
        ),
        ("quoted names", vec![derive(&[("Two Words", "a")]), sql("SELECT \"Two Words\" + 1 AS x FROM input")], "x=2"),
        ("steps after steps", vec![derive(&[("x", "a")]), sql("SELECT x FROM input"), filter("input.x = 1")], "x=1"),
    ];
    for (name, steps, first) in cases {
        let transform = plan(&numbers(), &steps).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = run(&transform, &some_rows());
        assert_eq!(text(&output.rows)[0], first, "{name}");
        assert_eq!(output.refused, [], "{name}");
    }
}

#[test]
fn a_transform_is_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Transform>();
    sent::<crate::transform::RowProgram>();
    sent::<crate::transform::BatchRun>();
}

#[tokio::test]
async fn a_column_that_only_the_filter_reads_is_not_in_the_way() {
    let steps = [filter("s <> 's1' AND d < 1.5"), TransformStep::Select(names(&["b", "a + 1 AS c"]))];
    let transform = plan(&numbers(), &steps).await.expect("plan");
    assert_eq!(text(&run(&transform, &some_rows()).rows), ["b=10 c=2", "b=30 c=null"]);
}

#[tokio::test]
async fn only_the_columns_of_the_plan_are_read() {
    for (steps, needed) in [
        (vec![TransformStep::Select(names(&["d", "a"]))], vec![1, 4]),
        (vec![filter("b > 1"), TransformStep::Select(names(&["s"]))], vec![2, 3]),
        (vec![sql("SELECT 1 AS one FROM input")], vec![]),
        (vec![filter("1 = 2")], vec![]),
        (vec![batch_sql("SELECT count(*) AS n FROM input")], vec![]),
    ] {
        let transform = plan(&numbers(), &steps).await.expect("plan");
        assert_eq!(transform.needed_columns(), needed, "{steps:?}");
        run(&transform, &some_rows());
    }
}

#[tokio::test]
async fn names_keep_their_case_and_members_are_reached_by_dots() {
    let source = source(&["requestId string", "approver struct<userId:string,teamName:string>", "RequestID bigint"]);
    let steps = [
        filter("approver.teamName <> 'ops' AND requestId IS NOT NULL"),
        TransformStep::Select(names(&[
            "requestId AS reqId",
            "approver.teamName",
            "input.approver.userId AS UserId",
            "RequestID",
        ])),
    ];
    let transform = plan(&source, &steps).await.expect("plan");
    let team: ArrayRef = Arc::new(StringArray::from(vec![Some("core"), Some("ops"), None]));
    let user: ArrayRef = Arc::new(StringArray::from(vec![Some("ann"), Some("bob"), Some("cid")]));
    let DataType::Struct(members) = source.field(1).data_type() else { panic!("struct") };
    let rows = RecordBatch::try_new(
        source.clone(),
        vec![
            Arc::new(StringArray::from(vec!["r1", "r2", "r3"])),
            Arc::new(StructArray::new(members.clone(), vec![user, team], None)),
            Arc::new(Int64Array::from(vec![7, 8, 9])),
        ],
    )
    .expect("rows");
    assert_eq!(text(&run(&transform, &rows).rows), ["reqId=r1 teamName=core UserId=ann RequestID=7"]);
}

#[tokio::test]
async fn now_is_the_time_of_the_window() {
    let steps = [derive(&[
        ("n", "now()"),
        ("t", "current_timestamp"),
        ("day", "current_date"),
        ("today_", "today()"),
        ("clock", "CAST(current_time AS string)"),
        ("hour", "date_part('hour', now())"),
        ("late", "now() > to_timestamp('2026-03-04T05:06:07')"),
    ])];
    let transform = plan(&numbers(), &steps).await.expect("plan");
    let rows = some_rows();
    let of = |window: &str| {
        let mut program = transform.rows(window.parse().expect("time")).expect("row program");
        text(&program.apply(decoded(&transform, &rows)).rows)[3].clone()
    };
    let base = "id=3 a=4 b=null s=s3 d=1.5 ";
    assert_eq!(
        of("2026-03-04T05:06:07.000008Z"),
        format!(
            "{base}clock=05:06:07.000008 day=2026-03-04 hour=5 late=true n=2026-03-04T05:06:07.000008 t=2026-03-04T05:06:07.000008 today_=2026-03-04"
        )
    );
    assert_eq!(
        of("1969-12-31T23:00:00Z"),
        format!(
            "{base}clock=23:00:00 day=1969-12-31 hour=23 late=false n=1969-12-31T23:00:00 t=1969-12-31T23:00:00 today_=1969-12-31"
        )
    );
}

#[tokio::test]
async fn a_filter_on_now_is_judged_in_each_window() {
    let source = source(&["t timestamp"]);
    let transform = plan(&source, &[filter("t > now() - INTERVAL '1 hour'")]).await.expect("plan");
    let time = TimestampMicrosecondArray::from(vec![3_600_000_000, 3_600_000_001]).with_timezone("UTC");
    let rows = RecordBatch::try_new(source, vec![Arc::new(time)]).expect("rows");
    for (window, kept) in [("1970-01-01T01:00:00Z", 2), ("1970-01-01T02:00:00Z", 1), ("1970-01-01T03:00:00Z", 0)] {
        let mut program = transform.rows(window.parse().expect("time")).expect("row program");
        let output = program.apply(decoded(&transform, &rows));
        assert_eq!((output.rows.num_rows(), output.filtered), (kept, 2 - kept as u64), "{window}");
    }
}

#[tokio::test]
async fn parameters_are_values_whatever_they_hold() {
    let evil = "x' OR 1=1 --";
    let parameters = [
        ("evil", evil),
        ("min", "2"),
        ("minus", "-1"),
        ("half", "0.5"),
        ("word", "s1"),
        ("a-b.c", "7"),
        ("zip", "01234567890123456789"),
    ];
    let cases = [
        ("s = ${evil}", 0),
        ("s = '${evil}'", 0),
        ("s <> ${evil}", 4),
        ("a >= ${min}", 2),
        ("a > ${minus}", 3),
        ("${minus}::bigint = -1", 4),
        ("d = ${half}", 1),
        ("s = ${word}", 1),
        ("s = '${word}'", 1),
        ("id = ${a-b.c} - 4", 1),
        ("a IN (${min}, 4)", 2),
        ("'${zip}' = ${zip}", 4),
        ("s = 'it''s' OR s = '${}'", 0),
    ];
    for (text, kept) in cases {
        let transform = plan_with(&numbers(), &[filter(text)], &parameters, &sink(None, &[])).await;
        let transform = transform.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(run(&transform, &some_rows()).rows.num_rows(), kept, "{text}");
    }
    let steps = [derive(&[("stage", "${evil}")]), TransformStep::Select(names(&["stage"]))];
    let transform = plan_with(&numbers(), &steps, &parameters, &sink(None, &[])).await.expect("plan");
    assert_eq!(text(&run(&transform, &some_rows()).rows)[0], format!("stage={evil}"));
}

#[tokio::test]
async fn a_sink_without_columns_takes_what_comes_and_the_keys_last() {
    let steps = [derive(&[
        ("day", "CAST(to_timestamp_millis(id) AS DATE)"),
        ("t", "to_timestamp_millis(id)"),
        ("u", "arrow_cast(a, 'UInt8')"),
    ])];
    let transform = plan_with(&numbers(), &steps, &[], &sink(None, &["day date", "s string"])).await.expect("plan");
    let schema = transform.output_schema();
    let fields: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), crate::transform::cast::type_name(field.data_type())))
        .collect();
    assert_eq!(
        fields,
        ["id bigint", "a bigint", "b bigint", "d double", "t timestamp_ntz", "u smallint", "day date", "s string"]
    );
    assert_eq!(transform.partition_keys(), 2);
    assert_eq!(run(&transform, &some_rows()).rows.num_rows(), 4);
}

/// Without declared columns nothing says what a time means but the expression itself.
#[tokio::test]
async fn a_time_without_a_zone_stays_one_and_an_instant_stays_an_instant() {
    let ntz = "timestamp_ntz 2026-03-04T05:06:07.000008";
    let instant = "timestamp 2026-03-04T05:06:07.000008Z";
    let cases = [
        ("to_timestamp_micros(us)", ntz),
        ("to_timestamp_micros(us + 1) - INTERVAL '1 microsecond'", ntz),
        ("to_timestamp_nanos(us * 1000)", ntz),
        ("to_timestamp('2026-03-04T05:06:07.000008')", ntz),
        // A zone in a text is taken into account, and then there is none any more.
        ("to_timestamp_micros('2026-03-04T07:06:07.000008+02:00')", ntz),
        ("CAST('2026-03-04T05:06:07.000008' AS TIMESTAMP)", ntz),
        ("CAST(t AS TIMESTAMP)", ntz),
        ("n", ntz),
        ("to_timestamp_millis(us / 1000)", "timestamp_ntz 2026-03-04T05:06:07"),
        ("to_timestamp_seconds(us / 1000000)", "timestamp_ntz 2026-03-04T05:06:07"),
        ("date_trunc('hour', n)", "timestamp_ntz 2026-03-04T05:00:00"),
        ("t", instant),
        ("t + INTERVAL '1 hour' - INTERVAL '1 hour'", instant),
        ("date_trunc('hour', t)", "timestamp 2026-03-04T05:00:00Z"),
        // The time of the window in UTC, but without saying so, as the functions above.
        ("now()", ntz),
    ];
    let source = source(&["us bigint", "t timestamp", "n timestamp_ntz"]);
    let us = window().as_microsecond();
    let time = TimestampMicrosecondArray::from(vec![us]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![us])), Arc::new(time.clone().with_timezone("UTC")), Arc::new(time)];
    let rows = RecordBatch::try_new(Arc::clone(&source), columns).expect("rows");
    for (expression, expected) in cases {
        let steps = [derive(&[("x", expression)]), TransformStep::Select(names(&["x"]))];
        let transform = plan(&source, &steps).await.unwrap_or_else(|error| panic!("{expression}: {error:?}"));
        let output = run(&transform, &rows);
        assert!(output.refused.is_empty(), "{expression}: {:?}", output.refused);
        let type_name = crate::transform::cast::type_name(transform.output_schema().field(0).data_type());
        let value = crate::transform::cast::show(output.rows.column(0), 0);
        assert_eq!(format!("{type_name} {value}"), expected, "{expression}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_sink_is_named() {
    use crate::error::Classified;
    let cases: [(&[&str], &[&str], &[&str]); 5] = [
        (&["id bigint"], &[], &["the sink does not declare `a`, `b`, `s`, `d`", "drop them"]),
        (
            &["id bigint", "A bigint", "a bigint", "b bigint", "s string", "d double"],
            &[],
            &["do not yield `A` (there is `a`)"],
        ),
        (&["id bigint", "a bigint", "b bigint", "s string", "d double"], &["day date"], &["do not yield `day`"]),
        (
            &["id timestamp", "a boolean", "b bigint", "s string", "d double"],
            &[],
            &[
                "`id` of type bigint cannot become timestamp; derive it with to_timestamp_millis(id)",
                "`a` of type bigint cannot become boolean",
            ],
        ),
        (&["id bigint", "a bigint", "b bigint", "d double"], &["S string"], &["do not yield `S` (there is `s`)"]),
    ];
    for (declared, keys, parts) in cases {
        let error = plan_with(&numbers(), &[], &[], &sink(Some(declared), keys)).await.expect_err("mismatch");
        assert_eq!((error.reason(), error.retry()), (sluice_crds::condition::Reason::SchemaMismatch, false));
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    let error = plan_with(&numbers(), &[], &[], &sink(None, &["day date"])).await.expect_err("mismatch").to_string();
    assert!(error.contains("do not yield `day`"), "{error}");
}

/// Not a benchmark: it prints what a row costs, and fails only if something is badly wrong.
#[tokio::test]
async fn a_row_costs_nanoseconds() {
    let transform = plan(&numbers(), &[filter("a > 0"), derive(&[("x", "to_timestamp_millis(id)"), ("y", "a + b")])])
        .await
        .expect("plan");
    let values: Vec<_> = (0..8192).map(Some).collect();
    let rows = number_rows(&values, &values);
    let mut program = transform.rows(window()).expect("row program");
    let batches: Vec<_> = (0..200).map(|_| decoded(&transform, &rows)).collect();
    let start = std::time::Instant::now();
    let kept: usize = batches.into_iter().map(|batch| program.apply(batch).rows.num_rows()).sum();
    let nanos = start.elapsed().as_nanos() as f64 / (200.0 * 8192.0);
    println!("{nanos:.1} ns a row");
    assert_eq!(kept, 200 * 8191);
    assert!(nanos < 1000.0, "{nanos}");
}
