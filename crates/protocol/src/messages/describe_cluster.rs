//! DescribeCluster (key 60, versions 0-2): cluster id, nodes and who controls (KIP-700).
//!
//! - v1: brokers or controllers; MISMATCHED_ENDPOINT_TYPE and UNSUPPORTED_ENDPOINT_TYPE may be
//!   answered (KIP-919).
//! - v2: fenced brokers on request (KIP-1073).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 60, versions = "0-2", flexible = "0+", response = DescribeClusterResponse)]
pub struct DescribeClusterRequest {
    pub include_cluster_authorized_operations: bool,
    /// 1 brokers, 2 controllers.
    #[field(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    #[field(versions = "2+")]
    pub include_fenced_brokers: bool,
}

/// The kinds of endpoint.
impl DescribeClusterRequest {
    pub const BROKERS: i8 = 1;
    pub const CONTROLLERS: i8 = 2;
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 60, versions = "0-2", flexible = "0+")]
pub struct DescribeClusterResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+", default = None)]
    pub error_message: Option<Text>,
    #[field(versions = "1+", default = 1)]
    pub endpoint_type: i8,
    pub cluster_id: Text,
    #[field(default = -1)]
    pub controller_id: i32,
    pub brokers: Vec<DescribeClusterBroker>,
    #[field(default = i32::MIN)]
    pub cluster_authorized_operations: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeClusterBroker {
    pub broker_id: i32,
    pub host: Text,
    pub port: i32,
    #[field(nullable = "0+", default = None)]
    pub rack: Option<Text>,
    #[field(versions = "2+")]
    pub is_fenced: bool,
}
