//! LeaveGroup (key 13, versions 0-5): members leave a classic group.
//!
//! - v1: throttle time.
//! - v2: throttled answers are sent before muting.
//! - v3: several members at once, by member id or instance id, each with an answer of its own.
//! - v4: flexible.
//! - v5: a reason, for the log (KIP-800).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 13, versions = "0-5", flexible = "4+", response = LeaveGroupResponse)]
pub struct LeaveGroupRequest {
    pub group_id: Text,
    /// The only member that leaves, up to v2.
    #[field(versions = "0-2")]
    pub member_id: Text,
    #[field(versions = "3+")]
    pub members: Vec<MemberIdentity>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 13, versions = "0-5", flexible = "4+")]
pub struct LeaveGroupResponse {
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(versions = "3+")]
    pub members: Vec<MemberResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MemberIdentity {
    pub member_id: Text,
    #[field(nullable = "0+", default = None)]
    pub group_instance_id: Option<Text>,
    #[field(versions = "5+", nullable = "5+", default = None, ignorable)]
    pub reason: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct MemberResponse {
    pub member_id: Text,
    #[field(nullable = "0+")]
    pub group_instance_id: Option<Text>,
    pub error_code: i16,
}
