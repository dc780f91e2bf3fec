//! What a person reads when a step is wrong.

use super::*;

#[tokio::test]
async fn errors_show_the_place_in_the_text() {
    for (step, message, place) in [
        (filter("a >"), "transforms[0].filter: Expected: an expression, found: EOF", Some((1, 4))),
        (filter("a > 1 AND\n  b >> > 2"), "transforms[0].filter: Expected: an expression, found: >", Some((2, 8))),
        (filter("userid > 1"), "there is no column `userid`", Some((1, 1))),
        (filter("a > 1 AND\n  (A > 2)"), "there is no column `A`, did you mean `a`?", Some((2, 4))),
        (
            sql("SELECT a,\n  nope\nFROM input"),
            "there is no column `nope`; the columns here are `id`, `a`, `b`, `s`, `d`",
            Some((2, 3)),
        ),
        (sql("SELECT a FORM input"), "transforms[0].sql: ", None),
        (sql("SELCT a FROM input"), "Expected: an SQL statement, found: SELCT", Some((1, 1))),
        (filter("s = 'open"), "Unterminated string literal", Some((1, 5))),
        (filter("a b"), "`b` stands behind the end", Some((1, 3))),
        (filter("upperr(s) = 'X'"), "Did you mean 'upper'?", None),
        (filter("a + s.x > 1"), "transforms[0].filter: ", None),
        (filter("a"), "transforms[0].filter: ", None),
        (filter("upper(a, b, s) = 'X'"), "transforms[0].filter: ", None),
        (derive(&[("x", "a + nope")]), "transforms[0].derive.x: there is no column `nope`", Some((1, 5))),
        (derive(&[("x", "a < make_array(1)")]), "transforms[0].derive.x: ", None),
        (sql("SELECT a < make_array(1) AS x FROM input"), "transforms[0].sql: ", None),
        (filter("a > ${min}"), "there is no parameter `min`; spec.parameters has none", Some((1, 5))),
        (filter("s = 'x-${min}'"), "a parameter cannot stand inside of a longer string", Some((1, 5))),
        (filter("a > ${min"), "is not closed", Some((1, 5))),
        (filter("a > $1"), "`$1` has no value; parameters are written ${name}", Some((1, 5))),
        (filter("a > ?"), "`?` has no value", Some((1, 5))),
        (TransformStep::Drop(names(&["A"])), "transforms[0].drop: there is no column `A`, did you mean `a`?", None),
        (
            TransformStep::Rename(map(&[("user_id", "x")])),
            "transforms[0].rename: there is no column `user_id`; the columns",
            None,
        ),
        (TransformStep::Rename(map(&[("a", "b")])), "transforms[0].rename: two columns are named `b`", None),
        (
            TransformStep::Cast(BTreeMap::from([("x".to_owned(), sluice_crds::types::HiveType::Int)])),
            "transforms[0].cast: there is no column `x`",
            None,
        ),
        (
            TransformStep::Cast(BTreeMap::from([("a".to_owned(), sluice_crds::types::HiveType::Timestamp)])),
            "transforms[0].cast: the column `a` of type bigint cannot become timestamp; derive it with to_timestamp_millis(a)",
            None,
        ),
        (TransformStep::Select(names(&["a", "b AS a"])), "two columns are named `a`", None),
    ] {
        let error = plan(&numbers(), std::slice::from_ref(&step)).await.expect_err("an error");
        let shown = crate::error::chain(&error);
        assert!(shown.contains(message), "{step:?}: {shown}");
        if let Some((line, column)) = place {
            assert!(shown.contains(&format!("at line {line}, column {column}\n")), "{step:?}: {shown}");
        }
    }
}

#[tokio::test]
async fn the_place_has_a_caret() {
    let error = refused(&numbers(), &[filter("a > 1 AND\n  Nope > 2")]).await;
    assert!(error.ends_with("at line 2, column 3\n    Nope > 2\n    ^"), "{error}");
}

#[tokio::test]
async fn errors_name_their_step_and_need_a_person() {
    use crate::error::Classified;
    let steps = [filter("a > 1"), TransformStep::Drop(names(&["a"])), filter("a > 1")];
    let error = plan(&numbers(), &steps).await.expect_err("a is gone");
    assert_eq!((error.reason(), error.retry()), (sluice_crds::condition::Reason::TransformInvalid, false));
    assert!(error.to_string().starts_with("transforms[2].filter: there is no column `a`"), "{error}");
}
