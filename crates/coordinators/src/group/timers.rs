//! The clocks that run for groups.

use std::sync::Arc;

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// Members of this group have had enough time to join.
    Join(Arc<str>),
    /// Members of this group have had enough time to ask for their assignment.
    Sync(Arc<str>),
    /// This member of this classic group has been silent for too long.
    Session(Arc<str>, Arc<str>),
    /// This member of this group of the consumer protocol has been silent for too long.
    ConsumerSession(Arc<str>, Arc<str>),
    /// This member of this group has not given up in time what it must.
    Rebalance(Arc<str>, Arc<str>),
    /// This member, which speaks the classic protocol in a group of the consumer protocol, was told
    /// to join again and has not.
    MemberJoin(Arc<str>, Arc<str>),
    /// The same, has joined and not asked for its assignment.
    MemberSync(Arc<str>, Arc<str>),
    /// Look for offsets that are too old.
    Retention,
}

pub(crate) type Timers = crate::timers::Timers<Timer>;
