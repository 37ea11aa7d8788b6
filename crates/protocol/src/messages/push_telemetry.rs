//! PushTelemetry (key 72, version 0): a client's metrics, as OpenTelemetry writes them (KIP-714).

use bytes::Bytes;

use crate::{Message, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 72, versions = "0", flexible = "0+", response = PushTelemetryResponse)]
pub struct PushTelemetryRequest {
    pub client_instance_id: Uuid,
    pub subscription_id: i32,
    /// The client's last words.
    pub terminating: bool,
    pub compression_type: i8,
    pub metrics: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 72, versions = "0", flexible = "0+")]
pub struct PushTelemetryResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
}
