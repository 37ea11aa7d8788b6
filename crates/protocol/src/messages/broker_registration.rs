//! BrokerRegistration (key 62, versions 0-4): a starting broker makes itself known to the
//! controller and gets its epoch.
//!
//! - v1: whether it still is a broker of the ZooKeeper kind.
//! - v2: its log directories (KIP-858).
//! - v3: its previous epoch, which proves a clean shutdown (KIP-966).
//! - v4: a supported feature may have 0 as its lowest level.

use crate::{Message, Text, Uuid};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 62, versions = "0-4", flexible = "0+", response = BrokerRegistrationResponse)]
pub struct BrokerRegistrationRequest {
    pub broker_id: i32,
    pub cluster_id: Text,
    pub incarnation_id: Uuid,
    pub listeners: Vec<BrokerRegistrationListener>,
    pub features: Vec<BrokerRegistrationFeature>,
    #[field(nullable = "0+")]
    pub rack: Option<Text>,
    #[field(versions = "1+")]
    pub is_migrating_zk_broker: bool,
    #[field(versions = "2+", ignorable)]
    pub log_dirs: Vec<Uuid>,
    #[field(versions = "3+", default = -1, ignorable)]
    pub previous_broker_epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 62, versions = "0-4", flexible = "0+")]
pub struct BrokerRegistrationResponse {
    pub throttle_time_ms: i32,
    pub error_code: i16,
    #[field(default = -1)]
    pub broker_epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BrokerRegistrationListener {
    pub name: Text,
    pub host: Text,
    pub port: u16,
    pub security_protocol: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BrokerRegistrationFeature {
    pub name: Text,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}
