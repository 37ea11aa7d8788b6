//! AlterClientQuotas (key 49, versions 0-1): set and remove quotas (KIP-546).
//!
//! - v1: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 49, versions = "0-1", flexible = "1+", response = AlterClientQuotasResponse)]
pub struct AlterClientQuotasRequest {
    pub entries: Vec<AlterClientQuotasRequestEntryData>,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 49, versions = "0-1", flexible = "1+")]
pub struct AlterClientQuotasResponse {
    pub throttle_time_ms: i32,
    pub entries: Vec<AlterClientQuotasResponseEntryData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterClientQuotasRequestEntryData {
    pub entity: Vec<AlterClientQuotasEntityData>,
    pub ops: Vec<AlterClientQuotasOpData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterClientQuotasEntityData {
    pub entity_type: Text,
    #[field(nullable = "0+")]
    pub entity_name: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterClientQuotasOpData {
    pub key: Text,
    pub value: f64,
    pub remove: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterClientQuotasResponseEntryData {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub entity: Vec<AlterClientQuotasEntityData>,
}
