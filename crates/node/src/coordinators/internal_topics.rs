//! Creates `__consumer_offsets` and its friends on first need.

use ottla_metadata::config::NodeSettings;
use ottla_metadata::controller::NewTopic;
use ottla_protocol::{Refusal, Refused};

use crate::services::Services;

pub const GROUP_METADATA_TOPIC: &str = "__consumer_offsets";
pub const TRANSACTION_STATE_TOPIC: &str = "__transaction_state";
pub const SHARE_STATE_TOPIC: &str = "__share_group_state";

/// Topics that clients may read but not write or delete.
pub fn is_internal_topic(name: &str) -> bool {
    [
        GROUP_METADATA_TOPIC,
        TRANSACTION_STATE_TOPIC,
        SHARE_STATE_TOPIC,
    ]
    .contains(&name)
}

/// Makes sure that the groups have their topic.
///
/// # Errors
/// What the controller says; a topic that is there already is no error.
pub async fn create_group_topic(services: &Services) -> Result<(), Refused> {
    create(services, GROUP_METADATA_TOPIC, group_topic).await
}

/// Makes sure that the transactions have their topic.
///
/// # Errors
/// As [`create_group_topic`].
pub async fn create_transaction_topic(services: &Services) -> Result<(), Refused> {
    create(services, TRANSACTION_STATE_TOPIC, transaction_topic).await
}

async fn create(
    services: &Services,
    name: &str,
    topic: fn(&NodeSettings) -> NewTopic,
) -> Result<(), Refused> {
    if services.image().topics.find(name).is_some() {
        return Ok(());
    }
    let topic = topic(&services.settings());
    match services.create_topics(vec![topic], false).await?.pop() {
        Some((_, Err(refused))) if refused.refusal != Refusal::TopicAlreadyExists => Err(refused),
        _ => Ok(()),
    }
}

/// The topic of this name as it is made because a client asks for it. `None` for share groups:
/// nobody would serve theirs, and its settings are its coordinator's affair.
pub(crate) fn on_demand(name: &str, settings: &NodeSettings) -> Option<NewTopic> {
    match name {
        GROUP_METADATA_TOPIC => Some(group_topic(settings)),
        TRANSACTION_STATE_TOPIC => Some(transaction_topic(settings)),
        SHARE_STATE_TOPIC => None,
        name => Some(NewTopic {
            name: name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            ..NewTopic::default()
        }),
    }
}

fn group_topic(settings: &NodeSettings) -> NewTopic {
    let groups = &settings.groups;
    NewTopic {
        name: GROUP_METADATA_TOPIC.to_owned(),
        num_partitions: groups.offsets_topic_partitions,
        replication_factor: groups.offsets_topic_replication_factor,
        assignments: Vec::new(),
        configs: vec![
            set("cleanup.policy", "compact"),
            set("compression.type", "producer"),
            set("segment.bytes", groups.offsets_topic_segment_bytes),
        ],
    }
}

fn transaction_topic(settings: &NodeSettings) -> NewTopic {
    let transactions = &settings.transactions;
    NewTopic {
        name: TRANSACTION_STATE_TOPIC.to_owned(),
        num_partitions: transactions.state_log_partitions,
        replication_factor: transactions.state_log_replication_factor,
        assignments: Vec::new(),
        configs: vec![
            set("unclean.leader.election.enable", "false"),
            set("compression.type", "uncompressed"),
            set("cleanup.policy", "compact"),
            set("min.insync.replicas", transactions.state_log_min_in_sync),
            set("segment.bytes", transactions.state_log_segment_bytes),
        ],
    }
}

fn set(name: &str, value: impl ToString) -> (String, Option<String>) {
    (name.to_owned(), Some(value.to_string()))
}
