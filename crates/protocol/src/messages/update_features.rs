//! UpdateFeatures (key 57, versions 0-2): raise or lower finalized feature levels (KIP-584).
//!
//! - v1: only validate; upgrade, safe and unsafe downgrade are told apart (KIP-778).
//! - v2: the answer has no results for each feature: one refusal refuses all.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 57, versions = "0-2", flexible = "0+", response = UpdateFeaturesResponse)]
pub struct UpdateFeaturesRequest {
    #[field(default = 60000)]
    pub timeout_ms: i32,
    pub feature_updates: Vec<FeatureUpdateKey>,
    #[field(versions = "1+")]
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 57, versions = "0-2", flexible = "0+")]
pub struct UpdateFeaturesResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
    #[field(versions = "0-1", ignorable)]
    pub results: Vec<UpdatableFeatureResult>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct FeatureUpdateKey {
    pub feature: Text,
    pub max_version_level: i16,
    #[field(versions = "0")]
    pub allow_downgrade: bool,
    #[field(versions = "1+", default = 1)]
    pub upgrade_type: i8,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct UpdatableFeatureResult {
    pub feature: Text,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}
