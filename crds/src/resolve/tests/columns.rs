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
