//! HTTP for people and machines that watch: health and metrics. Served on the control plane, so
//! that a disk that stalls does not make the node look dead.

mod door;
mod health;
mod metrics;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use ottla_node::Services;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::memory::RequestMemory;
use door::Door;

/// What the pages tell of.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) services: Arc<Services>,
    pub(crate) memory: Arc<RequestMemory>,
}

impl FromRef<Watched> for Arc<Services> {
    fn from_ref(watched: &Watched) -> Self {
        watched.services.clone()
    }
}

/// Serves until the node stops.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    watched: Watched,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let door = Door::new(TcpListener::from_std(listener)?);
    let router = Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(metrics::page))
        .with_state(watched);
    axum::serve(door, router)
        .with_graceful_shutdown(async move {
            let _ = stopping.changed().await;
        })
        .await
}
