//! AlterConfigs (key 33, versions 0-2): replace all settings of a resource; what is not named goes
//! back to its default.
//!
//! - v1: throttled answers are sent before muting.
//! - v2: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 33, versions = "0-2", flexible = "2+", response = AlterConfigsResponse)]
pub struct AlterConfigsRequest {
    pub resources: Vec<AlterConfigsResource>,
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 33, versions = "0-2", flexible = "2+")]
pub struct AlterConfigsResponse {
    pub throttle_time_ms: i32,
    pub responses: Vec<AlterConfigsResourceResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterConfigsResource {
    pub resource_type: i8,
    pub resource_name: Text,
    pub configs: Vec<AlterableConfig>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterableConfig {
    pub name: Text,
    /// `None` sets the default.
    #[field(nullable = "0+")]
    pub value: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterConfigsResourceResponse {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub resource_type: i8,
    pub resource_name: Text,
}
