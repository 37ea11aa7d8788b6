//! ControllerRegistration (key 70, version 0): a controller tells the active one its listeners and
//! features (KIP-919).

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 70, versions = "0", flexible = "0+", response = ControllerRegistrationResponse)]
pub struct ControllerRegistrationRequest {
    pub controller_id: i32,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub listeners: Vec<ControllerRegistrationListener>,
    pub features: Vec<ControllerRegistrationFeature>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 70, versions = "0", flexible = "0+")]
pub struct ControllerRegistrationResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(nullable = "0+")]
    pub error_message: Option<Text>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ControllerRegistrationListener {
    pub name: Text,
    pub host: Text,
    pub port: u16,
    pub security_protocol: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ControllerRegistrationFeature {
    pub name: Text,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}
