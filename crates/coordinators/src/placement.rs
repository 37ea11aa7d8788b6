//! Which partition of its topic a group or a transactional id lives in.

/// The partition of a group, as every Kafka broker and tool computes it: Java's string hash over
/// UTF-16 units, its absolute value, modulo the partition count. Another answer would look for
/// existing groups in the wrong place for ever.
///
/// # Panics
/// If `partitions` is not positive.
pub fn partition_for_group(group_id: &str, partitions: i32) -> i32 {
    partition_for(group_id, partitions)
}

/// The partition of `__transaction_state` that a transactional id lives in; found as for groups.
///
/// # Panics
/// If `partitions` is not positive.
pub fn partition_for_transaction(transactional_id: &str, partitions: i32) -> i32 {
    partition_for(transactional_id, partitions)
}

fn partition_for(name: &str, partitions: i32) -> i32 {
    assert!(
        partitions > 0,
        "a topic has at least one partition, not {partitions}"
    );
    // Java has no absolute value for its smallest integer; Kafka takes 0 for it.
    java_hash(name).checked_abs().unwrap_or(0) % partitions
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // As Java defines it: the sum of unit * 31^(places after it), wrapping.
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("group", 98_629_247),
            ("polygenelubricants", i32::MIN),
            ("grüße", 98_768_023),
            ("\u{1F980}", 1_772_802),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn the_smallest_hash_has_no_absolute_value() {
        assert_eq!(partition_for_group("polygenelubricants", 50), 0);
        assert_eq!(partition_for_group("group", 50), 47);
        assert_eq!(partition_for_transaction("group", 50), 47);
    }
}
