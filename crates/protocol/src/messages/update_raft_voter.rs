//! UpdateRaftVoter (key 82, version 0): a voter tells its addresses and the quorum versions it can
//! speak (KIP-853).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 82, versions = "0", flexible = "0+", response = UpdateRaftVoterResponse)]
pub struct UpdateRaftVoterRequest {
    #[field(nullable = "0+")]
    pub cluster_id: Option<Text>,
    pub current_leader_epoch: i32,
    pub voter_id: i32,
    pub voter_directory_id: Uuid,
    pub listeners: Vec<UpdateRaftVoterListener>,
    pub kraft_version_feature: UpdateRaftVoterKRaftVersionFeature,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 82, versions = "0", flexible = "0+")]
pub struct UpdateRaftVoterResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(tag = 0)]
    pub current_leader: UpdateRaftVoterCurrentLeader,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct UpdateRaftVoterListener {
    pub name: Text,
    pub host: Text,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct UpdateRaftVoterKRaftVersionFeature {
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct UpdateRaftVoterCurrentLeader {
    #[field(default = -1)]
    pub leader_id: i32,
    #[field(default = -1)]
    pub leader_epoch: i32,
    pub host: Text,
    pub port: i32,
}
