//! FetchSnapshot (key 59, versions 0-1): a piece of a metadata snapshot (KIP-630).
//!
//! - v1: directory id of the asker; the leader's address (KIP-853).

use bytes::Bytes;

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 59, versions = "0-1", flexible = "0+", response = FetchSnapshotResponse)]
pub struct FetchSnapshotRequest {
    #[field(nullable = "0+", default = None, tag = 0)]
    pub cluster_id: Option<Text>,
    #[field(default = -1)]
    pub replica_id: i32,
    #[field(default = i32::MAX)]
    pub max_bytes: i32,
    pub topics: Vec<FetchSnapshotRequestTopicSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 59, versions = "0-1", flexible = "0+")]
pub struct FetchSnapshotResponse {
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub topics: Vec<FetchSnapshotResponseTopicSnapshot>,
    #[field(versions = "1+", tag = 0)]
    pub node_endpoints: Vec<FetchSnapshotNodeEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotRequestTopicSnapshot {
    pub name: Text,
    pub partitions: Vec<FetchSnapshotRequestPartitionSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotRequestPartitionSnapshot {
    pub partition: i32,
    pub current_leader_epoch: i32,
    pub snapshot_id: FetchSnapshotSnapshotId,
    pub position: i64,
    #[field(versions = "1+", tag = 0, ignorable)]
    pub replica_directory_id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotSnapshotId {
    pub end_offset: i64,
    pub epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotResponseTopicSnapshot {
    pub name: Text,
    pub partitions: Vec<FetchSnapshotResponsePartitionSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotResponsePartitionSnapshot {
    pub index: i32,
    pub error_code: i16,
    pub snapshot_id: FetchSnapshotSnapshotId,
    #[field(tag = 0)]
    pub current_leader: FetchSnapshotLeaderIdAndEpoch,
    pub size: i64,
    pub position: i64,
    pub unaligned_records: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotLeaderIdAndEpoch {
    pub leader_id: i32,
    pub leader_epoch: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FetchSnapshotNodeEndpoint {
    pub node_id: i32,
    pub host: Text,
    pub port: u16,
}
