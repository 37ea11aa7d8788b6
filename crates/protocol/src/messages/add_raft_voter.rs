//! AddRaftVoter (key 80, versions 0-1): make an observer of the metadata quorum a voter (KIP-853).
//!
//! - v1: the answer may be asked for before the change is committed.

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 80, versions = "0-1", flexible = "0+", response = AddRaftVoterResponse)]
pub struct AddRaftVoterRequest {
    #[field(nullable = "0+")]
    pub cluster_id: Option<Text>,
    pub timeout_ms: i32,
    pub voter_id: i32,
    pub voter_directory_id: Uuid,
    pub listeners: Vec<AddRaftVoterListener>,
    #[field(versions = "1+", default = true)]
    pub ack_when_committed: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 80, versions = "0-1", flexible = "0+")]
pub struct AddRaftVoterResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+", ignorable)]
    pub error_message: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AddRaftVoterListener {
    pub name: Text,
    pub host: Text,
    pub port: u16,
}
