//! DescribeUserScramCredentials (key 50, version 0): which users have which SCRAM mechanisms
//! (KIP-554).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 50, versions = "0", flexible = "0+", response = DescribeUserScramCredentialsResponse)]
pub struct DescribeUserScramCredentialsRequest {
    #[field(nullable = "0+")]
    pub users: Option<Vec<DescribeUserScramCredentialsUserName>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 50, versions = "0", flexible = "0+")]
pub struct DescribeUserScramCredentialsResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub results: Vec<DescribeUserScramCredentialsResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeUserScramCredentialsUserName {
    pub name: Text,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeUserScramCredentialsResult {
    pub user: Text,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    pub credential_infos: Vec<DescribeUserScramCredentialsCredentialInfo>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct DescribeUserScramCredentialsCredentialInfo {
    pub mechanism: i8,
    pub iterations: i32,
}
