//! Values of the control records in the metadata log (no key, version 0): LeaderChangeMessage,
//! SnapshotHeaderRecord, SnapshotFooterRecord, KRaftVersionRecord, VotersRecord.
//!
//! No version stands before the body. Each begins with a field `version`, which Kafka writes as 0,
//! and the body is encoded in version 0 too. IMPORTANT: LeaderChangeMessage knows a version 1, but
//! Apache nodes neither write nor expect it: a log that holds one stops them.
//!
//! - LeaderChangeMessage v1: directory ids of the voters (KIP-853).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0-1", flexible = "0+")]
pub struct LeaderChangeMessage {
    pub version: i16,
    pub leader_id: i32,
    pub voters: Vec<LeaderChangeVoter>,
    pub granting_voters: Vec<LeaderChangeVoter>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct LeaderChangeVoter {
    pub voter_id: i32,
    #[field(versions = "1+")]
    pub voter_directory_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0", flexible = "0+")]
pub struct SnapshotHeaderRecord {
    pub version: i16,
    pub last_contained_log_timestamp: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0", flexible = "0+")]
pub struct SnapshotFooterRecord {
    pub version: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0", flexible = "0+")]
pub struct KRaftVersionRecord {
    pub version: i16,
    pub kraft_version: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(value, versions = "0", flexible = "0+")]
pub struct VotersRecord {
    pub version: i16,
    pub voters: Vec<VotersRecordVoter>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VotersRecordVoter {
    pub voter_id: i32,
    pub voter_directory_id: Uuid,
    pub endpoints: Vec<VotersRecordEndpoint>,
    pub kraft_version_feature: VotersRecordKRaftVersionFeature,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VotersRecordEndpoint {
    pub name: Text,
    pub host: Text,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct VotersRecordKRaftVersionFeature {
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}
