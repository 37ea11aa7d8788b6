//! ListGroups (key 16, versions 0-5): the groups that this broker coordinates.
//!
//! - v1: throttle time.
//! - v2: throttled answers are sent before muting.
//! - v3: flexible.
//! - v4: filter by state (KIP-518).
//! - v5: filter by type (KIP-848).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 16, versions = "0-5", flexible = "3+", response = ListGroupsResponse)]
pub struct ListGroupsRequest {
    #[field(versions = "4+")]
    pub states_filter: Vec<Text>,
    #[field(versions = "5+")]
    pub types_filter: Vec<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 16, versions = "0-5", flexible = "3+")]
pub struct ListGroupsResponse {
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub groups: Vec<ListedGroup>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ListedGroup {
    pub group_id: Text,
    pub protocol_type: Text,
    #[field(versions = "4+", ignorable)]
    pub group_state: Text,
    #[field(versions = "5+", ignorable)]
    pub group_type: Text,
}
