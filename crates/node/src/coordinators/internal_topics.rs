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
    if services.image().topics.find(GROUP_METADATA_TOPIC).is_some() {
        return Ok(());
    }
    let topic = group_topic(&services.settings());
    match services.create_topics(vec![topic], false).await?.pop() {
        Some((_, Err(refused))) if refused.refusal != Refusal::TopicAlreadyExists => Err(refused),
        _ => Ok(()),
    }
}

fn group_topic(settings: &NodeSettings) -> NewTopic {
    let set = |name: &str, value: String| (name.to_owned(), Some(value));
    NewTopic {
        name: GROUP_METADATA_TOPIC.to_owned(),
        num_partitions: settings.groups.offsets_topic_partitions,
        replication_factor: settings.groups.offsets_topic_replication_factor,
        assignments: Vec::new(),
        configs: vec![
            set("cleanup.policy", "compact".to_owned()),
            set("compression.type", "producer".to_owned()),
            set(
                "segment.bytes",
                settings.groups.offsets_topic_segment_bytes.to_string(),
            ),
        ],
    }
}
