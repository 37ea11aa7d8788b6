//! `/health/live`: the process answers. `/health/ready`: clients are served.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use ottla_node::Services;

pub(super) async fn live() -> &'static str {
    "live\n"
}

pub(super) async fn ready(State(services): State<Arc<Services>>) -> (StatusCode, String) {
    match services.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
