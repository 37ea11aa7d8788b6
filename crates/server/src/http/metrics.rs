//! `/metrics`: everything in one page of Prometheus text.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use ottla_node::{Page, Services};

use crate::registry;

pub(super) async fn page(State(services): State<Arc<Services>>) -> impl IntoResponse {
    let mut page = Page::default();
    let api_name = |key| registry::find(key).map(|api| api.name);
    services.metrics().write(&mut page, api_name);
    services.write_samples(&mut page);
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        page.text(),
    )
}
