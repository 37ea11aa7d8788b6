//! HTTP for people and machines that watch: health and metrics. Served on the control plane, so
//! that a disk that stalls does not make the node look dead.

mod health;
mod metrics;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use ottla_node::Services;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Serves until the node stops.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    services: Arc<Services>,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::page))
        .with_state(services);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move {
            let _ = stopping.changed().await;
        })
        .await
}
