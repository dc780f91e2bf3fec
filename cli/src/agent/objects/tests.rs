//! What watches tell, and a world made of it.

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::*;

fn object(name: &str, generation: i64, servers: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "sluice.dev/v1alpha1",
        "kind": "Connection",
        "metadata": {"name": name, "namespace": "etl", "uid": name, "generation": generation},
        "spec": {"kafka": {"bootstrapServers": servers}},
        "status": {"observedGeneration": generation},
    }))
    .expect("an object")
}

fn good(name: &str, generation: i64) -> DynamicObject {
    object(name, generation, &json!(["a:1"]))
}

fn names(shelf: &Shelf<Connection>) -> Vec<&str> {
    shelf.objects.keys().map(|key| key.name.as_str()).collect()
}

#[test]
fn only_what_changes_a_spec_is_news() {
    let mut shelf = Shelf::<Connection>::default();
    assert!(!shelf.hear(Event::Init) && !shelf.hear(Event::InitApply(good("a", 1))));
    assert!(names(&shelf).is_empty() && !shelf.listed, "a list is taken as a whole");
    assert!(shelf.hear(Event::InitDone) && shelf.listed);
    assert!(!shelf.hear(Event::Apply(good("a", 1))), "a status");
    assert!(shelf.hear(Event::Apply(good("a", 2))));
    assert!(shelf.hear(Event::Apply(good("b", 1))));
    assert!(shelf.hear(Event::Delete(good("a", 2))));
    assert!(!shelf.hear(Event::Delete(good("a", 2))));
    assert_eq!(names(&shelf), ["b"]);
    // After a break the list is told anew; what is not in it is gone.
    shelf.hear(Event::Init);
    shelf.hear(Event::InitApply(good("c", 1)));
    assert_eq!(names(&shelf), ["b"]);
    assert!(shelf.hear(Event::InitDone));
    assert_eq!(names(&shelf), ["c"]);
}

#[test]
fn an_object_that_cannot_be_read_is_missing_and_others_are_not() {
    let mut shelf = Shelf::<Connection>::default();
    for object in [good("a", 1), object("broken", 1, &json!("a:1")), good("c", 1)] {
        shelf.hear(Event::InitApply(object));
    }
    shelf.hear(Event::InitDone);
    assert_eq!(names(&shelf), ["a", "c"]);
    assert!(shelf.hear(Event::Apply(object("c", 2, &json!("a:1")))), "it can be read no more");
    assert_eq!(names(&shelf), ["a"]);
    assert!(!shelf.hear(Event::Apply(object("c", 3, &json!("a:1")))));
    assert!(shelf.hear(Event::Apply(good("c", 4))));
}

/// An API server with one connection in one namespace, whose watches stay open and tell nothing.
async fn api_server() -> Client {
    async fn answer(Path(kind): Path<String>, RawQuery(query): RawQuery) -> axum::response::Response {
        use axum::response::IntoResponse;
        if query.unwrap_or_default().contains("watch=true") {
            let silence = futures::stream::pending::<Result<String, std::io::Error>>();
            return Body::from_stream(silence).into_response();
        }
        let items: Vec<DynamicObject> = if kind == "connections" { vec![good("kafka", 1)] } else { Vec::new() };
        let list = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "List", "metadata": {"resourceVersion": "7"}, "items": items});
        Json(list).into_response()
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/apis/sluice.dev/v1alpha1/namespaces/etl/{kind}", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::new(format!("http://{address}").parse().expect("a url"));
    Client::try_from(config).expect("a client")
}

#[tokio::test]
async fn the_world_of_a_namespace_is_told_once_all_kinds_are_listed() {
    let (client, context) = (api_server().await, ResolveContext::Cluster { uid: "c1".to_owned() });
    let (tell, mut told) = watch::channel::<Option<Arc<World>>>(None);
    let wait = async {
        told.changed().await.expect("somebody tells");
        let world = told.borrow().clone().expect("a world");
        assert_eq!(world.connections.keys().collect::<Vec<_>>(), ["kafka"]);
        assert!(world.jobs.is_empty() && world.tables.is_empty());
    };
    tokio::select! {
        () = follow(&client, "etl", &context, &tell) => panic!("it does not end"),
        done = tokio::time::timeout(Duration::from_mins(1), wait) => done.expect("in time"),
    }
}
