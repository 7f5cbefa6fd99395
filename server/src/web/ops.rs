//! `/healthz`: the process answers. `/readyz`: new connections would be taken. `/metrics`: Prometheus text.

use std::io;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;
use crate::store::record::Recorder;
use crate::telemetry::Metrics;

/// What the operators' pages are made from.
#[derive(Clone)]
pub struct Ops {
    /// Whether new sessions are taken.
    pub gateway: Gateway,
    /// Whether Postgres answers.
    pub recorder: Recorder,
    /// The process's metrics.
    pub metrics: Metrics,
}

/// The answer of `/readyz`.
#[derive(Debug, Serialize)]
struct Readiness {
    /// All of the below.
    ready: bool,
    /// `up` or `away`: without Postgres no new session begins.
    postgres: &'static str,
    /// `read` or `unread`: whether every domain has been listed at least once.
    catalogue: &'static str,
    /// `accepting` or `draining`.
    gateway: &'static str,
}

/// Serves the pages until cancelled.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, ops: Ops, stop: CancellationToken) -> io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(ops));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn readiness(State(ops): State<Arc<Ops>>) -> Response {
    let (up, read, accepting) = (ops.recorder.is_up(), ops.gateway.catalogue_read(), ops.gateway.accepting());
    let readiness = Readiness {
        ready: up && read && accepting,
        postgres: if up { "up" } else { "away" },
        catalogue: if read { "read" } else { "unread" },
        gateway: if accepting { "accepting" } else { "draining" },
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(ops): State<Arc<Ops>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], ops.metrics.render())
}
