//! DescribeAcls (key 29, versions 1-3): the ACLs that match a filter.
//!
//! - v1: the lowest served: pattern types.
//! - v2: flexible.
//! - v3: ACLs on users.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 29, versions = "1-3", flexible = "2+", response = DescribeAclsResponse)]
pub struct DescribeAclsRequest {
    pub resource_type_filter: i8,
    #[field(nullable = "0+")]
    pub resource_name_filter: Option<Text>,
    #[field(default = 3)]
    pub pattern_type_filter: i8,
    #[field(nullable = "0+")]
    pub principal_filter: Option<Text>,
    #[field(nullable = "0+")]
    pub host_filter: Option<Text>,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 29, versions = "1-3", flexible = "2+")]
pub struct DescribeAclsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub resources: Vec<DescribeAclsResource>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeAclsResource {
    pub resource_type: i8,
    pub resource_name: Text,
    #[field(default = 3)]
    pub pattern_type: i8,
    pub acls: Vec<AclDescription>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AclDescription {
    pub principal: Text,
    pub host: Text,
    pub operation: i8,
    pub permission_type: i8,
}
