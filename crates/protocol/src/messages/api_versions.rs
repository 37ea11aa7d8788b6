//! ApiVersions (key 18, versions 0-4): which APIs and versions the other side serves; the first
//! request of every connection.
//!
//! - v1: the answer carries the throttle time.
//! - v2: throttled answers are sent first and the connection is muted afterwards.
//! - v3: flexible; the client names its software; the answer lists features.
//! - v4: a supported feature may have 0 as its lowest level; older versions must leave such
//!   features out.
//!
//! The response header stays at v0 in every version, so that a client that asked with a version we
//! do not know can still read the answer: body v0 with error 35 and our own ApiVersions range.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 18, versions = "0-4", flexible = "3+", response = ApiVersionsResponse)]
pub struct ApiVersionsRequest {
    #[field(versions = "3+", ignorable)]
    pub client_software_name: Text,
    #[field(versions = "3+", ignorable)]
    pub client_software_version: Text,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 18, versions = "0-4", flexible = "3+")]
pub struct ApiVersionsResponse {
    pub error_code: i16,
    pub api_keys: Vec<ApiVersion>,
    #[field(versions = "1+", ignorable)]
    pub throttle_time_ms: i32,
    #[field(versions = "3+", tag = 0, ignorable)]
    pub supported_features: Vec<SupportedFeatureKey>,
    #[field(versions = "3+", default = -1, tag = 1, ignorable)]
    pub finalized_features_epoch: i64,
    #[field(versions = "3+", tag = 2, ignorable)]
    pub finalized_features: Vec<FinalizedFeatureKey>,
    #[field(versions = "3+", tag = 3, ignorable)]
    pub zk_migration_ready: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ApiVersion {
    pub api_key: i16,
    pub min_version: i16,
    pub max_version: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct SupportedFeatureKey {
    pub name: Text,
    pub min_version: i16,
    pub max_version: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FinalizedFeatureKey {
    pub name: Text,
    pub max_version_level: i16,
    pub min_version_level: i16,
}
