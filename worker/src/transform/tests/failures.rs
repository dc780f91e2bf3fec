//! Records on which an expression fails.

use std::collections::BTreeSet;

use super::*;
use crate::batch::{Refused, Stage};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

const POISON: i64 = 0;

fn division() -> Vec<TransformStep> {
    vec![derive(&[("q", "1000 / a")])]
}

/// Rows with `a = 0` at some places.
fn poisoned(length: usize, poison: &BTreeSet<usize>) -> RecordBatch {
    let a: Vec<_> = (0..length).map(|row| Some(if poison.contains(&row) { POISON } else { row as i64 + 1 })).collect();
    number_rows(&a, &a)
}

fn rows_of(refused: &[Refused]) -> Vec<usize> {
    refused.iter().map(|refused| refused.row as usize).collect()
}

#[tokio::test]
async fn a_bad_record_never_spoils_its_neighbours() {
    let transform = plan(&numbers(), &division()).await.expect("plan");
    let clean = text(&run(&transform, &poisoned(8192, &BTreeSet::new())).rows);
    for poison in [vec![0], vec![8191], vec![4095, 4096], vec![17], vec![0, 1, 2, 8191], (0..8192).step_by(7).collect()]
    {
        let poison: BTreeSet<usize> = poison.into_iter().collect();
        let output = run(&transform, &poisoned(8192, &poison));
        assert!(rows_of(&output.refused).into_iter().eq(poison.iter().copied()));
        let others: Vec<_> = (0..8192).filter(|row| !poison.contains(row)).map(|row| clean[row].clone()).collect();
        assert_eq!(text(&output.rows), others);
        assert_eq!(output.filtered, 0);
    }
}

#[tokio::test]
async fn a_refusal_says_what_failed_and_where() {
    let steps = [
        filter("id >= 0"),
        derive(&[("q", "1000 / a"), ("z", "1")]),
        sql("SELECT q, 1 / (b - 3) AS r, CAST(s AS INT) AS n FROM input"),
    ];
    let transform = plan(&numbers(), &steps).await.expect("plan");
    let s: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "x"]));
    let mut columns = number_rows(&[Some(1), Some(0), Some(1)], &[Some(3), Some(1), Some(1)]).columns().to_vec();
    columns[3] = s;
    let rows = RecordBatch::try_new(numbers(), columns).expect("rows");
    let output = run(&transform, &rows);
    let errors: Vec<_> = output.refused.into_iter().map(|refused| refused.error).collect();
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_deref().expect("field")).collect();
    assert_eq!(fields, ["transforms[2].sql", "transforms[1].derive.q", "transforms[2].sql"]);
    assert!(errors.iter().all(|error| error.stage == Stage::Transform && error.code == "ExpressionFailed"));
    assert!(errors[0].message.to_lowercase().contains("divide by zero"), "{errors:?}");
    assert!(errors[2].message.contains("Cannot cast string 'x' to value of Int32 type"), "{errors:?}");
}

#[tokio::test]
async fn refusals_name_the_decoded_record() {
    let transform = plan(&numbers(), &division()).await.expect("plan");
    let mut batch = decoded(&transform, &number_rows(&[Some(1), Some(0), Some(2)], &[None; 3]));
    (0..3).for_each(|offset| batch.raw.push(3 + offset, 0, None, None, []));
    batch.origin = vec![1, 3, 4];
    let error =
        crate::batch::RecordError { stage: Stage::Decode, code: "JsonSyntax", message: String::new(), field: None };
    batch.refused = [0, 2, 5].map(|row| Refused { row, error: error.clone() }).to_vec();
    let output = transform.rows(window()).expect("row program").apply(batch);
    assert_eq!(rows_of(&output.refused), [0, 2, 3, 5]);
    assert_eq!(output.rows.num_rows() + output.refused.len(), output.raw.len());
}

#[tokio::test]
async fn each_row_names_the_record_that_it_comes_from() {
    // Filters before and behind, a record that fails in between, and rows that only the order of the steps saves.
    let steps = [filter("b <> 7"), filter("a <> 0 OR b = 0"), derive(&[("q", "100 / a")]), filter("q > 10")];
    let transform = plan(&numbers(), &steps).await.expect("plan");
    let a = [1, 2, 0, 0, 50, 3, 4, 1, 5, 0].map(Some);
    let b = [1, 7, 0, 1, 1, 1, 7, 1, 1, 0].map(Some);
    let mut batch = decoded(&transform, &number_rows(&a, &b));
    (10..30).for_each(|offset| batch.raw.push(offset, 0, None, None, []));
    batch.origin = (0..10).map(|row| 3 * row).collect();
    let output = transform.rows(window()).expect("row program").apply(batch);
    assert_eq!(rows_of(&output.refused), [6, 27]);
    assert_eq!(output.origin.values(), &[0, 15, 21, 24]);
    let ids = output.rows.column_by_name("id").expect("id").as_primitive::<Int64Type>();
    assert_eq!(ids.values(), &[0, 5, 7, 8]);
}

