//! DescribeConfigs (key 32, versions 1-4): the settings of topics, brokers, loggers, groups and
//! metric subscriptions.
//!
//! - v1: the lowest served: where a value comes from, and its synonyms.
//! - v2: throttled answers are sent before muting.
//! - v3: type and documentation of each setting.
//! - v4: flexible.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 32, versions = "1-4", flexible = "4+", response = DescribeConfigsResponse)]
pub struct DescribeConfigsRequest {
    pub resources: Vec<DescribeConfigsResource>,
    pub include_synonyms: bool,
    #[field(versions = "3+")]
    pub include_documentation: bool,
}

/// The kinds of resource that have settings, here and in the two requests that alter them.
impl DescribeConfigsRequest {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 32, versions = "1-4", flexible = "4+")]
pub struct DescribeConfigsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<DescribeConfigsResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeConfigsResource {
    pub resource_type: i8,
    pub resource_name: Text,
    /// `None` asks for all.
    #[field(nullable = "0+")]
    pub configuration_keys: Option<Vec<Text>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeConfigsResult {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub resource_type: i8,
    pub resource_name: Text,
    pub configs: Vec<DescribeConfigsResourceResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeConfigsResourceResult {
    pub name: Text,
    #[field(nullable = "0+")]
    pub value: Option<Text>,
    pub read_only: bool,
    /// 5 default, 4 static broker, 3 dynamic cluster default, 2 dynamic broker, 1 topic, 6 logger, 7 metric
    /// subscription, 8 group.
    #[field(default = -1, ignorable)]
    pub config_source: i8,
    pub is_sensitive: bool,
    #[field(ignorable)]
    pub synonyms: Vec<DescribeConfigsSynonym>,
    #[field(versions = "3+", ignorable)]
    pub config_type: i8,
    #[field(versions = "3+", nullable = "3+", ignorable)]
    pub documentation: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeConfigsSynonym {
    pub name: Text,
    #[field(nullable = "0+")]
    pub value: Option<Text>,
    pub source: i8,
}
