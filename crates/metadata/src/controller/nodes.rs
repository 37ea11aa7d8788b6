//! Register, heartbeat, fence, controlled shutdown.

use std::collections::BTreeSet;

use ottla_protocol::{NodeId, Offset, Refusal, Refused, Uuid};

use super::partitions::News;
use super::topics::too_many_records;
use super::{Controller, Decision, Outcome, RECORDS_PER_REQUEST_MAX};
use crate::image::{
    Broker, Endpoint, FeatureRange, broker_endpoint, broker_feature, controller_endpoint,
    controller_feature,
};
use crate::records::{
    BrokerRegistrationChangeRecord, MetadataVersion, Record, RegisterBrokerRecord,
    RegisterControllerRecord, UnregisterBrokerRecord,
};

/// What a broker says of itself once per start of its process.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerRegistration {
    pub cluster_id: String,
    pub id: NodeId,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
    pub rack: Option<String>,
    /// Sorted.
    pub directories: Vec<Uuid>,
    /// From `.kafka_cleanshutdown`; -1 after an unclean one.
    pub previous_epoch: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ControllerRegistration {
    pub id: NodeId,
    pub incarnation_id: Uuid,
    pub endpoints: Vec<Endpoint>,
    pub features: Vec<FeatureRange>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerHeartbeat {
    pub id: NodeId,
    pub epoch: i64,
    /// The last offset that the broker has applied.
    pub metadata_offset: Offset,
    pub wants_fence: bool,
    pub wants_shutdown: bool,
    pub offline_directories: Vec<Uuid>,
    /// `None`: not known yet.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatReply {
    pub is_caught_up: bool,
    pub is_fenced: bool,
    pub should_shut_down: bool,
}

/// Where a broker stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl Life {
    fn of(broker: &Broker) -> Self {
        if broker.is_fenced {
            Self::Fenced
        } else if broker.is_in_controlled_shutdown {
            Self::ControlledShutdown
        } else {
            Self::Unfenced
        }
    }
}

impl Controller {
    /// A broker has started. The reply is its epoch: `next_offset`, the offset that the first
    /// record of this decision will get, or the old one if it is the same incarnation.
    /// `has_session`: a living process is known under this id.
    pub fn register_broker(
        &self,
        registration: &BrokerRegistration,
        next_offset: Offset,
        has_session: bool,
    ) -> Decision<Outcome<i64>> {
        if let Err(refused) = self.check_registration(registration, has_session) {
            return Decision::reply(Err(refused));
        }
        let known = self.image().nodes.broker(registration.id);
        let same = known.filter(|known| known.incarnation_id == registration.incarnation_id);
        let epoch = same.map_or(next_offset, |same| same.epoch);
        let mut records = match same {
            Some(_) => Vec::new(),
            None => self.after_previous_life(registration, known.map(|known| known.epoch)),
        };
        // IMPORTANT: last. What comes before it may be repeated; once it is written it may not.
        records.push(
            RegisterBrokerRecord {
                broker_id: registration.id,
                incarnation_id: registration.incarnation_id,
                broker_epoch: epoch,
                end_points: registration.endpoints.iter().map(broker_endpoint).collect(),
                features: registration.features.iter().map(broker_feature).collect(),
                rack: registration.rack.as_deref().map(Into::into),
                fenced: same.is_none_or(|same| same.is_fenced),
                in_controlled_shutdown: same.is_some_and(|same| same.is_in_controlled_shutdown),
                log_dirs: match self.level().has_directories() {
                    true => registration.directories.clone(),
                    false => Vec::new(),
                },
                ..RegisterBrokerRecord::default()
            }
            .into(),
        );
        self.decide_in_parts(records, Ok(epoch))
    }

    /// A new life begins without any claim of the last one; after an unclean end it is not even
    /// an eligible leader.
    fn after_previous_life(
        &self,
        registration: &BrokerRegistration,
        stored_epoch: Option<i64>,
    ) -> Vec<Record> {
        let is_clean = stored_epoch == Some(registration.previous_epoch);
        if self.image().features.has_elr() && !is_clean {
            self.changes_after(News::LeavesUncleanly(registration.id))
        } else {
            self.changes_after(News::Leaves(registration.id))
        }
    }

