//! AlterUserScramCredentials (key 51, version 0): set and remove SCRAM credentials; the password
//! itself never travels (KIP-554).

use bytes::Bytes;

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 51, versions = "0", flexible = "0+", response = AlterUserScramCredentialsResponse)]
pub struct AlterUserScramCredentialsRequest {
    pub deletions: Vec<ScramCredentialDeletion>,
    pub upsertions: Vec<ScramCredentialUpsertion>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 51, versions = "0", flexible = "0+")]
pub struct AlterUserScramCredentialsResponse {
    pub throttle_time_ms: i32,
    pub results: Vec<AlterUserScramCredentialsResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ScramCredentialDeletion {
    pub name: Text,
    pub mechanism: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ScramCredentialUpsertion {
    pub name: Text,
    pub mechanism: i8,
    pub iterations: i32,
    pub salt: Bytes,
    pub salted_password: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct AlterUserScramCredentialsResult {
    pub user: Text,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}
