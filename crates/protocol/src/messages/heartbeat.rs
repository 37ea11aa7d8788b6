//! Heartbeat (key 12, versions 0-4): a member of a classic group is alive.
//!
//! - v1: throttle time.
//! - v2: throttled answers are sent before muting.
//! - v3: static members (KIP-345).
//! - v4: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 12, versions = "0-4", flexible = "4+", response = HeartbeatResponse)]
pub struct HeartbeatRequest {
    pub group_id: Text,
    pub generation_id: i32,
    pub member_id: Text,
    #[field(versions = "3+", nullable = "3+", default = None)]
    pub group_instance_id: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 12, versions = "0-4", flexible = "4+")]
pub struct HeartbeatResponse {
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
}
