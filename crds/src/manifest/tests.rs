//! What a person is told about a wrong manifest.

use super::*;

mod examples;

const JOB: &str = r"apiVersion: sluice.dev/v1alpha1
kind: StreamingJob
metadata: {name: orders}
spec:
  source:
    tableRef: {name: raw}
  window:
    period: 5m
  sink: {tableRef: {name: orders}}
";

fn errors(text: &str) -> Vec<String> {
    match parse([("job.yaml", text)]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[track_caller]
fn assert_error(from: &str, to: &str, expected: &str) {
    assert!(JOB.contains(from), "{from}");
    assert_eq!(errors(&JOB.replace(from, to)), [expected.to_owned()]);
}

#[test]
fn the_examples_are_valid() {
    for (name, text, jobs, tables, connections) in [
        ("01", include_str!("../../../docs/examples/01-glue-sample.yaml"), 1, 2, 2),
        ("02", include_str!("../../../docs/examples/02-hybrid-csv.yaml"), 1, 1, 2),
        ("03", include_str!("../../../docs/examples/03-camelcase-minute.yaml"), 1, 1, 2),
    ] {
        let manifests = parse([(name, text)]).unwrap_or_else(|errors| panic!("{errors}"));
        let counts = (manifests.jobs.len(), manifests.tables.len(), manifests.connections.len());
        assert_eq!(counts, (jobs, tables, connections), "{name}");
    }
}

#[test]
fn the_examples_on_the_pages_of_the_kinds_are_valid() {
    for (kind, page) in [
        ("Connection", include_str!("../../../docs/connection.md")),
        ("DataCatalogTable", include_str!("../../../docs/datacatalogtable.md")),
        ("StreamingJob", include_str!("../../../docs/streamingjob.md")),
    ] {
        let blocks: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(blocks.len() >= 2, "{kind}");
        for block in blocks {
            parse([(kind, block)]).unwrap_or_else(|errors| panic!("{errors}\n{block}"));
        }
    }
}

#[test]
fn an_unknown_field_is_told_with_its_place_and_the_word_that_was_meant() {
    assert_error(
        "    period: 5m",
        "    peroid: 5m",
        "job.yaml:8:5: StreamingJob default/orders: spec.window.peroid: unknown field `peroid` (did you mean `period`?), expected \
         one of: maxBytes, maxRecords, period",
    );
    let errors = errors(&JOB.replace("tableRef: {name: raw}", "tableRef: {name: raw, namespace: other}"));
    assert!(
        errors[0].contains("spec.source.tableRef.namespace: unknown field `namespace`, expected one of: name"),
        "{errors:?}"
    );
    let root = self::errors(&format!("{JOB}sepc: {{}}\n"));
    assert!(root[0].starts_with("job.yaml:10:1: ") && root[0].contains("did you mean `spec`?"), "{root:?}");
}

#[test]
fn a_field_of_somebody_else_is_not_checked() {
    let template = "  workers: {template: {spec: {whatever: [1, {two: 3}]}}}\n";
    let manifests = parse([("job.yaml", format!("{JOB}{template}").as_str())]).expect("manifests");
    let job = manifests.jobs.values().next().expect("a job");
    let template = job.spec.workers.as_ref().and_then(|workers| workers.template.as_ref()).expect("a template");
    assert_eq!(template["spec"]["whatever"][1]["two"], 3);
}

#[test]
fn wrong_types_and_bounds_are_told_with_their_place() {
    let title = "StreamingJob default/orders: spec.window";
    for (to, expected) in [
        ("  window: 5m", format!("job.yaml:7:11: {title}: an object is expected here, and this is a text")),
        (
            "  window: {maxRecords: 1.5}",
            format!("job.yaml:7:24: {title}.maxRecords: a whole number is expected here, and this is a number"),
        ),
        ("  window: {maxRecords: 0}", format!("job.yaml:7:24: {title}.maxRecords: at least 1 expected")),
        (
            "  window: {period: 5}",
            format!(
                "job.yaml:7:20: {title}.period: a text (write it in quotes) is expected here, and this is a number"
            ),
        ),
        (
            "  window: {period: 5 min}",
            format!(
                "job.yaml:7:20: {title}.period: `5 min` is not a duration: the unit (h, m, s or ms) is missing; examples: 100s, 5m, \
                 1h30m, 500ms"
            ),
        ),
        (
            "  window: {maxBytes: 5MB}",
            format!(
                "job.yaml:7:22: {title}.maxBytes: `5MB` is not a size: suffixes are k, M, G, T, P and Ki, Mi, Gi, Ti, Pi; examples: \
                 128Mi, 1Gi, 500k, 1048576"
            ),
        ),
    ] {
        assert_error("  window:\n    period: 5m", to, &expected);
    }
}

#[test]
fn an_unknown_word_is_told_with_those_that_are_possible() {
    assert_error(
        "  window:\n    period: 5m",
        "  mode: continuous",
        "job.yaml:7:9: StreamingJob default/orders: spec.mode: unknown word `continuous` (did you mean `Continuous`?), expected one \
         of: Continuous, UntilCaughtUp",
    );
}

#[test]
fn a_missing_field_is_told_at_its_parent() {
    assert_error(
        "  sink: {tableRef: {name: orders}}\n",
        "",
        "job.yaml:5:3: StreamingJob default/orders: spec.sink: this field is missing",
    );
    assert!(
        errors("apiVersion: sluice.dev/v1alpha1\nkind: StreamingJob\nmetadata: {name: a}\n")[0]
            .contains("spec: this field")
    );
}

#[test]
fn a_broken_rule_is_told_with_its_place() {
    assert_error(
        "    tableRef: {name: raw}",
        "    groupId: a",
        "job.yaml:6:5: StreamingJob default/orders: spec.source: exactly one of tableRef and table must be given",
    );
    let errors = errors(&JOB.replace("    period: 5m", "    period: 13h"));
    assert_eq!(
        errors,
        ["job.yaml:8:13: StreamingJob default/orders: spec.window.period: window.period must be from 1s to 12h"]
    );
}

#[test]
fn a_wrong_column_type_is_told_with_its_place_in_the_text() {
    let text = "apiVersion: sluice.dev/v1alpha1
kind: DataCatalogTable
metadata: {name: raw}
spec:
  database: a
  location: {kafka: {connectionRef: {name: k}, topic: t}}
  format: {json: {}}
  columns:
  - {name: id, type: strng}
";
    let expected = "job.yaml:9:22: DataCatalogTable default/raw: spec.columns[0].type: `strng` is not a column type: there is no type \
        `strng` at character 1; examples: bigint, decimal(12,2), array<struct<sku:string,qty:int>>";
    assert_eq!(errors(text), [expected]);
    let twice = errors(&text.replace("type: strng}", "type: string}\n  - {name: id, type: int}"));
    assert!(
        twice[0].contains("spec.columns[1].name: another element of this list has the same name: `id`"),
        "{twice:?}"
    );
}

#[test]
fn what_is_not_yaml_is_told_with_its_place() {
    let errors = errors("a: [1,\nb: }\n");
    assert!(errors[0].starts_with("job.yaml:") && errors[0].contains("this is not YAML: "), "{errors:?}");
}

#[test]
fn all_errors_of_all_files_are_told() {
    let broken = JOB.replace("period", "peroid").replace("sink:", "sinc:");
    let errors = parse([("a.yaml", broken.as_str()), ("b.yaml", "kind: x\n")]).expect_err("errors").0;
    let files: Vec<_> = errors.iter().map(|error| error.file.as_str()).collect();
    assert_eq!(files, ["a.yaml", "a.yaml", "a.yaml", "b.yaml"], "{errors:#?}");
}

#[test]
fn an_object_stands_once() {
    let text = format!("{JOB}---\n{JOB}");
    let expected =
        "job.yaml:11:1: StreamingJob default/orders: this object is also in job.yaml:1: remove one of them".to_owned();
    assert_eq!(errors(&text), [expected]);
    let other = JOB.replace("metadata: {name: orders}", "metadata: {name: orders, namespace: other}");
    assert!(parse([("a.yaml", JOB), ("b.yaml", other.as_str())]).is_ok(), "another namespace is another object");
}

#[test]
fn an_unknown_kind_or_version_of_ours_is_refused() {
    let kind = errors(&JOB.replace("kind: StreamingJob", "kind: StreamJob"));
    assert!(kind[0].contains("there is no sluice.dev/v1alpha1 StreamJob; expected"), "{kind:?}");
    let version = errors(&JOB.replace("v1alpha1", "v1"));
    assert!(version[0].contains("there is no sluice.dev/v1 StreamingJob"), "{version:?}");
    assert!(errors("- a\n- b\n")[0].contains("a Kubernetes object is expected"));
}

#[test]
fn a_foreign_object_is_noted_and_passed_over() {
    let text =
        format!("{JOB}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{any: thing}}\n---\n---\n");
    let manifests = parse([("job.yaml", text.as_str())]).expect("manifests");
    assert_eq!(manifests.notes, ["job.yaml: v1 ConfigMap default/a is not used"]);
    assert_eq!(manifests.jobs.len(), 1);
}

#[test]
fn a_list_is_its_items() {
    let items = format!("- {}\n", JOB.trim_end().replace('\n', "\n  "));
    let manifests =
        parse([("list.yaml", format!("apiVersion: v1\nkind: List\nitems:\n{items}").as_str())]).expect("manifests");
    assert_eq!(manifests.jobs.len(), 1);
}

#[test]
fn secrets_are_read_and_never_shown() {
    let text = "apiVersion: v1
kind: Secret
metadata: {name: lake, namespace: etl}
data: {accessKeyId: aHVudGVyMg==}
stringData: {secretAccessKey: hunter3}
";
    let manifests = parse([("secret.yaml", text)]).expect("manifests");
    let secret = &manifests.secrets[&ObjectKey::new("etl", "lake")];
    assert_eq!(secret.get("accessKeyId"), Some(&b"hunter2"[..]));
    assert_eq!(secret.get("secretAccessKey"), Some(&b"hunter3"[..]));
    assert_eq!(secret.get("other"), None);
    assert_eq!(secret.iter().count(), 2);
    let debug = format!("{manifests:?}");
    assert!(debug.contains("accessKeyId") && !debug.contains("hunter") && !debug.contains("104"), "{debug}");
}

#[test]
fn a_wrong_secret_is_told_without_its_value() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: lake}\ndata: {a: 'hunter2!', b: 7}\n";
    let errors = errors(text);
    assert!(errors[0].contains("data.a: this value is not base64"), "{errors:?}");
    assert!(errors[1].contains("data.b: a text (write it in quotes) is expected here"), "{errors:?}");
    assert!(errors.iter().all(|error| !error.contains("hunter")), "{errors:?}");
    let broken = self::errors("apiVersion: v1\nkind: Secret\nstringData:\n  a: \"hunter2\n  b: [hunter3\n");
    assert!(broken.iter().all(|error| !error.contains("hunter")), "{broken:?}");
}

#[test]
fn nulls_are_as_if_they_were_not_there() {
    let manifests = parse([("job.yaml", JOB.replace("period: 5m", "period: null\n    maxRecords: null").as_str())]);
    assert!(manifests.is_ok(), "{manifests:?}");
}
