//! GetTelemetrySubscriptions (key 71, version 0): which metrics a client shall push (KIP-714).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 71, versions = "0", flexible = "0+", response = GetTelemetrySubscriptionsResponse)]
pub struct GetTelemetrySubscriptionsRequest {
    /// Zero in the first request: the broker gives one out.
    pub client_instance_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 71, versions = "0", flexible = "0+")]
pub struct GetTelemetrySubscriptionsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub client_instance_id: Uuid,
    pub subscription_id: i32,
    pub accepted_compression_types: Vec<i8>,
    pub push_interval_ms: i32,
    pub telemetry_max_bytes: i32,
    pub delta_temporality: bool,
    /// Prefixes; `*` is all.
    pub requested_metrics: Vec<Text>,
}
