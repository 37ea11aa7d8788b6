//! Logs that were found at the start and are not open yet, and what must be known until they are.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ottla_metadata::image::Topics;
use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{Directory, LogConfig};

/// See the head of this file.
#[derive(Default)]
pub(super) struct Awaited {
    logs: HashMap<TopicPartition, Arc<Directory>>,
    /// Those that could not be opened: an empty log elsewhere would not be what was asked for.
    failed: HashSet<TopicPartition>,
    /// Topics that there were when the logs were found. One that is gone was deleted before its logs
    /// were open, whether that has been taken in yet or not.
    known: HashSet<Uuid>,
    /// What a topic's settings come to, read once for all its partitions.
    settings: HashMap<Arc<str>, (LogConfig, i32)>,
}

impl Awaited {
    pub(super) fn expect<'a>(
        &mut self,
        found: impl Iterator<Item = (&'a TopicPartition, &'a Arc<Directory>)>,
        topics: &Topics,
    ) {
        let found = found.map(|(id, directory)| (id.clone(), directory.clone()));
        self.logs.extend(found);
        self.known.extend(topics.iter().map(|topic| topic.id));
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

    /// Whether a log that was awaited under this name is one that its partition should have: not if
    /// its topic is gone, or another one has its name now.
    pub(super) fn is_missed(&self, id: &TopicPartition, topics: &Topics) -> bool {
        let topic = topics.find(&id.topic);
        topic.is_some_and(|topic| self.known.contains(&topic.id))
    }

    pub(super) fn failed(&mut self, id: TopicPartition) {
        self.logs.remove(&id);
        self.failed.insert(id);
    }

    pub(super) fn deleted(&mut self, topic: &str) {
        self.failed.retain(|log| &*log.topic != topic);
    }

    /// Whether this topic was deleted since the logs were found.
    pub(super) fn was_deleted(&self, topic: Uuid, topics: &Topics) -> bool {
        self.known.contains(&topic) && topics.find_by_id(topic).is_none()
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
            self.known = HashSet::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::image::{Image, Provenance};
    use ottla_metadata::records::{Record, TopicRecord};

    fn topics(topics: &[(&'static str, u128)]) -> Topics {
        let record = |&(name, id): &(&'static str, u128)| {
            Record::Topic(TopicRecord {
                name: name.into(),
                topic_id: Uuid::from_u128(id),
            })
        };
        let records: Vec<Record> = topics.iter().map(record).collect();
        let image = Image::from_records(&records, Provenance::default());
        image.unwrap().topics
    }

    #[test]
    fn a_log_that_failed_is_not_made_anew_until_its_topic_is_gone() {
        let id = TopicPartition::new("t", 0);
        let mut awaited = Awaited::default();
        awaited.failed(id.clone());
        assert!(awaited.contains(&id));
        awaited.deleted("other");
        assert!(awaited.contains(&id));
        awaited.deleted("t");
        assert!(!awaited.contains(&id));
    }

    #[test]
    fn a_topic_that_is_gone_was_deleted_before_anybody_says_so() {
        let (old, stranger) = (Uuid::from_u128(1), Uuid::from_u128(9));
        let mut awaited = Awaited::default();
        let before = topics(&[("t", 1), ("u", 2)]);
        awaited.expect(std::iter::empty(), &before);
        assert!(!awaited.was_deleted(old, &before));
        let anew = topics(&[("t", 3), ("u", 2)]);
        assert!(awaited.was_deleted(old, &anew));
        assert!(!awaited.was_deleted(stranger, &anew), "it was never here");
        awaited.forget_if_done();
        assert!(awaited.known.is_empty(), "nothing is awaited");
    }

    #[test]
    fn a_log_is_missed_as_long_as_the_topic_is_the_one_that_it_was() {
        let id = TopicPartition::new("t", 0);
        let mut awaited = Awaited::default();
        let before = topics(&[("t", 1)]);
        awaited.expect(std::iter::empty(), &before);
        assert!(awaited.is_missed(&id, &before));
        assert!(!awaited.is_missed(&id, &topics(&[])));
        assert!(!awaited.is_missed(&id, &topics(&[("t", 3)])));
    }
}
