//! A key's partition, as every Kafka client computes it: records of one key stay in one partition
//! whichever client writes them.

/// The partition of a key among `n_partitions`.
///
/// # Panics
/// If there are no partitions.
pub fn partition_for_key(key: &[u8], n_partitions: usize) -> i32 {
    assert!(n_partitions > 0, "a topic has at least one partition");
    // The sign bit is cut off, not the value negated: Java's way of staying positive.
    let positive = (murmur2(key) & 0x7fff_ffff) as usize;
    (positive % n_partitions) as i32
}

/// MurmurHash2 with 32 bits, in the variant of Kafka's Java client.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (place, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * place);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_client() {
        // From the tests of Kafka's Utils and of librdkafka.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_in_range() {
        assert_eq!(partition_for_key(b"abc", 1), 0);
        assert_eq!(
            partition_for_key(b"21", 4),
            (-973_932_308_i32 & 0x7fff_ffff) % 4
        );
    }
}
