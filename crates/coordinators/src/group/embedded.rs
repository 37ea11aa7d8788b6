//! What members of a classic consumer group tell each other, read and written where the coordinator
//! has to: when such a member is in a group of the consumer protocol, and when a group changes its
//! protocol. Two bytes with the version, then the body; a version above ours is taken for ours.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopicPartition,
};
use ottla_protocol::{Message, Reader, Version, Versioned, encode_body};

use super::TopicImage;
use super::assign::Partitions;

/// What a member wants, from its metadata. `None`: these are no such bytes.
pub(super) fn subscription(metadata: &Bytes) -> Option<ConsumerProtocolSubscription> {
    read(metadata)
}

/// What a member was given. No bytes at all: nothing yet.
pub(super) fn assignment(bytes: &Bytes) -> Option<ConsumerProtocolAssignment> {
    match bytes.is_empty() {
        true => Some(ConsumerProtocolAssignment::default()),
        false => read(bytes),
    }
}

/// What a member is given, in the version in which it speaks itself. Topics that are gone have no
/// name, and are left out.
pub(super) fn assignment_bytes(
    metadata: &Bytes,
    partitions: &Partitions,
    topics: &dyn TopicImage,
) -> Option<Bytes> {
    let version = version_of(metadata, ConsumerProtocolAssignment::VERSIONS.1)?;
    let named = |(topic, partitions): (&_, &std::collections::BTreeSet<i32>)| {
        Some(ConsumerProtocolTopicPartition {
            topic: topics.name(*topic)?,
            partitions: partitions.iter().copied().collect(),
        })
    };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: partitions.iter().filter_map(named).collect(),
        user_data: None,
    };
    let body = encode_body(&assignment, version).ok()?;
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(version);
    bytes.put_slice(&body);
    Some(bytes.freeze())
}

fn version_of(bytes: &Bytes, newest: i16) -> Option<i16> {
    let version = Reader::new(bytes.clone()).i16("version").ok()?;
    (version >= 0).then_some(version.min(newest))
}

fn read<M: Message + Versioned>(bytes: &Bytes) -> Option<M> {
    let number = version_of(bytes, M::VERSIONS.1)?;
    let mut reader = Reader::new(bytes.slice(2..));
    let version = Version {
        number,
        flexible: false,
    };
    M::decode(&mut reader, version).ok()
}