    fn check_registration(
        &self,
        registration: &BrokerRegistration,
        has_session: bool,
    ) -> Result<(), Refused> {
        if registration.cluster_id != self.settings().cluster_id {
            return Err(Refused::new(
                Refusal::InconsistentClusterId,
                format!(
                    "Expected cluster ID {}, but got cluster ID {}",
                    self.settings().cluster_id,
                    registration.cluster_id
                ),
            ));
        }
        let known = self.image().nodes.broker(registration.id);
        if has_session
            && known.is_some_and(|known| known.incarnation_id != registration.incarnation_id)
        {
            return Err(Refused::new(
                Refusal::DuplicateBrokerRegistration,
                "Another broker is registered with that broker id. If the broker was recently \
                 restarted this should self-resolve once the heartbeat manager expires the \
                 broker's session.",
            ));
        }
        if self.level().has_directories() {
            self.check_registered_directories(registration)?;
        }
        self.check_features(&registration.features)
    }

    fn check_registered_directories(
        &self,
        registration: &BrokerRegistration,
    ) -> Result<(), Refused> {
        let refuse = |why: String| Err(Refused::new(Refusal::InvalidRegistration, why));
        let directories = &registration.directories;
        if directories.is_empty() {
            return refuse("No directories specified in request".to_owned());
        }
        if directories.iter().any(|id| id.is_reserved()) {
            return refuse("Reserved directory ID in request".to_owned());
        }
        let mut seen = BTreeSet::new();
        for directory in directories {
            if !seen.insert(directory) {
                return refuse("Duplicate directory ID in request".to_owned());
            }
            let owner = self.image().nodes.owner_of(*directory);
            if let Some(owner) = owner.filter(|owner| *owner != registration.id) {
                return refuse(format!(
                    "Broker {owner} is already registered with directory {directory}"
                ));
            }
        }
        Ok(())
    }

    /// A broker must be able to run every finalized level; a feature that it does not name runs
    /// at 0 only.
    fn check_features(&self, offered: &[FeatureRange]) -> Result<(), Refused> {
        let check = |name: &str, level: i16, min: i16, max: i16| {
            if (min..=max).contains(&level) {
                return Ok(());
            }
            Err(Refused::new(
                Refusal::UnsupportedVersion,
                format!(
                    "Unable to register because the broker does not support finalized version \
                     {level} of {name}. The broker wants a version between {min} and {max}, \
                     inclusive."
                ),
            ))
        };
        let features = &self.image().features;
        for range in offered {
            check(
                &range.name,
                features.level(&range.name),
                range.min,
                range.max,
            )?;
        }
        if !offered
            .iter()
            .any(|range| *range.name == *MetadataVersion::FEATURE)
        {
            return Err(Refused::new(
                Refusal::InvalidRegistration,
                "Request features do not contain 'metadata.version'",
            ));
        }
        for (name, level) in features.finalized() {
            if !offered.iter().any(|range| *range.name == *name) {
                check(name, level, 0, 0)?;
            }
        }
        Ok(())
    }

    pub fn broker_heartbeat(
        &self,
        heartbeat: &BrokerHeartbeat,
    ) -> Decision<Outcome<HeartbeatReply>> {
        let id = heartbeat.id;
        let broker = match self.check_broker_epoch(id, heartbeat.epoch) {
            Err(refused) => return Decision::reply(Err(refused)),
            Ok(()) => self.image().nodes.broker(id),
        };
        let Some(broker) = broker else {
            return Decision::reply(Err(Refusal::StaleBrokerEpoch.into()));
        };
        let registered_at = self.registered_at.get(&id).copied().unwrap_or(0);
        let is_caught_up = heartbeat.metadata_offset >= registered_at;
        let life = Life::of(broker);
        let next = self.next_life(life, heartbeat, is_caught_up);
        let mut records = match next {
            _ if next == life => Vec::new(),
            Life::Fenced | Life::ShutdownNow if life == Life::Fenced => Vec::new(),
            Life::Fenced | Life::ShutdownNow => self.fencing(broker),
            Life::Unfenced => self.unfencing(broker),
            Life::ControlledShutdown => self.shutting_down(broker),
        };
        if self.level().has_directories() {
            records.extend(self.losing_directories(broker, &heartbeat.offline_directories));
        }
        if self.level().has_cordoned_directories() {
            records.extend(cordoning(broker, heartbeat.cordoned_directories.as_ref()));
        }
        let reply = HeartbeatReply {
            is_caught_up,
            is_fenced: matches!(next, Life::Fenced | Life::ShutdownNow),
            should_shut_down: next == Life::ShutdownNow,
        };
        self.decide_in_parts(records, Ok(reply))
    }

