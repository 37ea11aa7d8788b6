//! GetTelemetrySubscriptions (key 71, version 0): which metrics a client shall push (KIP-714).

use ottla_node::Services;
use ottla_protocol::compress::Codec;
use ottla_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse,
};

use crate::api::count_errors;
use crate::session::Call;

/// In the order in which we like them.
const CODECS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: GetTelemetrySubscriptionsRequest,
) -> GetTelemetrySubscriptionsResponse {
    let instance = match request.client_instance_id {
        id if id.is_zero() => ottla_node::random_uuid(),
        id => id,
    };
    let telemetry = services.telemetry();
    let client = super::client(call);
    let now_ms = services.quotas().now_ms();
    match telemetry.subscribe(instance, client, now_ms) {
        Ok(subscribed) => {
            *call.session.telemetry.lock() = Some(instance);
            GetTelemetrySubscriptionsResponse {
                client_instance_id: instance,
                subscription_id: subscribed.id,
                accepted_compression_types: CODECS.map(|codec| codec.bits().cast_signed()).to_vec(),
                push_interval_ms: subscribed.interval_ms,
                telemetry_max_bytes: telemetry.bytes_max(),
                delta_temporality: true,
                requested_metrics: subscribed.metrics.into_iter().map(Into::into).collect(),
                ..Default::default()
            }
        }
        Err(refusal) => {
            count_errors(services, call, [refusal.code()].into_iter());
            GetTelemetrySubscriptionsResponse {
                error_code: refusal.code(),
                ..Default::default()
            }
        }
    }
}
