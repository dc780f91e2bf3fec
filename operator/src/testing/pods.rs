//! Pods that answer `GET /report` on this machine.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A server that answers with what the test says.
#[derive(Clone)]
pub struct FakePod {
    pub address: SocketAddr,
    body: Arc<Mutex<Value>>,
}

impl FakePod {
    pub async fn start(body: Value) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let body = Arc::new(Mutex::new(body));
        let told = Arc::clone(&body);
        let answer = move || async move { Json(told.lock().expect("no panic").clone()) };
        let router = axum::Router::new().route("/report", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, body }
    }

    pub fn says(&self, body: Value) {
        *self.body.lock().expect("no panic") = body;
    }
}

/// A worker that owns these partitions: `(partition, committed, end)`.
pub fn worker_report(plan_hash: &str, phase: &str, partitions: &[(i32, i64, i64)], commits: &[Value]) -> Value {
    let partitions: Vec<Value> = partitions
        .iter()
        .map(|(partition, committed, end)| {
            json!({"topic": "orders", "partition": partition, "committed": committed, "position": committed,
                "end": end, "lag": end - committed})
        })
        .collect();
    json!({
        "version": 1, "worker": "w", "job": "etl/orders", "planHash": plan_hash, "generation": 1, "phase": phase,
        "partitions": partitions,
        "totals": {"read": 10, "written": 9, "filtered": 1, "dead": 0, "bytesRead": 0, "bytesWritten": 0, "files": 1,
            "batches": 1, "voided": 0, "retried": 0},
        "commits": commits, "ledgerTail": 3, "unpublished": 0, "memoryUsed": 0, "memoryBudget": 1,
        "time": Timestamp::now(),
    })
}

/// A commit so many seconds before a time.
pub fn commit(seq: u64, now: Timestamp, seconds_ago: i64, read: u64) -> Value {
    let time = Timestamp::from_second(now.as_second() - seconds_ago).expect("a time");
    json!({"seq": seq, "batch": format!("b{seq}"), "time": time, "read": read, "written": read, "files": 1, "bytes": 100, "positions": {}})
}

/// An agent that has checked a plan.
pub fn agent_report(plan_hash: &str, ok: bool, reason: &str, message: &str) -> Value {
    let connection = |name: &str| {
        json!({"name": name, "generation": 1, "time": Timestamp::now(),
            "finding": {"ok": true, "reason": "Connected", "message": "it works"}})
    };
    json!({
        "version": 1, "namespace": "etl", "time": Timestamp::now(),
        "connections": [connection("kafka"), connection("lake")],
        "jobs": [{"name": "orders", "check": {"planHash": plan_hash, "finding": {"ok": ok, "reason": reason, "message": message}}}],
    })
}
