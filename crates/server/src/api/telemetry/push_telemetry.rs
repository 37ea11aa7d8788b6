//! PushTelemetry (key 72, version 0): a client's metrics, to be shown on `/metrics` (KIP-714).

use ottla_node::{Push, Services};
use ottla_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};

use crate::api::{code_of, count_errors};
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: PushTelemetryRequest,
) -> PushTelemetryResponse {
    let push = Push {
        subscription_id: request.subscription_id,
        is_terminating: request.terminating,
        compression: request.compression_type,
        metrics: &request.metrics,
    };
    let instance = request.client_instance_id;
    let now_ms = services.quotas().now_ms();
    let pushed = services
        .telemetry()
        .push(instance, super::client(call), &push, now_ms);
    let error_code = code_of(&pushed);
    count_errors(services, call, [error_code].into_iter());
    PushTelemetryResponse {
        error_code,
        ..Default::default()
    }
}
