//! Plans that look at the rows of a window together.

use super::*;

fn aggregate(group_by: &[&str], select: &[(&str, &str)]) -> TransformStep {
    TransformStep::Aggregate { group_by: names(group_by), select: map(select) }
}

/// Runs a window: the rows are dealt to the lanes, in batches of 1000.
async fn window_of(transform: &Transform, rows: &RecordBatch, lanes: usize) -> Result<Vec<String>, TransformError> {
    let part = transform.batch_part().expect("a batch part");
    let run = part.start(window(), lanes, &tokio::runtime::Handle::current())?;
    std::thread::scope(|scope| {
        for lane in 0..lanes {
            let (run, mut program) = (&run, transform.rows(window()).expect("row program"));
            scope.spawn(move || {
                for start in (lane * 1000..rows.num_rows()).step_by(lanes * 1000) {
                    let batch = rows.slice(start, 1000.min(rows.num_rows() - start));
                    let output = program.apply(decoded(transform, &batch));
                    run.push(lane, output.rows);
                }
            });
        }
    });
    let mut lines = Vec::new();
    for batch in run.finish().await? {
        assert_eq!(batch.schema(), transform.output_schema());
        lines.extend(text(&batch));
    }
    Ok(lines)
}

fn many_rows() -> RecordBatch {
    let a: Vec<_> = (0..20_000).map(|row| (row % 11 != 0).then_some(row % 7)).collect();
    let b: Vec<_> = (0..20_000).map(Some).collect();
    number_rows(&a, &b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_lanes_give_what_one_lane_gives() {
    let cases = [
        vec![aggregate(&["a AS k"], &[("n", "count(*)"), ("most", "max(b)"), ("mean", "sum(b) / count(b)")])],
        vec![aggregate(&[], &[("n", "count(*)"), ("kinds", "count(DISTINCT a)")])],
        vec![
            aggregate(&["b % 3 AS r", "a"], &[("s", "sum(b + a)")]),
            filter("s > 1000"),
            derive(&[("stage", "'x'"), ("at", "now()")]),
        ],
        vec![filter("a > 2"), batch_sql("SELECT a, count(*) AS n FROM input GROUP BY a HAVING count(*) > 10")],
        vec![batch_sql("SELECT DISTINCT a, b % 2 AS odd FROM input")],
        vec![batch_sql("SELECT b FROM input ORDER BY b DESC LIMIT 5")],
        vec![batch_sql("SELECT a, b, rank() OVER (PARTITION BY a ORDER BY b) AS r FROM input")],
        vec![batch_sql("SELECT a, b % 2 AS odd, count(*) AS n FROM input GROUP BY ROLLUP(a, b % 2)")],
    ];
    for steps in cases {
        let transform = plan(&numbers(), &steps).await.unwrap_or_else(|error| panic!("{steps:?}: {error}"));
        let mut one = window_of(&transform, &many_rows(), 1).await.unwrap_or_else(|error| panic!("{steps:?}: {error}"));
        let mut three = window_of(&transform, &many_rows(), 3).await.expect("window");
        one.sort();
        three.sort();
        assert!(!one.is_empty());
        assert_eq!(one, three, "{steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_what_they_should_be() {
    let steps = [
        filter("b < 70"),
        aggregate(&["a AS kind"], &[("requests", "count(*)"), ("slowest", "max(b)")]),
        filter("kind IS NOT NULL AND kind < 2"),
        derive(&[("stage", "${stage}"), ("at", "now()")]),
    ];
    let table = sink(Some(&["kind int", "requests bigint", "slowest bigint", "at timestamp"]), &["stage string"]);
    let transform = plan_with(&numbers(), &steps, &[("stage", "production")], &table).await.expect("plan");
    let mut lines = window_of(&transform, &many_rows(), 2).await.expect("window");
    lines.sort();
    let at = "at=2026-03-04T05:06:07.000008Z stage=production";
    assert_eq!(lines, [format!("kind=0 requests=9 slowest=63 {at}"), format!("kind=1 requests=9 slowest=64 {at}")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nested_members_can_be_grouped() {
    let source = source(&["approver struct<userId:string,teamName:string>", "durationMs bigint"]);
    let steps =
        [aggregate(&["approver.teamName AS teamName"], &[("requests", "count(*)"), ("slowestMs", "max(durationMs)")])];
    let transform = plan(&source, &steps).await.expect("plan");
    let fields: Vec<_> = transform.output_schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(fields, ["teamName", "requests", "slowestMs"]);
    let steps = [aggregate(&["approver.teamName"], &[("n", "count(*)")])];
    assert_eq!(plan(&source, &steps).await.expect("plan").output_schema().field(0).name(), "teamName");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_an_aggregate_cannot_take_is_refused_alone() {
    let steps = [aggregate(&["id % 2 AS odd"], &[("s", "sum(1000 / a)")])];
    let transform = plan(&numbers(), &steps).await.expect("plan");
    let rows = number_rows(&[Some(1), Some(0), Some(10), Some(100)], &[None; 4]);
    let mut program = transform.rows(window()).expect("row program");
    let output = program.apply(decoded(&transform, &rows));
    assert_eq!((output.rows.num_rows(), output.refused.len(), output.filtered), (3, 1, 0));
    assert_eq!(output.refused[0].row, 1);
    let run =
        transform.batch_part().expect("batch").start(window(), 1, &tokio::runtime::Handle::current()).expect("start");
    tokio::task::block_in_place(|| run.push(0, output.rows));
    let mut lines: Vec<_> = run.finish().await.expect("window").iter().flat_map(text).collect();
    lines.sort();
    assert_eq!(lines, ["odd=0 s=1100", "odd=1 s=10"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_without_rows_is_fine() {
    let transform = plan(&numbers(), &[aggregate(&["a"], &[("n", "count(*)")])]).await.expect("plan");
    assert_eq!(window_of(&transform, &many_rows().slice(0, 0), 2).await.expect("window"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded() {
    use crate::error::Classified;
    let steps = [batch_sql("SELECT b, s, count(*) AS n FROM input GROUP BY b, s")];
    let transform = Transform::plan(numbers(), &steps, &map(&[]), &sink(None, &[]), 256 * 1024).await.expect("plan");
    let error = window_of(&transform, &many_rows(), 2).await.expect_err("too many groups");
    assert!(matches!(error, TransformError::OutOfMemory { limit: 262_144, .. }), "{error}");
    assert!(error.to_string().contains("shorten spec.window.period"), "{error}");
    assert!(error.retry());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_above_the_groups_is_told_at_the_end() {
    let transform = plan(&numbers(), &[aggregate(&["a"], &[("n", "count(*)")]), derive(&[("x", "1 / (n - n)")])])
        .await
        .expect("plan");
    let error = window_of(&transform, &many_rows(), 2).await.expect_err("division by zero");
    assert!(
        matches!(&error, TransformError::BatchFailed { message } if message.to_lowercase().contains("divide by zero")),
        "{error}"
    );
}

#[tokio::test]
async fn a_column_beside_an_aggregate_must_be_a_group() {
    for (step, part) in [
        (
            aggregate(&["a"], &[("x", "b + count(*)")]),
            "transforms[0].aggregate.select.x: the column `b` has many values in a group",
        ),
        (aggregate(&["nope"], &[("x", "count(*)")]), "transforms[0].aggregate.groupBy[0]: there is no column `nope`"),
        (aggregate(&["a"], &[("a", "count(*)")]), "two columns are named `a`"),
        (aggregate(&["a"], &[("x", "summ(b)")]), "transforms[0].aggregate.select.x: "),
        (aggregate(&["a + 1"], &[("x", "sum(b)")]), "transforms[0].aggregate.groupBy[0]: an expression without a name"),
    ] {
        let error = refused(&numbers(), std::slice::from_ref(&step)).await;
        assert!(error.contains(part), "{error}");
    }
}
