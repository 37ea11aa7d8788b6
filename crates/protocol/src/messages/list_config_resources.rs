//! ListConfigResources (key 74, versions 0-1): which resources have settings of their own.
//!
//! - v0: only metric subscriptions; the API was called ListClientMetricsResources then.
//! - v1: all kinds, or those asked for (KIP-1142).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 74, versions = "0-1", flexible = "0+", response = ListConfigResourcesResponse)]
pub struct ListConfigResourcesRequest {
    /// Empty asks for all kinds.
    #[field(versions = "1+")]
    pub resource_types: Vec<i8>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 74, versions = "0-1", flexible = "0+")]
pub struct ListConfigResourcesResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    pub config_resources: Vec<ConfigResource>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ConfigResource {
    pub resource_name: Text,
    #[field(versions = "1+", default = 16, ignorable)]
    pub resource_type: i8,
}
