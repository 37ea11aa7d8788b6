//! A cluster with one topic, `a`, of one partition.

use ottla_protocol::{Text, Uuid};

use crate::group::Topics;

/// See the head of this file.
pub(super) struct OneTopic;

impl Topics for OneTopic {
    fn id(&self, name: &str) -> Option<Uuid> {
        (name == "a").then_some(Uuid::from_u128(1000))
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        (id == Uuid::from_u128(1000)).then_some(Text::from_static("a"))
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        name == "a" && partition == 0
    }
}
