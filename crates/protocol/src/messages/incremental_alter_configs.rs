//! IncrementalAlterConfigs (key 44, versions 0-1): change single settings of a resource and leave
//! the others (KIP-339).
//!
//! - v1: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 44, versions = "0-1", flexible = "1+", response = IncrementalAlterConfigsResponse)]
pub struct IncrementalAlterConfigsRequest {
    pub resources: Vec<IncrementalAlterConfigsResource>,
    pub validate_only: bool,
}

/// What happens to a setting.
impl IncrementalAlterConfigsRequest {
    pub const SET: i8 = 0;
    pub const DELETE: i8 = 1;
    pub const APPEND: i8 = 2;
    pub const SUBTRACT: i8 = 3;
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 44, versions = "0-1", flexible = "1+")]
pub struct IncrementalAlterConfigsResponse {
    pub throttle_time_ms: i32,
    pub responses: Vec<IncrementalAlterConfigsResourceResponse>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct IncrementalAlterConfigsResource {
    pub resource_type: i8,
    pub resource_name: Text,
    pub configs: Vec<IncrementalAlterableConfig>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct IncrementalAlterableConfig {
    pub name: Text,
    /// 0 set, 1 delete, 2 append, 3 subtract.
    pub config_operation: i8,
    #[field(nullable = "0+")]
    pub value: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct IncrementalAlterConfigsResourceResponse {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub resource_type: i8,
    pub resource_name: Text,
}
