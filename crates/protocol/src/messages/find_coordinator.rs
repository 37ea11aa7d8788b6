//! FindCoordinator (key 10, versions 0-6): which broker keeps a group, a transactional id or a
//! share partition.
//!
//! - v1: key types other than groups; error message and throttle time.
//! - v2: throttled answers are sent before muting.
//! - v3: flexible.
//! - v4: several keys at once (KIP-699); the single key and its answer are gone.
//! - v5: TRANSACTION_ABORTABLE may be answered (KIP-890).
//! - v6: share partitions, keyed `group:topic id:partition` (KIP-932).

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 10, versions = "0-6", flexible = "3+", response = FindCoordinatorResponse)]
pub struct FindCoordinatorRequest {
    #[field(versions = "0-3")]
    pub key: Text,
    /// One of [`FindCoordinatorRequest::GROUP`] and its siblings.
    #[field(versions = "1+")]
    pub key_type: i8,
    #[field(versions = "4+")]
    pub coordinator_keys: Vec<Text>,
}

/// The kinds of key.
impl FindCoordinatorRequest {
    pub const GROUP: i8 = 0;
    pub const TRANSACTION: i8 = 1;
    pub const SHARE: i8 = 2;
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 10, versions = "0-6", flexible = "3+")]
pub struct FindCoordinatorResponse {
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    #[field(versions = "0-3")]
    pub error_code: i16,
    #[field(versions = "1-3", nullable = "1-3", ignorable)]
    pub error_message: Option<Text>,
    #[field(versions = "0-3")]
    pub node_id: i32,
    #[field(versions = "0-3")]
    pub host: Text,
    #[field(versions = "0-3")]
    pub port: i32,
    #[field(versions = "4+")]
    pub coordinators: Vec<Coordinator>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct Coordinator {
    pub key: Text,
    pub node_id: i32,
    pub host: Text,
    pub port: i32,
    pub error_code: i16,
    #[field(nullable = "0+", ignorable)]
    pub error_message: Option<Text>,
}
