//! DeleteAcls (key 31, versions 1-3): remove the ACLs that match filters.
//!
//! - v1: the lowest served: pattern types.
//! - v2: flexible.
//! - v3: ACLs on users.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 31, versions = "1-3", flexible = "2+", response = DeleteAclsResponse)]
pub struct DeleteAclsRequest {
    pub filters: Vec<DeleteAclsFilter>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 31, versions = "1-3", flexible = "2+")]
pub struct DeleteAclsResponse {
    pub throttle_time_ms: i32,
    pub filter_results: Vec<DeleteAclsFilterResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteAclsFilter {
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
#[message(part)]
pub struct DeleteAclsFilterResult {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub matching_acls: Vec<DeleteAclsMatchingAcl>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DeleteAclsMatchingAcl {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub resource_type: i8,
    pub resource_name: Text,
    #[field(default = 3)]
    pub pattern_type: i8,
    pub principal: Text,
    pub host: Text,
    pub operation: i8,
    pub permission_type: i8,
}
