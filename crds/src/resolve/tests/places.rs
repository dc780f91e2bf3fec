//! Where tables and checkpoints may lie.

use super::*;

#[test]
fn a_url_is_a_folder() {
    for (wrong, part) in [
        ("gs://lake/a/", "must begin with s3://"),
        ("s3:///a/", "has no valid bucket"),
        ("s3://Lake/a/", "has no valid bucket"),
        ("s3://lake/a//b/", "empty segments"),
        ("s3://lake/../b/", "empty segments, . or .."),
        ("s3://lake/a b/", "must not hold spaces"),
        ("s3://lake/a?b", "must not hold spaces, control characters, ?"),
        ("file://relative/", "absolute path"),
    ] {
        let errors = errors("s3://lake/shop/orders/", wrong);
        assert!(
            errors[0].contains("spec.location.objectStore.url: `") && errors[0].contains(part),
            "{wrong}: {errors:?}"
        );
    }
    let text = BASE.replace("s3://lake/shop/orders/", "s3://lake/shop/orders");
    let plan = resolve_with(&text, &cluster(), |_| {}).expect("a plan");
    assert_eq!(plan.sink.location.url, "s3://lake/shop/orders/", "the slash at the end is added");
}

#[test]
fn an_endpoint_is_the_root_of_a_server() {
    for (wrong, part) in [
        ("http://s3:9000/path", "without a path"),
        ("http://user:hunter2@s3:9000", "must not hold a user or a password"),
        ("http://", "is not a url"),
    ] {
        let errors = errors("http://s3:9000", wrong);
        assert!(errors[0].contains("spec.s3.endpoint: `") && errors[0].contains(part), "{wrong}: {errors:?}");
        assert!(!errors[0].contains("hunter2"), "a password is not repeated");
    }
    let ftp = errors_of(|all| {
        let lake = all.connections.get_mut(&ObjectKey::new("etl", "lake")).expect("a connection");
        lake.spec.s3.as_mut().expect("s3").endpoint = Some("ftp://s3".to_owned());
    });
    assert!(ftp[0].contains("must begin with http:// or https://"), "{ftp:?}");
}

#[test]
fn a_local_folder_works_in_local_runs_only() {
    let text = BASE.replace("s3://lake/shop/orders/", "file:///tmp/shop/orders");
    let plan = resolve_with(&text, &ResolveContext::Local, |_| {}).expect("a plan");
    assert_eq!((plan.sink.location.url.as_str(), &plan.sink.location.s3), ("file:///tmp/shop/orders/", &None));
    assert_eq!(plan.checkpoint.url, "file:///tmp/shop/_sluice/etl.orders/");
    let errors = resolve_with(&text, &cluster(), |_| {}).expect_err("an error");
    assert!(matches!(errors[..], [ResolveError::FileUrlInCluster { .. }]), "{errors:?}");
}

#[test]
fn a_bucket_needs_a_connection() {
    let errors = errors_of(|all| {
        table(all, "orders").location.object_store.as_mut().expect("a folder").connection_ref = None;
    });
    assert_one(
        &errors,
        "DataCatalogTable etl/orders: spec.location.objectStore.connectionRef is missing: `s3://lake/shop/orders/` needs the name \
         of an s3 Connection, such as {name: lake}",
    );
}

#[test]
fn a_sink_at_the_root_of_a_bucket_needs_a_checkpoint() {
    for root in ["s3://lake/", "s3://lake"] {
        let errors = errors("s3://lake/shop/orders/", root);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("spec.checkpoint is missing: a sink at the root of a bucket"), "{errors:?}");
    }
    let text = BASE.replace("s3://lake/shop/orders/", "s3://lake/orders/");
    let plan = resolve_with(&text, &cluster(), |_| {}).expect("a plan");
    assert_eq!(plan.checkpoint.url, "s3://lake/_sluice/etl.orders/");
    let text = CAMEL_CASE.replace("  checkpoint:", "  # checkpoint:");
    let errors = resolve_with(&text, &cluster(), |_| {}).expect_err("an error");
    assert!(errors.iter().any(|error| error.to_string().contains("a sink in a topic has no place")), "{errors:?}");
}

#[test]
fn what_readers_would_take_for_rows_is_not_inside_of_the_sink() {
    let at = |folder: &str| {
        let folder = format!("deadLetter: {{objectStore: {{url: '{folder}', connectionRef: {{name: lake}}}}}}");
        resolve_with(&BASE.replace("transforms: []", &folder), &cluster(), |_| {})
    };
    for inside in ["s3://lake/shop/orders/dead/", "s3://lake/shop/orders/"] {
        let errors = at(inside).expect_err("an error");
        assert!(matches!(errors[..], [ResolveError::InsideSink { .. }]), "{errors:?}");
    }
    for outside in ["s3://lake/shop/orders/_dead/", "s3://lake/shop/orders-dead/", "s3://lake/shop/"] {
        at(outside).expect(outside);
    }
}
