//! DescribeGroups (key 15, versions 0-6): state and members of classic groups.
//!
//! - v1: throttle time.
//! - v2: throttled answers are sent before muting.
//! - v3: authorized operations on request.
//! - v4: static members.
//! - v5: flexible.
//! - v6: an unknown group is GROUP_ID_NOT_FOUND with a message; before, it is a group in state
//!   `Dead` (KIP-1043).

use bytes::Bytes;

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 15, versions = "0-6", flexible = "5+", response = DescribeGroupsResponse)]
pub struct DescribeGroupsRequest {
    pub groups: Vec<Text>,
    #[field(versions = "3+")]
    pub include_authorized_operations: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 15, versions = "0-6", flexible = "5+")]
pub struct DescribeGroupsResponse {
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    pub groups: Vec<DescribedGroup>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribedGroup {
    pub error_code: i16,
    #[field(versions = "6+", nullable = "6+", default = None)]
    pub error_message: Option<Text>,
    pub group_id: Text,
    pub group_state: Text,
    pub protocol_type: Text,
    pub protocol_data: Text,
    pub members: Vec<DescribedGroupMember>,
    #[field(versions = "3+", default = i32::MIN)]
    pub authorized_operations: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribedGroupMember {
    pub member_id: Text,
    #[field(versions = "4+", nullable = "4+", default = None, ignorable)]
    pub group_instance_id: Option<Text>,
    pub client_id: Text,
    pub client_host: Text,
    pub member_metadata: Bytes,
    pub member_assignment: Bytes,
}
