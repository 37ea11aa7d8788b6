//! Which protocol a group speaks: supported by all, wanted by most.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::{ConsumerProtocolSubscription, JoinGroupRequestProtocol};
use ottla_protocol::{Message, Reader, Text, Version};

use super::{ClassicGroup, ClassicState, Member};

pub(super) fn count(support: &mut HashMap<Arc<str>, usize>, member: &Member) {
    for (name, _) in &member.protocols {
        *support.entry(name.clone()).or_default() += 1;
    }
}

pub(super) fn uncount(support: &mut HashMap<Arc<str>, usize>, member: &Member) {
    for (name, _) in &member.protocols {
        if let Some(n) = support.get_mut(name) {
            *n -= 1;
            if *n == 0 {
                support.remove(name);
            }
        }
    }
}

impl ClassicGroup {
    /// Whether a member with these protocols fits in.
    pub(super) fn supports(
        &self,
        protocol_type: &str,
        protocols: &[JoinGroupRequestProtocol],
    ) -> bool {
        if self.state == ClassicState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let by_all = |asked: &JoinGroupRequestProtocol| {
            self.support.get(&*asked.name).copied().unwrap_or(0) == self.members.len()
        };
        self.protocol_type() == Some(protocol_type) && protocols.iter().any(by_all)
    }

    /// The protocol that members would choose now, if they have one in common; `supports` sees to
    /// it that those who get in have.
    pub(super) fn next_protocol(&self) -> Option<Arc<str>> {
        let members = self.members.values();
        elect(members.map(|member| member.protocols.iter().map(|p| &p.0)))
    }

    /// The protocol of this generation; of the next, if there has been none yet.
    pub(in crate::group) fn protocol_or_next(&self) -> Option<Arc<str>> {
        self.protocol.clone().or_else(|| self.next_protocol())
    }

    /// The protocol of the next generation if `instance` came with other protocols.
    pub(super) fn next_protocol_with(
        &self,
        instance: &str,
        protocols: &[JoinGroupRequestProtocol],
    ) -> Option<Arc<str>> {
        let asked = super::member::distinct(protocols);
        let asked: Vec<Arc<str>> = asked.map(|asked| (*asked.name).into()).collect();
        elect(self.members.values().map(|member| {
            let names: Vec<&Arc<str>> = if member.instance.as_deref() == Some(instance) {
                asked.iter().collect()
            } else {
                member.protocols.iter().map(|(name, _)| name).collect()
            };
            names.into_iter()
        }))
    }

    /// Topics that any member is subscribed to; `None` if that cannot be known.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<Text>> {
        if !self.speaks_consumer() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription(member.metadata(Some(protocol)))?);
        }
        Some(topics)
    }
}

/// Every member votes for the first of its protocols that all support. Of equally many votes the
/// smallest name wins (in Kafka, chance decides).
fn elect<'a, Ballot>(ballots: impl Iterator<Item = Ballot>) -> Option<Arc<str>>
where
    Ballot: Iterator<Item = &'a Arc<str>>,
{
    let ballots: Vec<Vec<&Arc<str>>> = ballots.map(Iterator::collect).collect();
    // Sets, not scans: a ballot is as long as its member likes.
    let (first, others) = ballots.split_first()?;
    let mut candidates: HashSet<&Arc<str>> = first.iter().copied().collect();
    for ballot in others {
        let ballot: HashSet<&Arc<str>> = ballot.iter().copied().collect();
        candidates.retain(|name| ballot.contains(name));
    }
    let mut votes: HashMap<&Arc<str>, usize> = HashMap::new();
    for ballot in &ballots {
        let vote = ballot.iter().find(|name| candidates.contains(**name))?;
        *votes.entry(vote).or_default() += 1;
    }
    let most = |(name, n): &(&Arc<str>, usize)| (*n, std::cmp::Reverse((*name).clone()));
    votes
        .into_iter()
        .max_by_key(most)
        .map(|(name, _)| name.clone())
}

/// The topics in a consumer's metadata. All versions begin like version 0, and later fields are
/// not looked at, so that a newer client does not keep its offsets from expiring.
fn subscription(metadata: Bytes) -> Option<Vec<Text>> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16("version").ok()?;
    if version < 0 {
        return None;
    }
    let version_0 = Version {
        number: 0,
        flexible: false,
    };
    let decoded = ConsumerProtocolSubscription::decode(&mut reader, version_0).ok()?;
    // Copied: the slices would keep the whole record or request alive.
    Some(
        decoded
            .topics
            .iter()
            .map(|topic| Text::from(&**topic))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elected(ballots: &[&[&str]]) -> Option<String> {
        let ballots: Vec<Vec<Arc<str>>> = ballots
            .iter()
            .map(|ballot| ballot.iter().map(|name| Arc::from(*name)).collect())
            .collect();
        elect(ballots.iter().map(|ballot| ballot.iter())).map(|name| name.to_string())
    }

    #[test]
    fn most_votes_among_what_all_support() {
        assert_eq!(
            elected(&[&["range", "sticky"], &["sticky"]]).as_deref(),
            Some("sticky")
        );
        assert_eq!(
            elected(&[&["a", "b"], &["b", "a"], &["b", "a"]]).as_deref(),
            Some("b"),
            "two of three prefer b"
        );
        assert_eq!(
            elected(&[&["b", "a"], &["a", "b"]]).as_deref(),
            Some("a"),
            "a tie"
        );
        assert_eq!(elected(&[&["a"], &["b"]]), None);
        assert_eq!(elected(&[]), None);
    }

    #[test]
    fn subscriptions_of_any_version_are_read() {
        let mut metadata = vec![0, 9, 0, 0, 0, 1, 0, 2];
        metadata.extend(b"t1\xff\xff\xff\xffmore");
        assert_eq!(
            subscription(metadata.clone().into()),
            Some(vec![Text::from_static("t1")])
        );
        metadata[0] = 0xff;
        assert_eq!(subscription(metadata.into()), None);
        assert_eq!(subscription(Bytes::from_static(b"\0")), None);
    }
}
