//! An API server made of a map. It does what the tests lean on: uids, generations, server-side apply by replacement, merge patches,
//! metadata requests, preconditions. It remembers every request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// See the module.
#[derive(Clone, Default)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    requests: Vec<Made>,
    refusals: Vec<(String, u16)>,
    refused_changes: Vec<(String, u16)>,
    versions: u64,
}

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Made {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Value,
}

impl FakeApi {
    pub fn client(&self) -> Client {
        let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let api = self.clone();
        tokio::spawn(async move {
            let mut handle = std::pin::pin!(handle);
            while let Some((request, send)) = handle.next_request().await {
                send.send_response(api.answer(request).await);
            }
        });
        Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics in here")
    }

    /// Puts an object there, as if somebody else had.
    pub fn put(&self, path: &str, object: Value) {
        self.state().objects.insert(path.to_owned(), object);
    }

    pub fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    pub fn remove(&self, path: &str) {
        self.state().objects.remove(path);
    }

    /// All objects below a path.
    pub fn list(&self, plural: &str) -> Vec<Value> {
        let part = format!("/{plural}/");
        self.state().objects.iter().filter(|(path, _)| path.contains(&part)).map(|(_, object)| object.clone()).collect()
    }

    /// All objects.
    pub fn all(&self) -> Vec<Value> {
        self.state().objects.values().cloned().collect()
    }

    /// Requests whose path holds this text are answered with this code from now on.
    pub fn refuse(&self, part: &str, code: u16) {
        self.state().refusals.push((part.to_owned(), code));
    }

    /// The same, of requests that change something.
    pub fn refuse_changes(&self, part: &str, code: u16) {
        self.state().refused_changes.push((part.to_owned(), code));
    }

    pub fn allow_everything(&self) {
        let mut state = self.state();
        state.refusals.clear();
        state.refused_changes.clear();
    }

    /// The requests so far, which are forgotten.
    pub fn take_requests(&self) -> Vec<Made> {
        std::mem::take(&mut self.state().requests)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let (method, path) = (parts.method.as_str().to_owned(), parts.uri.path().to_owned());
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let accept = parts.headers.get("accept").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let content = parts.headers.get("content-type").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
        let mut state = self.state();
        state.requests.push(Made {
            method: method.clone(),
            path: path.clone(),
            query: query.clone(),
            body: body.clone(),
        });
        let changes = if method == "GET" { &[][..] } else { &state.refused_changes[..] };
        let refused =
            state.refusals.iter().chain(changes).find(|(part, _)| path.contains(part.as_str())).map(|(_, code)| *code);
        let answer = match (refused, method.as_str()) {
            (Some(code), _) => Err(code),
            (_, "GET") => state.objects.get(&path).cloned().ok_or(404),
            (_, "PATCH") if content.contains("apply-patch") => state.apply(&path, body, query.contains("force=true")),
            (_, "PATCH") => state.merge(&path, &body),
            (_, "DELETE") => state.objects.remove(&path).ok_or(404),
            (_, "POST") => Ok(body),
            _ => Err(405),
        };
        drop(state);
        match answer {
            Ok(object) if accept.contains("as=PartialObjectMetadata") => {
                let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]});
                reply(200, &partial)
            }
            Ok(object) => reply(200, &object),
            Err(code) => reply(
                code,
                &json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": if code == 404 { "NotFound" } else { "Test" }, "code": code,
                    "message": format!("the test answers {method} {path} with {code}")}),
            ),
        }
    }
}

fn reply(code: u16, body: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(code).expect("a code");
    Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).expect("a response")
}

impl State {
    fn apply(&mut self, path: &str, body: Value, force: bool) -> Result<Value, u16> {
        self.versions += 1;
        let version = self.versions;
        if let Some(path) = path.strip_suffix("/status") {
            let object = self.objects.get_mut(path).ok_or(404u16)?;
            if body["metadata"]["uid"] != object["metadata"]["uid"] {
                return Err(409);
            }
            object["status"] = body["status"].clone();
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            return Ok(object.clone());
        }
        let old = self.objects.get(path).cloned();
        let wanted = body["metadata"]["uid"].as_str().map(str::to_owned);
        match &old {
            // Nobody but us makes objects here, except `put`.
            Some(_) if !force => return Err(409),
            Some(old) if wanted.is_some() && wanted.as_deref() != old["metadata"]["uid"].as_str() => return Err(409),
            None if wanted.is_some() => return Err(409),
            _ => {}
        }
        let mut new = body;
        let old = old.unwrap_or(Value::Null);
        // What somebody else wrote, such as a merge patch, stays until it is named.
        for (name, value) in old["metadata"]["annotations"].as_object().into_iter().flatten() {
            if new["metadata"]["annotations"][name].is_null() {
                new["metadata"]["annotations"][name] = value.clone();
            }
        }
        let uid = old["metadata"]["uid"].as_str().map_or_else(|| format!("uid-{version}"), str::to_owned);
        let same = old["spec"] == new["spec"] && old["data"] == new["data"];
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + i64::from(!same || old.is_null());
        new["metadata"]["uid"] = json!(uid);
        new["metadata"]["resourceVersion"] = json!(version.to_string());
        new["metadata"]["generation"] = json!(generation);
        new["metadata"]["creationTimestamp"] = json!("2026-01-31T00:00:00Z");
        if !old["status"].is_null() {
            new["status"] = old["status"].clone();
        }
        self.objects.insert(path.to_owned(), new.clone());
        Ok(new)
    }

    fn merge(&mut self, path: &str, body: &Value) -> Result<Value, u16> {
        self.versions += 1;
        let version = self.versions;
        let object = self.objects.get_mut(path).ok_or(404u16)?;
        if body["metadata"]["uid"] != object["metadata"]["uid"] {
            return Err(409);
        }
        for (name, value) in body["spec"].as_object().into_iter().flatten() {
            object["spec"][name] = value.clone();
        }
        for (name, value) in body["metadata"]["annotations"].as_object().into_iter().flatten() {
            object["metadata"]["annotations"][name] = value.clone();
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        Ok(object.clone())
    }
}
