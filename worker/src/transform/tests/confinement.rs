//! What SQL must not reach or do.

use super::*;

#[tokio::test]
async fn sql_reaches_nothing_but_its_input() {
    for (text, part) in [
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", "transforms[0].sql"),
        ("CREATE VIEW v AS SELECT * FROM input", "anything but SELECT"),
        ("CREATE TABLE t AS SELECT * FROM input", "anything but SELECT"),
        ("COPY input TO '/tmp/x.csv'", "transforms[0].sql"),
        ("COPY (SELECT * FROM input) TO '/tmp/x.csv'", "transforms[0].sql"),
        ("INSERT INTO input SELECT * FROM input", "anything but SELECT"),
        ("DELETE FROM input", "anything but SELECT"),
        ("UPDATE input SET a = 1", "anything but SELECT"),
        ("DROP TABLE input", "anything but SELECT"),
        ("SET datafusion.execution.batch_size = 1", "anything but SELECT"),
        ("SHOW ALL", "anything but SELECT"),
        ("SHOW TABLES", "anything but SELECT"),
        ("DESCRIBE input", "anything but SELECT"),
        ("PREPARE p AS SELECT 1", "anything but SELECT"),
        ("EXPLAIN SELECT * FROM input", "anything but SELECT"),
        ("EXPLAIN ANALYZE SELECT * FROM input", "anything but SELECT"),
        ("SELECT * FROM '/etc/passwd'", "transforms[0].sql"),
        ("SELECT * FROM \"/etc/passwd\"", "there is no table `/etc/passwd`"),
        ("SELECT * FROM \"file:///etc/passwd\"", "there is no table"),
        ("SELECT * FROM information_schema.tables", "there is no table `information_schema.tables`"),
        ("SELECT * FROM datafusion.public.input", "there is no table"),
        ("SELECT * FROM other", "the only one is `input`"),
        ("SELECT * FROM Input", "the only one is `input`"),
        ("SELECT * FROM generate_series(1, 10)", "there is no table function `generate_series`"),
        ("SELECT * FROM range(1, 10)", "there is no table function `range`"),
        ("SELECT * FROM input, input AS b", "is not supported"),
        ("SELECT * FROM input CROSS JOIN (SELECT a AS x FROM input)", "is not supported"),
        ("SELECT l.a FROM input l JOIN input r ON l.a = r.a", "is not supported"),
        ("SELECT a FROM input UNION ALL SELECT b FROM input", "is not supported"),
        ("SELECT a FROM input UNION SELECT b FROM input", "is not supported"),
        ("SELECT a FROM input EXCEPT SELECT b FROM input", "is not supported"),
        ("SELECT a FROM input INTERSECT SELECT b FROM input", "is not supported"),
        ("SELECT a FROM input WHERE a IN (SELECT b FROM input)", "a sub-select in an expression is not supported"),
        ("SELECT a FROM input WHERE EXISTS (SELECT 1)", "a sub-select in an expression is not supported"),
        ("SELECT (SELECT 1) AS x FROM input", "a sub-select in an expression is not supported"),
        ("SELECT * FROM input, LATERAL (SELECT input.a + 1 AS x)", "is not supported"),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT n FROM t",
            "WITH RECURSIVE is not supported",
        ),
        ("SELECT 1", "does not read the table `input`"),
        ("VALUES (1), (2)", "is not supported"),
        ("SELECT unnest(make_array(a, b)) AS x FROM input", "unnest is not supported"),
        ("SELECT * FROM UNNEST(make_array(1, 2))", "is not supported"),
        ("SELECT a INTO t FROM input", "SELECT INTO is not supported"),
        ("SELECT @@version AS v FROM input", "transforms[0].sql"),
        ("SELECT 1 FROM input; SELECT 2 FROM input", "stands behind the end"),
        ("SELECT random() AS r FROM input", "`random()` gives another result for each call"),
        ("SELECT a FROM input WHERE random() < 0.5", "`random()` gives another result"),
        ("SELECT uuid() AS u FROM input", "`uuid()` gives another result"),
    ] {
        let error = refused(&numbers(), &[batch_sql(text)]).await;
        assert!(error.contains(part), "{text}: {error}");
        assert!(error.starts_with("transforms[0].sql: "), "{text}: {error}");
    }
}

#[tokio::test]
async fn what_sees_many_rows_must_say_so() {
    for text in [
        "SELECT count(*) AS n FROM input",
        "SELECT a, count(*) AS n FROM input GROUP BY a",
        "SELECT DISTINCT a FROM input",
        "SELECT DISTINCT ON (a) a, b FROM input",
        "SELECT a FROM input ORDER BY a",
        "SELECT a FROM input LIMIT 10",
        "SELECT a FROM input OFFSET 10",
        "SELECT a, row_number() OVER (ORDER BY a) AS n FROM input",
        "SELECT a FROM (SELECT a FROM input ORDER BY a LIMIT 3)",
    ] {
        let error = refused(&numbers(), &[sql(text)]).await;
        assert!(error.contains("add `scope: Batch`"), "{text}: {error}");
        let transform = plan(&numbers(), &[batch_sql(text)]).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(transform.batch_part().is_some(), "{text}");
    }
    // The scope of one step says nothing about the next, and does not have to be repeated by it.
    let steps = [batch_sql("SELECT a, count(*) AS n FROM input GROUP BY a"), sql("SELECT n FROM input WHERE n > 1")];
    assert!(plan(&numbers(), &steps).await.expect("plan").batch_part().is_some());
    let steps = [batch_sql("SELECT a FROM input"), sql("SELECT DISTINCT a FROM input")];
    assert!(refused(&numbers(), &steps).await.starts_with("transforms[1].sql: DISTINCT"));
}

