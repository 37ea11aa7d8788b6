//! BrokerHeartbeat (key 63, versions 0-2): a broker is alive, and asks to be unfenced or to stop.
//!
//! - v1: log directories that failed (KIP-858).
//! - v2: log directories that take no new replicas (KIP-1066).

use crate::{Message, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 63, versions = "0-2", flexible = "0+", response = BrokerHeartbeatResponse)]
pub struct BrokerHeartbeatRequest {
    pub broker_id: i32,
    #[field(default = -1)]
    pub broker_epoch: i64,
    pub current_metadata_offset: i64,
    pub want_fence: bool,
    pub want_shut_down: bool,
    #[field(versions = "1+", tag = 0)]
    pub offline_log_dirs: Vec<Uuid>,
    #[field(versions = "2+", nullable = "2+", default = None, tag = 1)]
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 63, versions = "0-2", flexible = "0+")]
pub struct BrokerHeartbeatResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub is_caught_up: bool,
    #[field(default = true)]
    pub is_fenced: bool,
    pub should_shut_down: bool,
}