    fn next_life(&self, life: Life, heartbeat: &BrokerHeartbeat, is_caught_up: bool) -> Life {
        let leads = || self.leads_anything(heartbeat.id);
        match life {
            Life::Fenced if heartbeat.wants_shutdown => Life::ShutdownNow,
            Life::Fenced if !heartbeat.wants_fence && is_caught_up => Life::Unfenced,
            Life::Fenced => Life::Fenced,
            Life::Unfenced if heartbeat.wants_fence && heartbeat.wants_shutdown => {
                Life::ShutdownNow
            }
            Life::Unfenced if heartbeat.wants_fence => Life::Fenced,
            Life::Unfenced if heartbeat.wants_shutdown && leads() => Life::ControlledShutdown,
            Life::Unfenced if heartbeat.wants_shutdown => Life::ShutdownNow,
            Life::Unfenced => Life::Unfenced,
            Life::ControlledShutdown if leads() => Life::ControlledShutdown,
            Life::ControlledShutdown | Life::ShutdownNow => Life::ShutdownNow,
        }
    }

    fn leads_anything(&self, id: NodeId) -> bool {
        let topics = &self.image().topics;
        topics.iter().any(|topic| {
            topic
                .partitions
                .values()
                .any(|partition| partition.leader == Some(id))
        })
    }

    /// Leaders move first: a broker that is fenced but leads would block its partitions.
    fn fencing(&self, broker: &Broker) -> Vec<Record> {
        let mut records = self.changes_after(News::Leaves(broker.id));
        let fenced = 1;
        records.push(
            BrokerRegistrationChangeRecord {
                fenced,
                ..change_of(broker)
            }
            .into(),
        );
        records
    }

    /// The broker is let in first, then it may lead what nobody leads.
    fn unfencing(&self, broker: &Broker) -> Vec<Record> {
        let fenced = -1;
        let record = BrokerRegistrationChangeRecord {
            fenced,
            ..change_of(broker)
        };
        let mut records = vec![record.into()];
        records.extend(self.changes_after(News::Returns(broker.id)));
        records
    }

    fn shutting_down(&self, broker: &Broker) -> Vec<Record> {
        let in_controlled_shutdown = 1;
        let record = BrokerRegistrationChangeRecord {
            in_controlled_shutdown,
            ..change_of(broker)
        };
        let mut records = vec![record.into()];
        records.extend(self.changes_after(News::Leaves(broker.id)));
        records
    }

    fn losing_directories(&self, broker: &Broker, offline: &[Uuid]) -> Vec<Record> {
        let is_lost = |id: &&Uuid| offline.contains(id);
        let lost: Vec<Uuid> = broker.directories.iter().filter(is_lost).copied().collect();
        if lost.is_empty() {
            return Vec::new();
        }
        let mut records: Vec<Record> = lost
            .iter()
            .flat_map(|id| self.changes_after_loss(broker.id, *id))
            .collect();
        let log_dirs = broker
            .directories
            .iter()
            .filter(|id| !is_lost(id))
            .copied()
            .collect();
        records.push(
            BrokerRegistrationChangeRecord {
                log_dirs,
                ..change_of(broker)
            }
            .into(),
        );
        records
    }

