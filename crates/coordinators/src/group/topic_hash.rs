//! A number for the topics that a group reads, so that a change of them is noticed: XXH3 as Kafka
//! computes and stores it (KIP-1101). Another number costs a group one rebalance, no more.

use std::collections::HashMap;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::TopicImage;

/// Says how a topic's hash is computed. Kafka's.
const HASH_VERSION: u8 = 0;

/// Hashes of topics, for as long as none of them changes.
#[derive(Debug, Default)]
pub(super) struct TopicHashes {
    version: i64,
    by_name: HashMap<Arc<str>, u64>,
}

impl TopicHashes {
    /// Of all these topics that exist; they come in the order of their names.
    pub(super) fn of_group<'a>(
        &mut self,
        names: impl Iterator<Item = &'a Arc<str>>,
        topics: &dyn TopicImage,
    ) -> i64 {
        if self.version != topics.topics_version() {
            self.version = topics.topics_version();
            self.by_name.clear();
        }
        let mut bytes = Vec::new();
        for name in names {
            let known = self.by_name.get(name).copied();
            let Some(hash) = known.or_else(|| of_topic(name, topics)) else {
                continue;
            };
            self.by_name.insert(name.clone(), hash);
            bytes.extend(hash.to_le_bytes());
        }
        match bytes.is_empty() {
            true => 0,
            false => XxHash3_64::oneshot(&bytes).cast_signed(),
        }
    }
}

fn of_topic(name: &str, topics: &dyn TopicImage) -> Option<u64> {
    let id = topics.id(name)?.as_u128();
    let n_partitions = topics.n_partitions(name);
    let mut bytes = vec![HASH_VERSION];
    bytes.extend(((id >> 64) as u64).to_le_bytes());
    bytes.extend((id as u64).to_le_bytes());
    put_text(&mut bytes, name);
    bytes.extend(n_partitions.to_le_bytes());
    for partition in 0..n_partitions {
        bytes.extend(partition.to_le_bytes());
        let mut racks = topics.racks(name, partition);
        racks.sort_unstable();
        for rack in racks {
            let length = i32::try_from(rack.encode_utf16().count()).unwrap_or(i32::MAX);
            bytes.extend(length.to_le_bytes());
            put_text(&mut bytes, &rack);
        }
    }
    Some(XxHash3_64::oneshot(&bytes))
}

/// Java's characters, then how many.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    let mut length = 0i32;
    for unit in text.encode_utf16() {
        bytes.extend(unit.to_le_bytes());
        length = length.saturating_add(1);
    }
    bytes.extend(length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{Text, Uuid};

    use super::*;
    use crate::group::Topics;

    /// `t1` has two partitions and racks, `t2` three and none.
    struct TwoTopics(i64);

    impl Topics for TwoTopics {
        fn id(&self, name: &str) -> Option<Uuid> {
            let low = match name {
                "t1" => 0xf1f2_f3f4_f5f6_f7f8,
                "t2" => 5,
                _ => return None,
            };
            Some(Uuid::from_u128(0x0102_0304_0506_0708 << 64 | low))
        }

        fn name(&self, _: Uuid) -> Option<Text> {
            None
        }

        fn has_partition(&self, _: &str, _: i32) -> bool {
            true
        }
    }

    impl TopicImage for TwoTopics {
        fn n_partitions(&self, name: &str) -> i32 {
            if name == "t1" { 2 } else { 3 }
        }

        fn racks(&self, name: &str, partition: i32) -> Vec<Text> {
            let racks = [format!("rb\u{fc}{partition}"), "ra".to_owned()];
            let racks = racks.map(Text::from).into_iter();
            racks.filter(|_| name == "t1").collect()
        }

        fn topics_version(&self) -> i64 {
            self.0
        }

        fn created_version(&self) -> i64 {
            0
        }
    }

    /// The numbers are those of Kafka 4.3.1's own class.
    #[test]
    fn hashes_are_kafkas() {
        let topics = TwoTopics(1);
        let hash = |name: &str| of_topic(name, &topics).map(u64::cast_signed);
        assert_eq!(hash("t1"), Some(-2297232203566591726));
        assert_eq!(hash("t2"), Some(2750016138895494496));
        assert_eq!(hash("t3"), None);
        let of = |hashes: &mut TopicHashes, names: &[&str]| {
            let names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
            hashes.of_group(names.iter(), &topics)
        };
        let mut hashes = TopicHashes::default();
        assert_eq!(of(&mut hashes, &["t1", "t2"]), -4994600400047162621);
        assert_eq!(of(&mut hashes, &["t1", "t2", "t3"]), -4994600400047162621);
        assert_eq!(of(&mut hashes, &["t3"]), 0);
        assert_eq!(of(&mut hashes, &[]), 0);
    }

    #[test]
    fn hashes_are_remembered_until_topics_change() {
        let names = [Arc::<str>::from("t1")];
        let mut hashes = TopicHashes::default();
        hashes.of_group(names.iter(), &TwoTopics(1));
        assert_eq!(hashes.by_name.len(), 1);
        hashes.by_name.insert("t1".into(), 7);
        let remembered = hashes.of_group(names.iter(), &TwoTopics(1));
        assert_ne!(remembered, hashes.of_group(names.iter(), &TwoTopics(2)));
    }
}
