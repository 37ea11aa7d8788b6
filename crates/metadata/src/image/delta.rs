//! An image in the making, and what is different in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_protocol::{NodeId, Uuid};

use super::configs::Resource;
use super::topics::Topic;
use super::{Corrupt, Image, Provenance};
use crate::records::Record;

/// What a run of records has touched, so that a listener need not compare whole images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub features: bool,
    pub brokers: BTreeSet<NodeId>,
    pub controllers: BTreeSet<NodeId>,
    /// New or changed partitions by topic. A topic that is new and has none yet is there too.
    pub topics: BTreeMap<Uuid, BTreeSet<i32>>,
    /// Topics that are gone, as they last were.
    pub deleted_topics: BTreeMap<Uuid, Arc<Topic>>,
    pub configs: BTreeSet<Resource>,
    pub quotas: bool,
    pub producer_ids: bool,
    pub acls: bool,
    pub credentials: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Records on top of an image.
#[derive(Debug, Clone)]
pub struct Delta {
    image: Image,
    changes: Changes,
}

impl Delta {
    pub fn new(image: &Image) -> Self {
        Self {
            image: image.clone(),
            changes: Changes::default(),
        }
    }

    /// The image as it would be if it were applied now.
    pub fn image(&self) -> &Image {
        &self.image
    }

    pub fn changes(&self) -> &Changes {
        &self.changes
    }

    /// Take in one record. After an error the delta is of no use.
    pub fn replay(&mut self, record: &Record) -> Result<(), Corrupt> {
        let (image, changes) = (&mut self.image, &mut self.changes);
        match record {
            Record::Topic(record) => {
                image.topics.replay_topic(record)?;
                changes.topics.entry(record.topic_id).or_default();
            }
            Record::Partition(record) => {
                image.topics.replay_partition(record)?;
                changes
                    .topics
                    .entry(record.topic_id)
                    .or_default()
                    .insert(record.partition_id);
            }
            Record::PartitionChange(record) => {
                image.topics.replay_change(record)?;
                changes
                    .topics
                    .entry(record.topic_id)
                    .or_default()
                    .insert(record.partition_id);
            }
            Record::RemoveTopic(record) => {
                let topic = image.topics.replay_removal(record)?;
                let resource = Resource::topic(&topic.name);
                if image.configs.remove(&resource) {
                    changes.configs.insert(resource);
                }
                changes.topics.remove(&topic.id);
                changes.deleted_topics.insert(topic.id, topic);
            }
            Record::ClearElr(record) => {
                for (topic, index) in image.topics.replay_clear_elr(&record.topic_name)? {
                    changes.topics.entry(topic).or_default().insert(index);
                }
            }
            Record::RegisterBroker(record) => {
                image.nodes.replay_broker(record)?;
                changes.brokers.insert(record.broker_id);
            }
            Record::UnregisterBroker(record) => {
                image.nodes.replay_unregister(record)?;
                changes.brokers.insert(record.broker_id);
            }
            Record::BrokerRegistrationChange(record) => {
                image.nodes.replay_change(record)?;
                changes.brokers.insert(record.broker_id);
            }
            Record::FenceBroker(record) => {
                image.nodes.replay_fencing(record.id, record.epoch, true)?;
                changes.brokers.insert(record.id);
            }
            Record::UnfenceBroker(record) => {
                image.nodes.replay_fencing(record.id, record.epoch, false)?;
                changes.brokers.insert(record.id);
            }
            Record::RegisterController(record) => {
                image.nodes.replay_controller(record);
                changes.controllers.insert(record.controller_id);
            }
            Record::Config(record) => {
                changes.configs.insert(image.configs.replay(record));
            }
            Record::ClientQuota(record) => {
                image.quotas.replay(record);
                changes.quotas = true;
            }
            Record::FeatureLevel(record) => {
                image.features.replay(record)?;
                changes.features = true;
            }
            Record::ProducerIds(record) => {
                image.producer_ids.replay(record)?;
                changes.producer_ids = true;
            }
            Record::AccessControlEntry(record) => {
                image.acls.replay(record)?;
                changes.acls = true;
            }
            Record::RemoveAccessControlEntry(record) => {
                image.acls.replay_removal(record)?;
                changes.acls = true;
            }
            Record::UserScramCredential(record) => {
                image.credentials.replay_scram(record)?;
                changes.credentials = true;
            }
            Record::RemoveUserScramCredential(record) => {
                image.credentials.replay_scram_removal(record)?;
                changes.credentials = true;
            }
            Record::DelegationToken(record) => {
                image.credentials.replay_token(record)?;
                changes.credentials = true;
            }
            Record::RemoveDelegationToken(record) => {
                image.credentials.replay_token_removal(record);
                changes.credentials = true;
            }
            Record::NoOp(_) | Record::ZkMigrationState(_) => {}
            Record::BeginTransaction(_)
            | Record::EndTransaction(_)
            | Record::AbortTransaction(_) => {
                return Err(Corrupt::new("a transaction marker is not part of an image"));
            }
        }
        Ok(())
    }

    pub fn apply(self, provenance: Provenance) -> (Image, Changes) {
        (
            Image {
                provenance,
                ..self.image
            },
            self.changes,
        )
    }
}
