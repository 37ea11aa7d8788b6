//! `/metrics`: everything in one page of Prometheus text.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ottla_node::Page;

use super::Watched;
use crate::registry;

pub(super) async fn page(State(watched): State<Watched>) -> impl IntoResponse {
    let Watched { services, memory } = watched;
    let metrics = services.metrics();
    let used = memory.n_bytes_used();
    metrics.request_memory_used.set(used);
    let free = memory.n_bytes().saturating_sub(used);
    metrics.request_memory_free.set(free);
    metrics.connections_short.set(memory.n_waiting());
    let mut page = Page::default();
    let api_name = |key| registry::find(key).map(|api| api.name);
    metrics.write(&mut page, api_name);
    services.write_samples(&mut page);
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page.text(),
    )
}
