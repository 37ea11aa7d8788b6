//! SyncGroup (key 14, versions 0-5): the leader hands in the assignment, every member takes its own
//! part.
//!
//! - v1: throttle time.
//! - v2: throttled answers are sent before muting.
//! - v3: static members (KIP-345).
//! - v4: flexible.
//! - v5: protocol type and name, checked by the coordinator and echoed (KIP-559).

use bytes::Bytes;

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 14, versions = "0-5", flexible = "4+", response = SyncGroupResponse)]
pub struct SyncGroupRequest {
    pub group_id: Text,
    pub generation_id: i32,
    pub member_id: Text,
    #[field(versions = "3+", nullable = "3+", default = None)]
    pub group_instance_id: Option<Text>,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub protocol_type: Option<Text>,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub protocol_name: Option<Text>,
    /// Filled by the leader only.
    pub assignments: Vec<SyncGroupRequestAssignment>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 14, versions = "0-5", flexible = "4+")]
pub struct SyncGroupResponse {
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub protocol_type: Option<Text>,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub protocol_name: Option<Text>,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct SyncGroupRequestAssignment {
    pub member_id: Text,
    pub assignment: Bytes,
}
