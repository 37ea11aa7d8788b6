//! Words that every floor shares: offsets, epochs, ids, and the name of a partition.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A decoded string: a checked UTF-8 slice of the frame that it came in.
///
/// It keeps the whole frame alive. Copy it (`Arc<str>`, `String`) before keeping it longer than
/// the request.
pub use bytestring::ByteString as Text;

/// A record's place in its partition. `-1` where Kafka says "unknown".
pub type Offset = i64;
/// Counts the leaders of a partition. `-1` where Kafka says "unknown".
pub type LeaderEpoch = i32;
/// A broker or controller. `-1` is a consumer or "nobody".
pub type NodeId = i32;
/// An idempotent or transactional producer. `-1` is "none".
pub type ProducerId = i64;
/// Fences older incarnations of a producer. `-1` is "none".
pub type ProducerEpoch = i16;

/// A topic, directory or cluster id; zero means "absent".
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// Absent.
    pub const ZERO: Self = Self([0; 16]);
    /// The topic id of `__cluster_metadata`.
    pub const METADATA_TOPIC: Self = Self::from_u128(1);
    /// The first id that is not set aside for a special meaning.
    const FIRST_FREE: u128 = 100;

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn from_u128(number: u128) -> Self {
        Self(number.to_be_bytes())
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    pub const fn is_zero(self) -> bool {
        self.as_u128() == 0
    }

    /// The lowest hundred ids have special meanings (unassigned, lost, migrating directories).
    pub const fn is_reserved(self) -> bool {
        self.as_u128() < Self::FIRST_FREE
    }

    /// A version 4 id from 16 random bytes; `None` asks for other bytes. Kafka's tools would take
    /// a text that starts with a dash for an option.
    pub fn random(mut bytes: [u8; 16]) -> Option<Self> {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let id = Self(bytes);
        (!id.is_reserved() && !id.to_string().starts_with('-')).then_some(id)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text was not 22 characters of URL-safe base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotUuid;

impl fmt::Display for NotUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an id of 22 base64 characters")
    }
}

impl std::error::Error for NotUuid {}

impl FromStr for Uuid {
    type Err = NotUuid;

    fn from_str(text: &str) -> Result<Self, NotUuid> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotUuid)?;
        bytes.try_into().map(Self).map_err(|_| NotUuid)
    }
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_text_is_kafkas() {
        assert_eq!(Uuid::METADATA_TOPIC.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ".parse(), Ok(Uuid::METADATA_TOPIC));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAQ==".parse::<Uuid>(), Err(NotUuid));
        assert_eq!("AAAA".parse::<Uuid>(), Err(NotUuid));
    }

    #[test]
    fn random_ids_can_be_typed_in_a_shell() {
        assert_eq!(Uuid::random([0xfb; 16]), None);
        let id = Uuid::random([7; 16]).unwrap();
        assert!(!id.is_reserved());
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn partitions_read_as_their_directories_do() {
        assert_eq!(TopicPartition::new("a-b", 3).to_string(), "a-b-3");
    }
}
