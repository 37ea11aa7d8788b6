//! DeleteGroups (key 42, versions 0-2): remove groups without members, and their offsets.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 42, versions = "0-2", flexible = "2+", response = DeleteGroupsResponse)]
pub struct DeleteGroupsRequest {
    pub groups_names: Vec<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 42, versions = "0-2", flexible = "2+")]
pub struct DeleteGroupsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<DeletableGroupResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeletableGroupResult {
    pub group_id: Text,
    pub error_code: i16,
}
