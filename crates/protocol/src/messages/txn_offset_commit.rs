//! TxnOffsetCommit (key 28, versions 0-5): commit offsets of a group as part of a transaction.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: leader epoch of the committed record.
//! - v3: flexible; the member is checked as in OffsetCommit (KIP-447).
//! - v4: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - v5: joins the transaction by itself, without AddOffsetsToTxn (KIP-890).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 28, versions = "0-5", flexible = "3+", response = TxnOffsetCommitResponse)]
pub struct TxnOffsetCommitRequest {
    pub transactional_id: Text,
    pub group_id: Text,
    pub producer_id: i64,
    pub producer_epoch: i16,
    #[field(versions = "3+", default = -1)]
    pub generation_id: i32,
    #[field(versions = "3+")]
    pub member_id: Text,
    #[field(versions = "3+", nullable = "3+", default = None)]
    pub group_instance_id: Option<Text>,
    pub topics: Vec<TxnOffsetCommitRequestTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 28, versions = "0-5", flexible = "3+")]
pub struct TxnOffsetCommitResponse {
    pub throttle_time_ms: i32,
    pub topics: Vec<TxnOffsetCommitResponseTopic>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct TxnOffsetCommitRequestTopic {
    pub name: Text,
    pub partitions: Vec<TxnOffsetCommitRequestPartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct TxnOffsetCommitRequestPartition {
    pub partition_index: i32,
    pub committed_offset: i64,
    #[field(versions = "2+", default = -1, ignorable)]
    pub committed_leader_epoch: i32,
    #[field(nullable = "0+")]
    pub committed_metadata: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct TxnOffsetCommitResponseTopic {
    pub name: Text,
    pub partitions: Vec<TxnOffsetCommitResponsePartition>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct TxnOffsetCommitResponsePartition {
    pub partition_index: i32,
    pub error_code: i16,
}
