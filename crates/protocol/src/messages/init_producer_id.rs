//! InitProducerId (key 22, versions 0-5): a producer gets its id and epoch.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: flexible.
//! - v3: a producer that already has an id hands it in and gets a new epoch (KIP-360).
//! - v4: PRODUCER_FENCED may be answered.
//! - v5: TRANSACTION_ABORTABLE may be answered (KIP-890).
//!
//! v6 (two-phase commit, KIP-939) exists in Kafka 4.3 but is not stable there; it is left out.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 22, versions = "0-5", flexible = "2+", response = InitProducerIdResponse)]
pub struct InitProducerIdRequest {
    /// `None` for a producer that is only idempotent.
    #[field(nullable = "0+")]
    pub transactional_id: Option<Text>,
    pub transaction_timeout_ms: i32,
    #[field(versions = "3+", default = -1)]
    pub producer_id: i64,
    #[field(versions = "3+", default = -1)]
    pub producer_epoch: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 22, versions = "0-5", flexible = "2+")]
pub struct InitProducerIdResponse {
    #[field(ignorable)]
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(default = -1)]
    pub producer_id: i64,
    pub producer_epoch: i16,
}
