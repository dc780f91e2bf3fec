//! Columns, partition keys and formats.

use super::*;

#[test]
fn a_folder_cannot_be_read() {
    assert_one(
        &errors("source: {tableRef: {name: raw}}", "source: {tableRef: {name: orders}}"),
        "DataCatalogTable etl/orders: spec.location is a folder of files, and a job reads topics only: name a table with a kafka \
         location",
    );
}

#[test]
fn a_source_needs_columns() {
    let none = errors("  columns: [{name: id, type: string, nullable: false}, {name: amount, type: double}]\n", "");
    assert!(none[0].starts_with("DataCatalogTable etl/raw: spec.columns is empty: declare"), "{none:?}");
    assert_eq!(none.len(), 1);
}

#[test]
fn a_column_stands_once() {
    let twice = errors_of(|all| {
        let columns = table(all, "raw").columns.as_mut().expect("columns");
        columns.push(columns[0].clone());
    });
    assert_one(
        &twice,
        "DataCatalogTable etl/raw: spec.columns[2]: the column `id` stands twice: rename or remove one of them",
    );
    let keys = errors_of(|all| {
        let keys = table(all, "orders").partition_keys.as_mut().expect("keys");
        keys.push(keys[0].clone());
    });
    assert!(keys[0].contains("spec.partitionKeys[1]: the column `day` stands twice"), "{keys:?}");
}

#[test]
fn a_partition_key_is_no_column() {
    let errors = errors("{name: day, type: date}", "{name: id, type: string}");
    assert!(errors[0].contains("spec.partitionKeys[0]: `id` also stands among columns"), "{errors:?}");
}

#[test]
fn a_partition_key_has_a_type_with_one_spelling() {
    for wrong in ["double", "timestamp", "'decimal(4,2)'", "binary", "'array<int>'"] {
        let errors = errors("type: date", &format!("type: {wrong}"));
        assert!(errors[0].contains("spec.partitionKeys[0]: `day` is of type "), "{errors:?}");
    }
    for right in ["string", "tinyint", "smallint", "int", "bigint", "boolean"] {
        let text = BASE.replace("type: date", &format!("type: {right}"));
        resolve_with(&text, &cluster(), |_| {}).expect(right);
    }
}

#[test]
fn a_wrong_type_is_told_with_its_place_and_hides_nothing_else() {
    let strange = |text: &str| text.parse().expect("any text");
    let told = errors_of(|all| {
        let raw = table(all, "raw").columns.as_mut().expect("columns");
        raw[1].type_ = strange("array<strng>");
        let orders = table(all, "orders");
        orders.columns.as_mut().expect("columns")[0].type_ = strange("int(4)");
        orders.partition_keys.as_mut().expect("keys")[0].type_ = strange("day");
        let cast = serde_json::from_str(r#"[{"cast": {"id": "text", "amount": "double"}}]"#);
        job(all).transforms = Some(cast.expect("a step"));
    });
    let problems = [
        "DataCatalogTable etl/raw: spec.columns[1].type: `array<strng>` is not a column type: there is no type `strng` at character 7",
        "StreamingJob etl/orders: spec.transforms[0].cast.id: `text` is not a column type: there is no type `text`",
        "DataCatalogTable etl/orders: spec.columns[0].type: `int(4)` is not a column type: something follows the type",
        "DataCatalogTable etl/orders: spec.partitionKeys[0].type: `day` is not a column type: there is no type `day`",
    ];
    assert_eq!(told.len(), problems.len(), "{told:#?}");
    for (told, problem) in told.iter().zip(problems) {
        assert!(told.starts_with(problem), "{told}");
    }
    let error = resolve_with(BASE, &cluster(), |all| {
        table(all, "raw").columns.as_mut().expect("columns")[0].type_ = strange("strng");
    });
    assert_eq!(error.expect_err("an error")[0].reason(), crate::condition::Reason::ConfigInvalid);
}

#[test]
fn a_table_tells_of_its_types_also_when_no_job_uses_it() {
    let mut manifests = manifests(BASE);
    let look = |all: &Manifests| table_place(&all.tables[&ObjectKey::new("etl", "raw")], &all.connections, &cluster());
    assert!(matches!(look(&manifests), Ok(TablePlace::Topic { .. })));
    table(&mut manifests, "raw").columns.as_mut().expect("columns")[0].type_ = "strng".parse().expect("any text");
    assert!(matches!(look(&manifests).expect_err("told")[..], [ResolveError::TypeInvalid { .. }]));
}

#[test]
fn the_column_of_kafka_metadata_is_reserved() {
    let text = BASE
        .replacen("{name: amount, type: double}", "{name: _kafka, type: string}", 1)
        .replace("source: {", "source: {kafkaMetadata: true, ");
    let errors = resolve_with(&text, &cluster(), |_| {}).expect_err("an error");
    assert!(matches!(errors[..], [ResolveError::ReservedColumn { .. }]), "{errors:?}");
}

#[test]
fn a_topic_holds_no_parquet() {
    let errors = errors_of(|all| {
        let table = table(all, "raw");
        table.format = serde_json::from_str(r#"{"parquet": {}}"#).expect("a format");
    });
    assert_one(&errors, "DataCatalogTable etl/raw: spec.format.parquet: a topic cannot hold parquet: use json");
}
