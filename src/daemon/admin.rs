//! The admin door: `/metrics`, `/health/live` and `/health/ready`, over HTTP.
//!
//! It shows numbers and states, and can change nothing.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::health::Health;
use super::metrics::Metrics;

/// What the door shows.
pub struct Shown {
    pub metrics: Arc<Metrics>,
    pub health: Health,
}

/// Serves until `shutdown` is done.
///
/// # Errors
///
/// What the listener fails with.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .with_state(Arc::new(shown));
    axum::serve(listener, routes)
        .with_graceful_shutdown(shutdown)
        .await
}

async fn metrics(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, TEXT)], shown.metrics.render())
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(shown): State<Arc<Shown>>) -> impl IntoResponse {
    let status = if shown.health.ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, shown.health.report())
}
