//! What the operator serves: `/metrics`, `/healthz` (the process lives), `/readyz` (it acts, or stands by for the lease).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// What the endpoints tell.
#[derive(Default)]
pub struct Health {
    /// What is counted.
    pub metrics: Arc<Metrics>,
    ready: AtomicBool,
}

impl Health {
    /// The operator acts, or stands by.
    pub fn ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }
}

/// Serves on this address until the process ends. Port 0 takes a free one; the answer is the address at work.
pub async fn serve(address: SocketAddr, health: Arc<Health>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(health);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics and health are not served any more");
        }
    });
    Ok(address)
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], health.metrics.render())
}

async fn ready(State(health): State<Arc<Health>>) -> impl IntoResponse {
    if health.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet")
    }
}
