//! DescribeClientQuotas (key 48, versions 0-1): quotas by user, client id and address (KIP-546).
//!
//! - v1: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 48, versions = "0-1", flexible = "1+", response = DescribeClientQuotasResponse)]
pub struct DescribeClientQuotasRequest {
    pub components: Vec<DescribeClientQuotasComponentData>,
    pub strict: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 48, versions = "0-1", flexible = "1+")]
pub struct DescribeClientQuotasResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    #[field(nullable = "0+")]
    pub entries: Option<Vec<DescribeClientQuotasEntryData>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeClientQuotasComponentData {
    pub entity_type: Text,
    pub match_type: i8,
    #[field(nullable = "0+")]
    pub r#match: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeClientQuotasEntryData {
    pub entity: Vec<DescribeClientQuotasEntityData>,
    pub values: Vec<DescribeClientQuotasValueData>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeClientQuotasEntityData {
    pub entity_type: Text,
    #[field(nullable = "0+")]
    pub entity_name: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeClientQuotasValueData {
    pub key: Text,
    pub value: f64,
}
