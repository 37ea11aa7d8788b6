//! A group of the consumer protocol (KIP-848): what its records say.
//!
//! All of it is durable and changes in `replay` only, which `former` can undo; deciding reads it.
//! Three epochs only rise: the group's (what members want, or the topics, changed), the target's
//! (the group epoch that it was computed for) and each member's (the target epoch that it has
//! reached).
//!
//! | to know | read |
//! |---|---|
//! | what a request must look like | `check` |
//! | one heartbeat, one decision | `heartbeat`, `advance`, `subscribe`, `target`, `reconcile` |
//! | members that speak the classic protocol | `classic_members` |
//! | from a classic group, and back to one | `upgrade`, `downgrade` |
//! | who may commit and fetch | `commit` |
//! | who goes: by request, by silence, by being slow | `leave` |
//! | patterns of topics | `pattern` |
//! | who owns a partition, and who supports a protocol, in a group of many | `owners`, `support` |

mod member;
mod owners;
mod support;
mod replay;
mod former;
mod check;
mod subscribe;
mod target;
mod reconcile;
mod advance;
mod heartbeat;
mod classic_members;
mod upgrade;
mod downgrade;
mod leave;
mod commit;
mod pattern;
mod describe;
mod requests;
mod records;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub(super) use commit::Committer;
pub(super) use former::Former;
pub(super) use member::{Member, MemberState};
use owners::Owners;
pub use pattern::{PatternErrand, ResolvedPatterns};
use subscribe::SubscriptionCount;
use support::ProtocolSupport;

use super::assign::Partitions;

/// Kafka's name of the protocol type and of the group type.
pub(super) const CONSUMER: &str = "consumer";

/// The epochs of a group that has just been made.
const FIRST_EPOCH: i32 = 1;
/// The target epoch of a group whose target epoch record is gone.
const NO_TARGET_EPOCH: i32 = -1;

/// Where a group stands. A group that is deleted is gone; only answers call it "Dead".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConsumerState {
    /// No members; perhaps offsets.
    Empty,
    /// The target assignment is older than the group.
    Assigning,
    /// Members are on their way to the target assignment.
    Reconciling,
    /// Everybody has what they shall have.
    Stable,
}

impl ConsumerState {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Empty,
        Self::Assigning,
        Self::Reconciling,
        Self::Stable,
    ];

    /// Kafka's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

/// The topics that a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) topics: BTreeSet<Arc<str>>,
    /// Of the metadata that was looked at.
    pub(crate) version: i64,
    pub(crate) at_ms: i64,
}

/// One group of the consumer protocol.
///
/// * `statics`, `subscribed`, `patterns`, `owners` and `support` say of `members` and `resolved`
///   what these say themselves, the other way round
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    id: Arc<str>,
    epoch: i32,
    /// Of the topics that the members are subscribed to, when `epoch` was reached.
    metadata_hash: i64,
    target_epoch: i32,
    target_at_ms: i64,
    members: BTreeMap<Arc<str>, Member>,
    /// What each member shall have.
    target: BTreeMap<Arc<str>, Partitions>,
    resolved: BTreeMap<Arc<str>, Resolved>,
    /// A record of type 4 stands in the log, which is to go.
    has_topics_record: bool,
    // Derived.
    /// Instance id → member id.
    statics: HashMap<Arc<str>, Arc<str>>,
    /// Who is subscribed to each topic.
    subscribed: BTreeMap<Arc<str>, SubscriptionCount>,
    /// How many members are subscribed to each pattern.
    patterns: BTreeMap<Arc<str>, usize>,
    owners: Owners,
    /// Of those who speak the classic protocol.
    support: ProtocolSupport,
    // Soft.
    /// The topics that the hash was last compared with, and the group epoch of then.
    looked_at: Option<LookedAt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookedAt {
    topics_version: i64,
    /// If the group is behind this, what was decided then has not been written.
    epoch: i32,
}

impl ConsumerGroup {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: FIRST_EPOCH,
            metadata_hash: 0,
            target_epoch: FIRST_EPOCH,
            target_at_ms: 0,
            members: BTreeMap::new(),
            target: BTreeMap::new(),
            resolved: BTreeMap::new(),
            has_topics_record: false,
            statics: HashMap::new(),
            subscribed: BTreeMap::new(),
            patterns: BTreeMap::new(),
            owners: Owners::default(),
            support: ProtocolSupport::default(),
            looked_at: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Walks the members, unless it is plain without.
    pub(super) fn state(&self) -> ConsumerState {
        let is_reconciled = |member: &Member| member.is_reconciled_to(self.target_epoch);
        if self.members.is_empty() {
            ConsumerState::Empty
        } else if self.epoch > self.target_epoch {
            ConsumerState::Assigning
        } else if self.members.values().all(is_reconciled) {
            ConsumerState::Stable
        } else {
            ConsumerState::Reconciling
        }
    }

    pub(super) fn member(&self, member_id: &str) -> Option<&Member> {
        self.members.get(member_id)
    }

    /// The member of this instance, if it has one.
    pub(super) fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.statics.get(instance)?)
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.contains_key(topic)
    }

    /// What was decided about it has not been written.
    pub(super) fn abandoned(&mut self) {
        self.looked_at = None;
    }

    /// A group of classic members only has been found to fit the topics of this version.
    pub(super) fn has_looked(&mut self, topics_version: i64) {
        let is_news = self.should_look(topics_version);
        if is_news && self.members.values().all(Member::speaks_classic) {
            let epoch = self.epoch;
            self.looked_at = Some(LookedAt {
                topics_version,
                epoch,
            });
        }
    }

    /// The invariants of the struct.
    #[cfg(test)]
    pub(super) fn validate(&self) {
        let mut again = Self::new(self.id.clone());
        for (id, member) in &self.members {
            assert_eq!(*id, member.id);
            again.put(member.clone());
            for (topic, partitions) in &member.assigned {
                let revoking = member.revoking.get(topic);
                let both = partitions
                    .keys()
                    .find(|p| revoking.is_some_and(|r| r.contains_key(p)));
                assert_eq!(both, None, "assigned and to be given up");
            }
            assert!(
                member.epoch <= self.target_epoch.max(self.epoch),
                "{member:?}"
            );
        }
        for (pattern, resolved) in &self.resolved {
            again.resolve(pattern, Some(resolved.clone()));
        }
        assert_eq!(self.subscribed, again.subscribed);
        assert_eq!(self.patterns, again.patterns);
        assert_eq!(self.statics, again.statics);
        assert_eq!(self.owners, again.owners);
        assert_eq!(self.support, again.support);
        self.owners.validate();
        assert!(
            self.target.keys().all(|id| self.members.contains_key(id)),
            "targets of members"
        );
    }

    #[cfg(test)]
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The group's and the target's.
    #[cfg(test)]
    pub(super) fn epochs(&self) -> (i32, i32) {
        (self.epoch, self.target_epoch)
    }

    /// What the records say.
    #[cfg(test)]
    pub(super) fn durable(&self) -> impl PartialEq + std::fmt::Debug + '_ {
        let epochs = (
            self.epoch,
            self.metadata_hash,
            self.target_epoch,
            self.target_at_ms,
        );
        (
            epochs,
            &self.members,
            &self.target,
            &self.resolved,
            self.has_topics_record,
        )
    }
}
