//! The range assignor, and what members of a classic group tell each other about it.
//!
//! Per topic, members in order get consecutive partitions, the first ones one more where it does
//! not come out even: as Kafka's `RangeAssignor` without racks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopicPartition,
};
use ottla_protocol::{Message, Reader, Text, TopicPartition, Versioned, encode_body};

use crate::error::ClientError;

/// What we write; members of any age read it.
const WRITTEN_VERSION: i16 = 1;

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    pub member: String,
    pub instance: Option<String>,
    pub topics: BTreeSet<Arc<str>>,
}

impl Subscriber {
    /// Static members first, by their names, so that they keep their places.
    fn order(&self) -> (bool, &str, &str) {
        let instance = self.instance.as_deref();
        (
            instance.is_none(),
            instance.unwrap_or_default(),
            &self.member,
        )
    }
}

/// What each member gets.
pub type AssignedTo = BTreeMap<String, BTreeSet<TopicPartition>>;

/// Share out. `sizes`: the number of partitions of each topic that exists.
pub fn range(subscribers: &[Subscriber], sizes: &BTreeMap<Arc<str>, usize>) -> AssignedTo {
    let mut ordered: Vec<_> = subscribers.iter().collect();
    ordered.sort_by(|a, b| a.order().cmp(&b.order()));
    let nothing = |member: &&Subscriber| (member.member.clone(), BTreeSet::new());
    let mut assigned: AssignedTo = ordered.iter().map(nothing).collect();
    for (topic, &n_partitions) in sizes {
        let readers: Vec<_> = ordered
            .iter()
            .filter(|m| m.topics.contains(topic))
            .collect();
        let Some(each) = n_partitions.checked_div(readers.len()) else {
            continue;
        };
        let n_with_more = n_partitions % readers.len();
        let mut next = 0;
        for (place, reader) in readers.into_iter().enumerate() {
            let n = each + usize::from(place < n_with_more);
            let numbers = (next..next + n).filter_map(|number| i32::try_from(number).ok());
            let share = numbers.map(|number| TopicPartition::new(Arc::clone(topic), number));
            assigned
                .entry(reader.member.clone())
                .or_default()
                .extend(share);
            next += n;
        }
    }
    assigned
}

pub(super) fn write_subscription(topics: &[Arc<str>]) -> Result<Bytes, ClientError> {
    with_version(&ConsumerProtocolSubscription {
        topics: topics.iter().map(|topic| Text::from(&**topic)).collect(),
        ..ConsumerProtocolSubscription::default()
    })
}

pub(super) fn read_subscription(bytes: Bytes) -> Result<BTreeSet<Arc<str>>, ClientError> {
    let read: ConsumerProtocolSubscription = without_version(bytes)?;
    Ok(read
        .topics
        .iter()
        .map(|topic| Arc::from(&**topic))
        .collect())
}

pub(super) fn write_assignment(share: &BTreeSet<TopicPartition>) -> Result<Bytes, ClientError> {
    let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in share {
        topics
            .entry(&partition.topic)
            .or_default()
            .push(partition.partition);
    }
    let topics = topics.into_iter();
    let topics = topics.map(|(topic, partitions)| ConsumerProtocolTopicPartition {
        topic: Text::from(&**topic),
        partitions,
    });
    with_version(&ConsumerProtocolAssignment {
        assigned_partitions: topics.collect(),
        user_data: None,
    })
}

/// What a member reads, from the bytes that its leader wrote. No bytes: nothing.
pub fn read_assignment(bytes: Bytes) -> Result<BTreeSet<TopicPartition>, ClientError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let read: ConsumerProtocolAssignment = without_version(bytes)?;
    let mut share = BTreeSet::new();
    for topic in read.assigned_partitions {
        let name: Arc<str> = Arc::from(&*topic.topic);
        let numbers = topic.partitions.into_iter();
        share.extend(numbers.map(|number| TopicPartition::new(Arc::clone(&name), number)));
    }
    Ok(share)
}

fn with_version<M: Versioned>(message: &M) -> Result<Bytes, ClientError> {
    let body = encode_body(message, WRITTEN_VERSION).map_err(|unsupported| {
        ClientError::Invalid(format!("{} cannot be written: {unsupported}", M::NAME))
    })?;
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(WRITTEN_VERSION);
    bytes.put(body);
    Ok(bytes.freeze())
}

/// A newer version only adds at the end, so what we do not know is left unread.
fn without_version<M: Versioned + Message>(bytes: Bytes) -> Result<M, ClientError> {
    let mut reader = Reader::new(bytes);
    let read = reader.i16(M::NAME).and_then(|version| {
        let version = version.clamp(M::VERSIONS.0, M::VERSIONS.1);
        M::decode(&mut reader, M::version(version))
    });
    read.map_err(|malformed| ClientError::BadAnswer {
        api: M::NAME,
        why: malformed.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(members: &[(&str, Option<&str>, &str)], topics: &[(&str, usize)], expected: Expect) {
        let subscriber = |&(member, instance, topics): &(&str, Option<&str>, &str)| Subscriber {
            member: member.to_owned(),
            instance: instance.map(str::to_owned),
            topics: topics.split(' ').map(Arc::from).collect(),
        };
        let subscribers: Vec<_> = members.iter().map(subscriber).collect();
        let sizes = topics
            .iter()
            .map(|&(topic, n)| (Arc::from(topic), n))
            .collect();
        let lines = range(&subscribers, &sizes)
            .into_iter()
            .map(|(member, share)| {
                let share: Vec<_> = share.iter().map(ToString::to_string).collect();
                format!("{member}: {}\n", share.join(" "))
            });
        expected.assert_eq(&lines.collect::<String>());
    }

    #[test]
    fn the_first_members_get_one_more() {
        check(
            &[("b", None, "t u"), ("a", None, "t u")],
            &[("t", 3), ("u", 3)],
            expect![[r#"
                a: t-0 t-1 u-0 u-1
                b: t-2 u-2
            "#]],
        );
    }

    #[test]
    fn only_subscribers_of_a_topic_share_it() {
        check(
            &[("a", None, "t"), ("b", None, "t u"), ("c", None, "gone")],
            &[("t", 1), ("u", 2)],
            expect![[r#"
                a: t-0
                b: u-0 u-1
                c: 
            "#]],
        );
    }

    #[test]
    fn static_members_keep_their_place() {
        check(
            &[
                ("a", None, "t"),
                ("z", Some("i1"), "t"),
                ("b", Some("i2"), "t"),
            ],
            &[("t", 4)],
            expect![[r#"
                a: t-3
                b: t-2
                z: t-0 t-1
            "#]],
        );
    }

    #[test]
    fn what_members_write_members_read() {
        let share: BTreeSet<_> = [("t", 0), ("t", 2), ("u", 1)]
            .map(|(t, p)| TopicPartition::new(t, p))
            .into();
        let bytes = write_assignment(&share).unwrap();
        assert_eq!(read_assignment(bytes), Ok(share));
        let topics = [Arc::from("t"), Arc::from("u")];
        let bytes = write_subscription(&topics).unwrap();
        assert_eq!(read_subscription(bytes), Ok(topics.into()));
        assert_eq!(read_assignment(Bytes::new()), Ok(BTreeSet::new()));
    }
}
