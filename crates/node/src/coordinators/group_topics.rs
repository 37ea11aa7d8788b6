//! Topics as groups know them: a picture of the metadata, and whether it shows something new.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ottla_coordinators::group::{TopicImage, Topics};
use ottla_metadata::image::{Image, Published};
use ottla_protocol::{Text, Uuid};
use parking_lot::Mutex;

/// When topics have changed last, as offsets of the metadata log. What else is in that log changes
/// all the time, and groups would compare their topics for nothing.
#[derive(Debug, Default)]
pub(crate) struct TopicVersions {
    changed: AtomicI64,
    created: AtomicI64,
    /// What was shown last: a topic that is not in it is new.
    shown: Mutex<Option<Arc<Image>>>,
}

impl TopicVersions {
    /// The metadata as it is when the node starts. Whether topics are new in it nobody knows.
    pub(crate) fn start(&self, image: Arc<Image>) {
        self.created
            .store(image.provenance.end_offset, Ordering::Release);
        *self.shown.lock() = Some(image);
    }

    /// Another image is shown.
    pub(crate) fn take_in(&self, published: &Published) {
        let (image, changes) = (&published.image, &published.changes);
        let before = self.shown.lock().replace(image.clone());
        let version = image.provenance.end_offset;
        let is_new = |id: &Uuid| {
            let before = before.as_ref();
            before.is_none_or(|before| before.topics.find_by_id(*id).is_none())
        };
        if changes.topics.keys().any(is_new) {
            self.created.store(version, Ordering::Release);
        }
        // Racks belong to brokers.
        let is_changed = !changes.topics.is_empty()
            || !changes.deleted_topics.is_empty()
            || !changes.brokers.is_empty();
        if is_changed {
            self.changed.store(version, Ordering::Release);
        }
    }

    /// The picture of this moment. IMPORTANT: versions first: an image that is newer than its
    /// version is looked at twice, one that is older would not be looked at again.
    pub(super) fn picture(&self, image: impl FnOnce() -> Arc<Image>) -> KnownTopics {
        let changed = self.changed.load(Ordering::Acquire);
        let created = self.created.load(Ordering::Acquire);
        KnownTopics {
            image: image(),
            changed,
            created,
        }
    }
}

/// The topics there are, as groups ask about them.
#[derive(Debug, Clone)]
pub struct KnownTopics {
    image: Arc<Image>,
    changed: i64,
    created: i64,
}

impl KnownTopics {
    /// The names of all topics.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.image.topics.iter().map(|topic| &*topic.name)
    }

    /// Of the metadata.
    pub(super) fn version(&self) -> i64 {
        self.image.provenance.end_offset
    }
}

impl Topics for KnownTopics {
    fn id(&self, name: &str) -> Option<Uuid> {
        self.image.topics.find(name).map(|topic| topic.id)
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        let topic = self.image.topics.find_by_id(id)?;
        Some((*topic.name).into())
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        self.image.topics.partition(name, partition).is_some()
    }
}

impl TopicImage for KnownTopics {
    fn n_partitions(&self, name: &str) -> i32 {
        let topic = self.image.topics.find(name);
        topic.map_or(0, |topic| {
            i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
        })
    }

    fn racks(&self, name: &str, partition: i32) -> Vec<Text> {
        let partition = self.image.topics.partition(name, partition);
        let replicas = partition.iter().flat_map(|partition| &partition.replicas);
        let rack = |node: &i32| self.image.nodes.broker(*node)?.rack.as_deref();
        replicas.filter_map(rack).map(Text::from).collect()
    }

    fn topics_version(&self) -> i64 {
        self.changed
    }

    fn created_version(&self) -> i64 {
        self.created
    }
}
