//! The clocks that run for groups.

use std::sync::Arc;

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// Members of this group have had enough time to join.
    Join(Arc<str>),
    /// Members of this group have had enough time to ask for their assignment.
    Sync(Arc<str>),
    /// This member of this group has been silent for too long.
    Session(Arc<str>, Arc<str>),
    /// This member of this group has not given up in time what it must.
    Rebalance(Arc<str>, Arc<str>),
    /// Look for offsets that are too old.
    Retention,
}

pub(crate) type Timers = crate::timers::Timers<Timer>;
