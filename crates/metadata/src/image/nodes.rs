//! Who is registered, fenced, leaving.

use std::sync::Arc;

use imbl::OrdMap;
use ottla_protocol::{NodeId, Uuid};

use super::Corrupt;
use crate::records::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, ControllerEndpoint,
    ControllerFeature, MetadataVersion, Record, RegisterBrokerRecord, RegisterControllerRecord,
    UnregisterBrokerRecord,
};

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
    /// 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security_protocol: i16,
}

/// The levels of a feature that a node can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRange {
    pub name: Arc<str>,
    pub min: i16,
    pub max: i16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    pub id: NodeId,
    pub epoch: i64,
    /// Another with every start of the process.
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    /// In the order of their names.
    pub features: Vec<FeatureRange>,
    pub rack: Option<Arc<str>>,
    pub is_fenced: bool,
    pub is_in_controlled_shutdown: bool,
    pub is_migrating_zk_broker: bool,
    pub directories: Vec<Uuid>,
    pub cordoned_directories: Option<Vec<Uuid>>,
}

impl Broker {
    /// May lead partitions and be in their in-sync sets.
    pub fn is_active(&self) -> bool {
        !self.is_fenced && !self.is_in_controlled_shutdown
    }

    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| &*endpoint.listener == listener)
    }

    /// Whether a replica assigned to `directory` can be used here.
    pub fn has_online(&self, directory: Uuid) -> bool {
        use super::topics::directory::{LOST, MIGRATING, UNASSIGNED};
        match directory {
            UNASSIGNED | MIGRATING => true,
            LOST => false,
            id => self.directories.is_empty() || self.directories.contains(&id),
        }
    }

    fn to_record(&self, level: MetadataVersion) -> RegisterBrokerRecord {
        RegisterBrokerRecord {
            broker_id: self.id,
            is_migrating_zk_broker: self.is_migrating_zk_broker && level.level() >= 8,
            incarnation_id: self.incarnation_id,
            broker_epoch: self.epoch,
            end_points: self.endpoints.iter().map(broker_endpoint).collect(),
            features: self.features.iter().map(broker_feature).collect(),
            rack: self.rack.as_deref().map(Into::into),
            fenced: self.is_fenced,
            in_controlled_shutdown: self.is_in_controlled_shutdown,
            log_dirs: if level.has_directories() {
                self.directories.clone()
            } else {
                Vec::new()
            },
            cordoned_log_dirs: self
                .cordoned_directories
                .clone()
                .filter(|_| level.has_cordoned_directories()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerNode {
    pub id: NodeId,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    pub brokers: OrdMap<NodeId, Arc<Broker>>,
    pub controllers: OrdMap<NodeId, Arc<ControllerNode>>,
}

impl Nodes {
    pub fn broker(&self, id: NodeId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    pub(super) fn replay_broker(&mut self, record: &RegisterBrokerRecord) -> Result<(), Corrupt> {
        self.check_directories(record.broker_id, &record.log_dirs)?;
        let broker = Broker {
            id: record.broker_id,
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            endpoints: record
                .end_points
                .iter()
                .map(|end| endpoint(&end.name, &end.host, end.port, end.security_protocol))
                .collect(),
            features: by_name(record.features.iter().map(|range| FeatureRange {
                name: Arc::from(&*range.name),
                min: range.min_supported_version,
                max: range.max_supported_version,
            })),
            rack: record.rack.as_deref().map(Arc::from),
            is_fenced: record.fenced,
            is_in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            directories: record.log_dirs.clone(),
            cordoned_directories: record.cordoned_log_dirs.clone(),
        };
        self.brokers.insert(broker.id, Arc::new(broker));
        Ok(())
    }

    pub(super) fn replay_unregister(
        &mut self,
        record: &UnregisterBrokerRecord,
    ) -> Result<(), Corrupt> {
        self.registered(record.broker_id, record.broker_epoch)?;
        self.brokers.remove(&record.broker_id);
        Ok(())
    }

    pub(super) fn replay_change(
        &mut self,
        record: &BrokerRegistrationChangeRecord,
    ) -> Result<(), Corrupt> {
        let mut broker = self
            .registered(record.broker_id, record.broker_epoch)?
            .clone();
        match record.fenced {
            0 => {}
            1 => broker.is_fenced = true,
            -1 => broker.is_fenced = false,
            other => return Err(Corrupt::new(format!("fencing change {other}"))),
        }
        match record.in_controlled_shutdown {
            0 => {}
            1 => broker.is_in_controlled_shutdown = true,
            other => return Err(Corrupt::new(format!("controlled shutdown change {other}"))),
        }
        if !record.log_dirs.is_empty() {
            self.check_directories(record.broker_id, &record.log_dirs)?;
            broker.directories.clone_from(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_directories = Some(cordoned.clone());
        }
        self.brokers.insert(broker.id, Arc::new(broker));
        Ok(())
    }

    pub(super) fn replay_fencing(
        &mut self,
        id: NodeId,
        epoch: i64,
        is_fenced: bool,
    ) -> Result<(), Corrupt> {
        let mut broker = self.registered(id, epoch)?.clone();
        broker.is_fenced = is_fenced;
        self.brokers.insert(id, Arc::new(broker));
        Ok(())
    }

    pub(super) fn replay_controller(&mut self, record: &RegisterControllerRecord) {
        let controller = ControllerNode {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            endpoints: record
                .end_points
                .iter()
                .map(|end| endpoint(&end.name, &end.host, end.port, end.security_protocol))
                .collect(),
            features: by_name(record.features.iter().map(|range| FeatureRange {
                name: Arc::from(&*range.name),
                min: range.min_supported_version,
                max: range.max_supported_version,
            })),
        };
        self.controllers.insert(controller.id, Arc::new(controller));
    }

    pub(super) fn write_brokers(&self, level: MetadataVersion, records: &mut Vec<Record>) {
        records.extend(
            self.brokers
                .values()
                .map(|broker| broker.to_record(level).into()),
        );
    }

    pub(super) fn write_controllers(&self, level: MetadataVersion, records: &mut Vec<Record>) {
        if !level.has_controller_registration() {
            return;
        }
        records.extend(self.controllers.values().map(|controller| {
            RegisterControllerRecord {
                controller_id: controller.id,
                incarnation_id: controller.incarnation_id,
                zk_migration_ready: controller.zk_migration_ready,
                end_points: controller
                    .endpoints
                    .iter()
                    .map(controller_endpoint)
                    .collect(),
                features: controller.features.iter().map(controller_feature).collect(),
            }
            .into()
        }));
    }

    fn registered(&self, id: NodeId, epoch: i64) -> Result<&Broker, Corrupt> {
        let broker = self
            .broker(id)
            .ok_or_else(|| Corrupt::new(format!("broker {id} is not registered")))?;
        if broker.epoch != epoch {
            return Err(Corrupt::new(format!(
                "broker {id} is registered with epoch {}, not {epoch}",
                broker.epoch
            )));
        }
        Ok(broker)
    }

    /// The owner of a directory that several brokers can see.
    pub fn owner_of(&self, directory: Uuid) -> Option<NodeId> {
        self.brokers
            .values()
            .find(|broker| broker.directories.contains(&directory))
            .map(|broker| broker.id)
    }

    fn check_directories(&self, id: NodeId, directories: &[Uuid]) -> Result<(), Corrupt> {
        for directory in directories {
            if let Some(owner) = self.owner_of(*directory).filter(|owner| *owner != id) {
                return Err(Corrupt::new(format!(
                    "directory {directory} of broker {id} belongs to broker {owner}"
                )));
            }
        }
        Ok(())
    }
}

/// Features have no order: Kafka keeps them in a hash map.
fn by_name(ranges: impl Iterator<Item = FeatureRange>) -> Vec<FeatureRange> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_by(|left, right| left.name.cmp(&right.name));
    ranges
}

fn endpoint(name: &str, host: &str, port: u16, security_protocol: i16) -> Endpoint {
    Endpoint {
        listener: Arc::from(name),
        host: Arc::from(host),
        port,
        security_protocol,
    }
}

pub(crate) fn broker_endpoint(endpoint: &Endpoint) -> BrokerEndpoint {
    BrokerEndpoint {
        name: (*endpoint.listener).into(),
        host: (*endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    }
}

pub(crate) fn controller_endpoint(endpoint: &Endpoint) -> ControllerEndpoint {
    ControllerEndpoint {
        name: (*endpoint.listener).into(),
        host: (*endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    }
}

pub(crate) fn broker_feature(range: &FeatureRange) -> BrokerFeature {
    BrokerFeature {
        name: (*range.name).into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    }
}

pub(crate) fn controller_feature(range: &FeatureRange) -> ControllerFeature {
    ControllerFeature {
        name: (*range.name).into(),
        min_supported_version: range.min,
        max_supported_version: range.max,
    }
}
