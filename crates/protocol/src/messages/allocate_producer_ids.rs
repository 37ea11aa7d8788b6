//! AllocateProducerIds (key 67, version 0): a broker asks the controller for a block of producer
//! ids (KIP-730).

use crate::Message;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 67, versions = "0", flexible = "0+", response = AllocateProducerIdsResponse)]
pub struct AllocateProducerIdsRequest {
    pub broker_id: i32,
    #[field(default = -1)]
    pub broker_epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 67, versions = "0", flexible = "0+")]
pub struct AllocateProducerIdsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub producer_id_start: i64,
    pub producer_id_len: i32,
}
