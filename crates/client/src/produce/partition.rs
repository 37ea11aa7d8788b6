//! Which partition a record goes to: by its key as Java's producer does (murmur2), so that clients
//! of both kinds agree; without a key to one partition until a batch is full, then to another.

use crate::cluster::TopicView;
use crate::random;

/// MurmurHash2 as Kafka's Java client has it.
pub fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash as i32
}

/// The partition of a key among `n`, of which there is at least one.
pub fn keyed(key: &[u8], n: usize) -> i32 {
    let n = i32::try_from(n.max(1)).unwrap_or(i32::MAX);
    (murmur2(key) & i32::MAX) % n
}

/// Where records without a key go at the moment.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    chosen: Option<i32>,
    /// Bytes since it was chosen.
    filled: usize,
}

impl Sticky {
    /// The partition for a record of this size. Partitions with a leader are preferred.
    pub(super) fn place(&mut self, topic: &TopicView, size: usize, batch_size: usize) -> i32 {
        let is_known = |partition| topic.partitions.contains_key(&partition);
        let chosen = match self.chosen.filter(|&partition| is_known(partition)) {
            Some(chosen) if self.filled < batch_size => chosen,
            previous => {
                self.filled = 0;
                another(topic, previous)
            }
        };
        self.chosen = Some(chosen);
        self.filled += size;
        chosen
    }
}

fn another(topic: &TopicView, previous: Option<i32>) -> i32 {
    let led = topic
        .partitions
        .iter()
        .filter(|(_, partition)| partition.leader >= 0);
    let mut choice: Vec<i32> = led.map(|(&number, _)| number).collect();
    if choice.is_empty() {
        choice = topic.partitions.keys().copied().collect();
    }
    if choice.len() > 1 {
        choice.retain(|&number| Some(number) != previous);
    }
    choice
        .get(random::below(choice.len()))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PartitionView;

    /// What `org.apache.kafka.common.utils.Utils.murmur2` gives.
    #[test]
    fn hashes_are_javas() {
        for (text, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn keys_go_where_java_puts_them() {
        // As the console producer of Kafka 4.3.1 placed them in a topic of three partitions.
        let places = ["a", "b", "c", "d", "e"].map(|key| keyed(key.as_bytes(), 3));
        assert_eq!(places, [1, 2, 1, 2, 2]);
        assert_eq!(keyed(b"any", 1), 0);
    }

    fn topic(leaders: &[i32]) -> TopicView {
        let partition = |&leader| PartitionView {
            leader,
            leader_epoch: 0,
            replicas: vec![],
            in_sync: vec![],
            offline: vec![],
        };
        TopicView {
            partitions: (0..).zip(leaders.iter().map(partition)).collect(),
            ..TopicView::default()
        }
    }

    #[test]
    fn records_without_a_key_stay_until_a_batch_is_full() {
        let topic = topic(&[0, 0, 0]);
        let mut sticky = Sticky::default();
        let first = sticky.place(&topic, 60, 100);
        assert_eq!(sticky.place(&topic, 60, 100), first);
        assert_ne!(sticky.place(&topic, 60, 100), first);
    }

    #[test]
    fn partitions_without_a_leader_are_avoided() {
        let topic = topic(&[-1, 0, -1]);
        let mut sticky = Sticky::default();
        assert_eq!(sticky.place(&topic, 200, 100), 1);
        assert_eq!(sticky.place(&topic, 200, 100), 1);
    }
}