    /// A broker's session has run out.
    pub fn fence_broker(&self, id: NodeId) -> Decision<()> {
        match self.image().nodes.broker(id) {
            Some(broker) if !broker.is_fenced => self.decide_in_parts(self.fencing(broker), ()),
            _ => Decision::reply(()),
        }
    }

    /// A broker is gone for good.
    pub fn unregister_broker(&self, id: NodeId) -> Decision<Outcome<()>> {
        let Some(broker) = self.image().nodes.broker(id) else {
            return Decision::reply(Err(Refused::new(
                Refusal::BrokerIdNotRegistered,
                format!("Broker ID {id} is not currently registered"),
            )));
        };
        let mut records = self.changes_after(News::LeavesUncleanly(id));
        let broker_epoch = broker.epoch;
        records.push(
            UnregisterBrokerRecord {
                broker_id: id,
                broker_epoch,
            }
            .into(),
        );
        if records.len() > RECORDS_PER_REQUEST_MAX {
            return Decision::reply(Err(too_many_records()));
        }
        self.decide(records, Ok(()))
    }

    pub fn register_controller(
        &self,
        registration: &ControllerRegistration,
    ) -> Decision<Outcome<()>> {
        if !self.level().has_controller_registration() {
            return Decision::reply(Err(Refused::new(
                Refusal::UnsupportedVersion,
                "The current MetadataVersion is too old to support controller registrations.",
            )));
        }
        let record = RegisterControllerRecord {
            controller_id: registration.id,
            incarnation_id: registration.incarnation_id,
            zk_migration_ready: false,
            end_points: registration
                .endpoints
                .iter()
                .map(controller_endpoint)
                .collect(),
            features: registration
                .features
                .iter()
                .map(controller_feature)
                .collect(),
        };
        self.decide(vec![record.into()], Ok(()))
    }

    /// AssignReplicasToDirs: replicas lie in these directories of a broker, given as (topic,
    /// partition, directory).
    pub fn assign_directories(
        &self,
        broker: NodeId,
        broker_epoch: i64,
        assignments: &[(Uuid, i32, Uuid)],
    ) -> Decision<Outcome<Vec<Outcome<()>>>> {
        if !self.level().has_directories() {
            return Decision::reply(Err(Refused::new(
                Refusal::UnsupportedVersion,
                "Directory assignment is not supported yet.",
            )));
        }
        if let Err(refused) = self.check_broker_epoch(broker, broker_epoch) {
            return Decision::reply(Err(refused));
        }
        let mut records = Vec::new();
        let outcomes = assignments
            .iter()
            .map(|assignment| self.assign_directory(broker, *assignment, &mut records))
            .collect();
        self.decide(records, Ok(outcomes))
    }

    fn assign_directory(
        &self,
        broker: NodeId,
        (topic, index, directory): (Uuid, i32, Uuid),
        records: &mut Vec<Record>,
    ) -> Outcome<()> {
        let topic = self
            .image()
            .topics
            .find_by_id(topic)
            .ok_or(Refusal::UnknownTopicId)?;
        let partition = topic
            .partition(index)
            .ok_or(Refusal::UnknownTopicOrPartition)?;
        if !partition.replicas.contains(&broker) {
            return Err(Refusal::NotLeaderOrFollower.into());
        }
        records.extend(self.directory_change(topic, index, partition, broker, directory));
        Ok(())
    }
}

fn cordoning(broker: &Broker, cordoned: Option<&Vec<Uuid>>) -> Option<Record> {
    let cordoned =
        cordoned.filter(|cordoned| broker.cordoned_directories.as_ref() != Some(cordoned))?;
    let cordoned_log_dirs = Some(cordoned.clone());
    Some(
        BrokerRegistrationChangeRecord {
            cordoned_log_dirs,
            ..change_of(broker)
        }
        .into(),
    )
}

fn change_of(broker: &Broker) -> BrokerRegistrationChangeRecord {
    BrokerRegistrationChangeRecord {
        broker_id: broker.id,
        broker_epoch: broker.epoch,
        ..BrokerRegistrationChangeRecord::default()
    }
}