#[tokio::test]
async fn expressions_look_at_one_row() {
    for (step, part) in [
        (filter("count(*) > 1"), "transforms[0].filter: an aggregate function is not supported"),
        (derive(&[("n", "sum(a)")]), "transforms[0].derive.n: an aggregate function is not supported"),
        (derive(&[("n", "row_number() OVER ()")]), "transforms[0].derive.n: a window function"),
        (derive(&[("n", "random()")]), "transforms[0].derive.n: `random()` gives another result"),
        (derive(&[("n", "(SELECT 1)")]), "transforms[0].derive.n: a sub-select"),
        (filter("a IN (SELECT b FROM input)"), "transforms[0].filter: a sub-select"),
        (derive(&[("n", "unnest(make_array(a))")]), "transforms[0].derive.n: unnest is not supported"),
        (TransformStep::Select(names(&["a, b"])), "`,` stands behind the end"),
        (TransformStep::Select(names(&["a + 1"])), "write `expression AS name`"),
        (filter("a > 1; DROP TABLE x"), "`;` stands behind the end"),
    ] {
        let error = refused(&numbers(), std::slice::from_ref(&step)).await;
        assert!(error.contains(part), "{step:?}: {error}");
    }
}

#[test]
fn long_and_deep_texts_are_errors_and_not_crashes() {
    let mut texts = vec![
        format!("a = 1 {}", "OR a = 2 ".repeat(120_000)),
        format!("a IN ({}1)", "1, ".repeat(400_000)),
        format!("{}a = 1{}", "(".repeat(50_000), ")".repeat(50_000)),
        format!("{}TRUE", "NOT ".repeat(10_000)),
        format!("{}a > 0", "- ".repeat(10_000)),
        format!("{}a{} > 0", "abs(".repeat(10_000), ")".repeat(10_000)),
        format!("{}a{} > 0", "CASE WHEN a > 0 THEN ".repeat(2_000), " ELSE 1 END".repeat(2_000)),
        format!("s = '{}'", "x".repeat(1 << 20)),
        "${".repeat(10_000),
        "[".repeat(10_000),
        format!("a{}", ".b".repeat(20_000)),
        format!("a{} = 1", "::bigint".repeat(10_000)),
        format!("a{}", " IS NOT NULL".repeat(5_000)),
        format!("a{} = 1", "[1]".repeat(10_000)),
    ];
    texts.extend(
        [(" + 1", 550), (" || 'x'", 550), ("::bigint", 550)]
            .map(|(part, times)| format!("a{} IS NOT NULL", part.repeat(times))),
    );
    let accepted = texts.len() - 3;
    // The smallest stack on which planning and evaluation happen is that of a thread of the runtime.
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        for (index, text) in texts.iter().enumerate() {
            let shown: String = text.chars().take(30).collect();
            match runtime.block_on(plan(&numbers(), &[filter(text)])) {
                Ok(transform) => {
                    assert!(index >= accepted, "{shown}");
                    run(&transform, &some_rows());
                }
                Err(error) => assert!(index < accepted, "{shown}: {error}"),
            }
            let query = runtime.block_on(plan(&numbers(), &[sql(&format!("SELECT a FROM input WHERE {text}"))]));
            assert_eq!(query.is_ok(), index >= accepted, "{shown}");
        }
        // Steps that use each other become one expression.
        let chained: Vec<_> = (0..4).map(|_| derive(&[("a", &format!("a{}", " + 1".repeat(490)))])).collect();
        let transform = runtime.block_on(plan(&numbers(), &chained[..3])).expect("plan");
        assert!(text(&run(&transform, &some_rows()).rows)[0].starts_with("id=0 a=1471 "));
        runtime.block_on(plan(&numbers(), &chained)).expect("plan");
        let longer: Vec<_> = chained.iter().cycle().take(5).cloned().collect();
        let error = runtime.block_on(plan(&numbers(), &longer)).expect_err("too long").to_string();
        assert!(error.contains("more than 2000 operators together"), "{error}");
        assert!(runtime.block_on(plan(&numbers(), &vec![filter("a > 1"); 101])).is_err());
        runtime.block_on(plan(&numbers(), &vec![filter("a > 1"); 100])).expect("plan");
        let nested = format!("SELECT a FROM {}input{}", "(SELECT a FROM ".repeat(5_000), ")".repeat(5_000));
        assert!(runtime.block_on(plan(&numbers(), &[sql(&nested)])).is_err());
    });
    thread.expect("thread").join().expect("no overflow");
}
