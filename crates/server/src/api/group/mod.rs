//! Classic groups. Each file routes to the coordinator and says what is answered when there is
//! none; what happens in a group is decided in the group ledger.

pub(crate) mod find_coordinator;
pub(crate) mod join_group;
pub(crate) mod sync_group;
pub(crate) mod heartbeat;
pub(crate) mod leave_group;
pub(crate) mod offset_commit;
pub(crate) mod offset_fetch;
pub(crate) mod offset_delete;
pub(crate) mod list_groups;
pub(crate) mod describe_groups;
pub(crate) mod delete_groups;

use std::sync::Arc;

use ottla_metadata::image::Image;
use ottla_node::{GroupTopics, Services};
use ottla_protocol::{Text, Uuid};

/// The topics there are, as groups ask about them.
pub(crate) struct KnownTopics(Arc<Image>);

impl KnownTopics {
    pub(crate) fn new(services: &Services) -> Self {
        Self(services.image())
    }
}

impl GroupTopics for KnownTopics {
    fn id(&self, name: &str) -> Option<Uuid> {
        self.0.topics.find(name).map(|topic| topic.id)
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        self.0
            .topics
            .find_by_id(id)
            .map(|topic| (*topic.name).into())
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        self.0.topics.partition(name, partition).is_some()
    }
}
