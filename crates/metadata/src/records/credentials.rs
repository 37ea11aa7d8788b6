//! SCRAM users and delegation tokens.

use bytes::Bytes;
use ottla_protocol::{Message, Text};

/// Mechanism 1 is SCRAM-SHA-256, 2 is SCRAM-SHA-512.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 11, versions = "0", flexible = "0+")]
pub struct UserScramCredentialRecord {
    pub name: Text,
    pub mechanism: i8,
    pub salt: Bytes,
    pub stored_key: Bytes,
    pub server_key: Bytes,
    pub iterations: i32,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 22, versions = "0", flexible = "0+")]
pub struct RemoveUserScramCredentialRecord {
    pub name: Text,
    pub mechanism: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 10, versions = "0", flexible = "0+")]
pub struct DelegationTokenRecord {
    pub owner: Text,
    pub requester: Text,
    pub renewers: Vec<Text>,
    pub issue_timestamp: i64,
    pub max_timestamp: i64,
    pub expiration_timestamp: i64,
    pub token_id: Text,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 26, versions = "0", flexible = "0+")]
pub struct RemoveDelegationTokenRecord {
    pub token_id: Text,
}
