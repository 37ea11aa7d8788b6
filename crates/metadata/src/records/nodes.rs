//! Brokers and controllers: registration, fencing, leaving.

use ottla_protocol::{Message, NodeId, Text, Uuid};

/// A broker's whole registration.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 0, versions = "0-4", flexible = "0+")]
pub struct RegisterBrokerRecord {
    pub broker_id: NodeId,
    #[field(versions = "2+")]
    pub is_migrating_zk_broker: bool,
    pub incarnation_id: Uuid,
    pub broker_epoch: i64,
    pub end_points: Vec<BrokerEndpoint>,
    pub features: Vec<BrokerFeature>,
    #[field(nullable = "0+")]
    pub rack: Option<Text>,
    #[field(default = true)]
    pub fenced: bool,
    #[field(versions = "1+")]
    pub in_controlled_shutdown: bool,
    #[field(versions = "3+", tag = 0)]
    pub log_dirs: Vec<Uuid>,
    #[field(versions = "4+", nullable = "4+", tag = 1, default = None)]
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BrokerEndpoint {
    pub name: Text,
    pub host: Text,
    pub port: u16,
    pub security_protocol: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct BrokerFeature {
    pub name: Text,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 1, versions = "0", flexible = "0+")]
pub struct UnregisterBrokerRecord {
    pub broker_id: NodeId,
    pub broker_epoch: i64,
}

/// What changed in a registration. Zero, empty and null mean "as before".
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 17, versions = "0-3", flexible = "0+")]
pub struct BrokerRegistrationChangeRecord {
    pub broker_id: NodeId,
    pub broker_epoch: i64,
    /// 1 fences, -1 unfences.
    #[field(tag = 0)]
    pub fenced: i8,
    /// 1 enters.
    #[field(versions = "1+", tag = 1)]
    pub in_controlled_shutdown: i8,
    #[field(versions = "2+", tag = 2)]
    pub log_dirs: Vec<Uuid>,
    #[field(versions = "3+", nullable = "3+", tag = 3, default = None)]
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
}

/// How a broker was fenced before metadata.version 6.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 7, versions = "0", flexible = "0+")]
pub struct FenceBrokerRecord {
    pub id: NodeId,
    pub epoch: i64,
}

/// How a broker was unfenced before metadata.version 6.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 8, versions = "0", flexible = "0+")]
pub struct UnfenceBrokerRecord {
    pub id: NodeId,
    pub epoch: i64,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 27, versions = "0", flexible = "0+")]
pub struct RegisterControllerRecord {
    pub controller_id: NodeId,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub end_points: Vec<ControllerEndpoint>,
    pub features: Vec<ControllerFeature>,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ControllerEndpoint {
    pub name: Text,
    pub host: Text,
    pub port: u16,
    pub security_protocol: i16,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct ControllerFeature {
    pub name: Text,
    pub min_supported_version: i16,
    pub max_supported_version: i16,
}
