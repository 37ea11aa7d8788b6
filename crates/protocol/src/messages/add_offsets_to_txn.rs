//! AddOffsetsToTxn (key 25, versions 0-4): the offsets of a group join an open transaction.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: PRODUCER_FENCED may be answered.
//! - v3: flexible.
//! - v4: TRANSACTION_ABORTABLE may be answered (KIP-890).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 25, versions = "0-4", flexible = "3+", response = AddOffsetsToTxnResponse)]
pub struct AddOffsetsToTxnRequest {
    pub transactional_id: Text,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub group_id: Text,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 25, versions = "0-4", flexible = "3+")]
pub struct AddOffsetsToTxnResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
}
