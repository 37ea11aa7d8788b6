//! Logs that were found at the start and are not open yet, and what must be known until they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{Directory, LogConfig};

/// See the head of this file.
#[derive(Default)]
pub(super) struct Awaited {
    logs: HashMap<TopicPartition, Arc<Directory>>,
    /// Those that could not be opened: an empty log elsewhere would not be what was asked for.
    failed: HashSet<TopicPartition>,
    /// Topics that were deleted before all their logs were open.
    deleted: HashSet<Uuid>,
    /// What a topic's settings come to, read once for all its partitions.
    settings: HashMap<Arc<str>, (LogConfig, i32)>,
}

impl Awaited {
    pub(super) fn expect<'a>(
        &mut self,
        found: impl Iterator<Item = (&'a TopicPartition, &'a Arc<Directory>)>,
    ) {
        let found = found.map(|(id, directory)| (id.clone(), directory.clone()));
        self.logs.extend(found);
    }

    pub(super) fn contains(&self, id: &TopicPartition) -> bool {
        self.logs.contains_key(id) || self.failed.contains(id)
    }

    pub(super) fn is_in(&self, directory: &Arc<Directory>) -> bool {
        self.logs.values().any(|of| Arc::ptr_eq(of, directory))
    }

    pub(super) fn came(&mut self, id: &TopicPartition) {
        self.logs.remove(id);
    }

    pub(super) fn failed(&mut self, id: TopicPartition) {
        self.logs.remove(&id);
        self.failed.insert(id);
    }

    pub(super) fn deleted(&mut self, topic: &str, id: Uuid) {
        self.failed.retain(|log| &*log.topic != topic);
        if !self.logs.is_empty() {
            self.deleted.insert(id);
        }
    }

    pub(super) fn was_deleted(&self) -> &HashSet<Uuid> {
        &self.deleted
    }

    /// Each topic is asked about once, and not for each of its partitions.
    pub(super) fn settings_of(
        &mut self,
        topic: &Arc<str>,
        read: impl FnOnce() -> (LogConfig, i32),
    ) -> (LogConfig, i32) {
        self.settings
            .entry(topic.clone())
            .or_insert_with(read)
            .clone()
    }

    /// Settings have changed, or all partitions of a change are through.
    pub(super) fn forget_settings(&mut self) {
        self.settings.clear();
    }

    /// Once all logs have come there is nothing to remember.
    pub(super) fn forget_if_done(&mut self) {
        if self.logs.is_empty() {
            self.settings = HashMap::new();
            self.deleted = HashSet::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_failed_is_not_made_anew_until_its_topic_is_gone() {
        let id = TopicPartition::new("t", 0);
        let mut awaited = Awaited::default();
        awaited.failed(id.clone());
        assert!(awaited.contains(&id));
        awaited.deleted("other", Uuid::from_u128(1));
        assert!(awaited.contains(&id));
        awaited.deleted("t", Uuid::from_u128(2));
        assert!(!awaited.contains(&id));
        assert!(
            awaited.was_deleted().is_empty(),
            "nothing is awaited that could be of it"
        );
    }
}
