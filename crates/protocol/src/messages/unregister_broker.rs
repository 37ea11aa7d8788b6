//! UnregisterBroker (key 64, version 0): forget a broker that will not come back.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 64, versions = "0", flexible = "0+", response = UnregisterBrokerResponse)]
pub struct UnregisterBrokerRequest {
    pub broker_id: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 64, versions = "0", flexible = "0+")]
pub struct UnregisterBrokerResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}
