//! JoinGroup (key 11, versions 0-9): enter a classic group and wait until its members are known.
//!
//! - v1: rebalance timeout of its own; in v0 the session timeout serves for both.
//! - v2: throttle time.
//! - v3: throttled answers are sent before muting.
//! - v4: a member without an id is told its id with MEMBER_ID_REQUIRED and must join again with it.
//! - v5: static members (KIP-345).
//! - v6: flexible.
//! - v7: the answer names the protocol type, and the protocol may be null (KIP-559).
//! - v8: a reason, for the log (KIP-800).
//! - v9: a rejoining static leader may be told to skip the assignment (KIP-814).

use bytes::Bytes;

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 11, versions = "0-9", flexible = "6+", response = JoinGroupResponse)]
pub struct JoinGroupRequest {
    pub group_id: Text,
    pub session_timeout_ms: i32,
    /// -1 takes the session timeout, as v0 does.
    #[field(versions = "1+", default = -1, ignorable)]
    pub rebalance_timeout_ms: i32,
    /// Empty on the first join.
    pub member_id: Text,
    #[field(versions = "5+", nullable = "5+", default = None)]
    pub group_instance_id: Option<Text>,
    pub protocol_type: Text,
    /// In the order of preference.
    pub protocols: Vec<JoinGroupRequestProtocol>,
    #[field(versions = "8+", nullable = "8+", default = None, ignorable)]
    pub reason: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 11, versions = "0-9", flexible = "6+")]
pub struct JoinGroupResponse {
    #[field(versions = "2+", ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(default = -1)]
    pub generation_id: i32,
    #[field(versions = "7+", nullable = "7+", default = None, ignorable)]
    pub protocol_type: Option<Text>,
    #[field(nullable = "7+")]
    pub protocol_name: Option<Text>,
    pub leader: Text,
    #[field(versions = "9+")]
    pub skip_assignment: bool,
    pub member_id: Text,
    /// Filled for the leader only.
    pub members: Vec<JoinGroupResponseMember>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct JoinGroupRequestProtocol {
    pub name: Text,
    pub metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct JoinGroupResponseMember {
    pub member_id: Text,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub group_instance_id: Option<Text>,
    pub metadata: Bytes,
}
