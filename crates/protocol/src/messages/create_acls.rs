//! CreateAcls (key 30, versions 1-3): add ACLs.
//!
//! - v1: the lowest served: pattern types.
//! - v2: flexible.
//! - v3: ACLs on users.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 30, versions = "1-3", flexible = "2+", response = CreateAclsResponse)]
pub struct CreateAclsRequest {
    pub creations: Vec<AclCreation>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 30, versions = "1-3", flexible = "2+")]
pub struct CreateAclsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<AclCreationResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AclCreation {
    pub resource_type: i8,
    pub resource_name: Text,
    #[field(default = 3)]
    pub resource_pattern_type: i8,
    pub principal: Text,
    pub host: Text,
    pub operation: i8,
    pub permission_type: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AclCreationResult {
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}