#[tokio::test]
async fn a_filter_protects_what_follows_it() {
    // The optimiser may merge and reorder these; the order of the steps decides.
    for steps in [
        vec![filter("a <> 0"), filter("1000 / a > 0")],
        vec![filter("s LIKE '%s%' AND a <> 0"), derive(&[("q", "1000 / a")]), filter("q >= 0")],
        vec![filter("a <> 0 AND 1000 / a > 0")],
        vec![derive(&[("q", "CASE WHEN a = 0 THEN NULL ELSE 1000 / a END")]), filter("q IS NOT NULL")],
    ] {
        let transform = plan(&numbers(), &steps).await.expect("plan");
        let output = run(&transform, &poisoned(100, &BTreeSet::from([0, 50, 99])));
        assert_eq!((output.rows.num_rows(), output.filtered, output.refused.len()), (97, 3, 0), "{steps:?}");
    }
}

#[tokio::test]
async fn an_expression_that_always_fails_refuses_every_record_and_no_other() {
    let transform = plan(&numbers(), &[filter("a > 2"), derive(&[("q", "1 / 0")])]).await.expect("plan");
    let output = run(&transform, &some_rows());
    assert_eq!((rows_of(&output.refused), output.filtered), (vec![3], 3));
    let none = run(&transform, &some_rows().slice(0, 2));
    assert_eq!((none.rows.num_rows(), none.refused.len(), none.filtered), (0, 0, 2));
}

#[tokio::test]
async fn empty_batches_are_fine() {
    for steps in [vec![], division(), vec![filter("a > 0")], vec![filter("1 = 2")], vec![derive(&[("q", "1 / 0")])]] {
        let transform = plan(&numbers(), &steps).await.expect("plan");
        assert_eq!(run(&transform, &some_rows().slice(0, 0)).rows.num_rows(), 0);
    }
    let transform = plan(&numbers(), &[filter("1 = 2")]).await.expect("plan");
    assert_eq!(run(&transform, &some_rows()).filtered, 4);
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_column_is_refused() {
    let declared = ["id int", "a tinyint", "b bigint not null", "s string", "d int"];
    let transform = plan_with(&numbers(), &[], &[], &sink(Some(&declared), &[])).await.expect("plan");
    let output = run(
        &transform,
        &number_rows(&[Some(1), Some(2), Some(128), None, Some(5)], &[Some(1), Some(2), Some(3), Some(4), None]),
    );
    assert_eq!(text(&output.rows), ["id=0 a=1 b=1 s=s0 d=0"]);
    let told: Vec<_> = output
        .refused
        .iter()
        .map(|refused| {
            let error = &refused.error;
            (refused.row, error.code, error.field.as_deref().expect("column"), error.message.as_str())
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "CastFailed", "d", "`0.5` of type double does not fit the column `d` of type int without loss"),
            (2, "CastFailed", "a", "`128` of type bigint does not fit the column `a` of type tinyint without loss"),
            (3, "CastFailed", "d", "`1.5` of type double does not fit the column `d` of type int without loss"),
            (4, "NullInRequiredColumn", "b", "the column `b` is `nullable: false`, and the value is null"),
        ]
    );
}

#[tokio::test]
async fn a_cast_step_is_lossless_too() {
    let cast = TransformStep::Cast(BTreeMap::from([("d".to_owned(), sluice_crds::types::HiveType::Int)]));
    let transform = plan(&numbers(), &[cast, filter("d > 0")]).await.expect("plan");
    let output = run(&transform, &some_rows());
    assert_eq!(text(&output.rows), ["id=2 a=null b=30 s=s2 d=1"]);
    assert_eq!((rows_of(&output.refused), output.filtered), (vec![1, 3], 1));
    assert_eq!(output.refused[0].error.field.as_deref(), Some("d"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn exactly_the_poison_is_refused(length in 1_usize..300, poison in proptest::collection::btree_set(0_usize..300, 0..40), kept in 0_i64..300) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        let steps = [filter(&format!("id < {kept}")), derive(&[("q", "1000 / a"), ("u", "upper(s)")]), filter("id % 3 <> 0")];
        let transform = runtime.block_on(plan(&numbers(), &steps)).expect("plan");
        let poison: BTreeSet<usize> = poison.into_iter().filter(|row| *row < length).collect();
        let output = run(&transform, &poisoned(length, &poison));
        let without = run(&transform, &poisoned(length, &BTreeSet::new()));
        // What a later filter removes may be refused or filtered; what an earlier one removes is never refused.
        let refused: BTreeSet<usize> = rows_of(&output.refused).into_iter().collect();
        let must: BTreeSet<usize> = poison.iter().copied().filter(|row| (*row as i64) < kept && row % 3 != 0).collect();
        let may: BTreeSet<usize> = poison.iter().copied().filter(|row| (*row as i64) < kept).collect();
        prop_assert!(must.is_subset(&refused) && refused.is_subset(&may), "{refused:?} {must:?} {may:?}");
        let id = |line: &String| line["id=".len()..].split(' ').next().and_then(|id| id.parse::<usize>().ok()).expect("id");
        let expected: Vec<_> = text(&without.rows).into_iter().filter(|line| !poison.contains(&id(line))).collect();
        prop_assert_eq!(text(&output.rows), expected);
    }
}
