//! What a worker and an agent serve: `/report` (JSON), `/metrics` (Prometheus), `/healthz` (the process lives), `/readyz` (it is at work).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use sluice_crds::report::WorkerReport;
use tokio::net::TcpListener;

use crate::report::Board;

/// Who can be asked: the board of a worker, and the desk of an agent. All answers come from memory and never wait.
pub trait Served: Send + Sync + 'static {
    /// The body of `GET /report`.
    type Report: Serialize;

    /// What it tells.
    fn report(&self) -> Self::Report;

    /// The text of `GET /metrics`.
    fn render_metrics(&self) -> String;

    /// Is it at work?
    fn is_ready(&self) -> bool;
}

impl Served for Board {
    type Report = WorkerReport;

    fn report(&self) -> WorkerReport {
        Self::report(self)
    }

    fn render_metrics(&self) -> String {
        Self::render_metrics(self)
    }

    fn is_ready(&self) -> bool {
        Self::is_ready(self)
    }
}

/// Serves on this address until the process ends. Port 0 takes a free one; the answer is the address at work.
pub async fn serve<S: Served>(address: SocketAddr, served: Arc<S>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/report", get(report::<S>))
        .route("/metrics", get(metrics::<S>))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready::<S>))
        .with_state(served);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the report is not served any more");
        }
    });
    Ok(address)
}

async fn report<S: Served>(State(served): State<Arc<S>>) -> Json<S::Report> {
    Json(served.report())
}

async fn metrics<S: Served>(State(served): State<Arc<S>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], served.render_metrics())
}

async fn ready<S: Served>(State(served): State<Arc<S>>) -> impl IntoResponse {
    if served.is_ready() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") }
}
