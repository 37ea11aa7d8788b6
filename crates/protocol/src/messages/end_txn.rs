//! EndTxn (key 26, versions 0-5): commit or abort a transaction.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: PRODUCER_FENCED may be answered.
//! - v3: flexible.
//! - v4: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - v5: each transaction ends with a new epoch, which the answer tells (KIP-890).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 26, versions = "0-5", flexible = "3+", response = EndTxnResponse)]
pub struct EndTxnRequest {
    pub transactional_id: Text,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub committed: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 26, versions = "0-5", flexible = "3+")]
pub struct EndTxnResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(versions = "5+", default = -1, ignorable)]
    pub producer_id: i64,
    #[field(versions = "5+", default = -1, ignorable)]
    pub producer_epoch: i16,
}
