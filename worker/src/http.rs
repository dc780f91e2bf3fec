//! What a worker serves: `/report` (JSON), `/metrics` (Prometheus), `/healthz` (the process lives), `/readyz` (it is at work).

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use sluice_crds::report::WorkerReport;
use tokio::net::TcpListener;

use crate::report::Board;

/// Serves on this address until the process ends. Port 0 takes a free one; the answer is the address at work.
pub async fn serve(address: SocketAddr, board: Arc<Board>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let router = Router::new()
        .route("/report", get(report))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(board);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the report is not served any more");
        }
    });
    Ok(address)
}

async fn report(State(board): State<Arc<Board>>) -> Json<WorkerReport> {
    Json(board.report())
}

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], board.render_metrics())
}

async fn ready(State(board): State<Arc<Board>>) -> impl IntoResponse {
    if board.is_ready() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") }
}
