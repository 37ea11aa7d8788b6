//! RemoveRaftVoter (key 81, version 0): take a voter out of the metadata quorum (KIP-853).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 81, versions = "0", flexible = "0+", response = RemoveRaftVoterResponse)]
pub struct RemoveRaftVoterRequest {
    #[field(nullable = "0+")]
    pub cluster_id: Option<Text>,
    pub voter_id: i32,
    pub voter_directory_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 81, versions = "0", flexible = "0+")]
pub struct RemoveRaftVoterResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+", ignorable)]
    pub error_message: Option<Text>,
}
