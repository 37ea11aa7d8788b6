//! What a transaction can be, and what may follow what.

/// A transaction's state, by the number that records store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum TransactionState {
    /// A producer has the id and has not begun.
    Empty = 0,
    /// Partitions may hold its records.
    Ongoing = 1,
    /// Decided: it commits; markers are on their way.
    PrepareCommit = 2,
    /// Decided: it aborts; markers are on their way.
    PrepareAbort = 3,
    /// Committed, and every partition has its marker.
    CompleteCommit = 4,
    /// Aborted, and every partition has its marker.
    CompleteAbort = 5,
    /// Forgotten. Never stored, and nobody sees it: the tombstone is replayed in the same step.
    Dead = 6,
    /// A newer producer shuts out the older one. Never stored: the abort follows in the same step.
    PrepareEpochFence = 7,
}

impl TransactionState {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// The state that a record names.
    pub fn from_id(id: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i8 == id)
    }

    /// Kafka's name, which clients see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    /// The state of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it may follow on another.
    pub fn may_follow(self, former: Self) -> bool {
        use TransactionState::*;
        let legal: &[Self] = match self {
            Empty => &[Empty, CompleteCommit, CompleteAbort],
            Ongoing => &[Ongoing, Empty, CompleteCommit, CompleteAbort],
            PrepareCommit => &[Ongoing],
            PrepareAbort => &[
                Ongoing,
                PrepareEpochFence,
                Empty,
                CompleteCommit,
                CompleteAbort,
            ],
            CompleteCommit => &[PrepareCommit],
            CompleteAbort => &[PrepareAbort],
            Dead => &[Empty, CompleteAbort, CompleteCommit],
            PrepareEpochFence => &[Ongoing],
        };
        legal.contains(&former)
    }

    /// Decided, and not yet told to all partitions.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether the transactional id may be forgotten after a while.
    pub fn may_expire(self) -> bool {
        Self::Dead.may_follow(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_kafkas() {
        for (id, state) in (0..).zip(TransactionState::ALL) {
            assert_eq!(state as i8, id);
            assert_eq!(TransactionState::from_id(id), Some(state));
            assert_eq!(TransactionState::from_name(state.name()), Some(state));
        }
        assert_eq!(TransactionState::from_id(8), None);
        assert_eq!(TransactionState::from_id(-1), None);
        assert_eq!(TransactionState::from_name("ongoing"), None);
    }

    #[test]
    fn a_decided_transaction_has_one_way_out() {
        for (prepared, only) in [
            (
                TransactionState::PrepareCommit,
                TransactionState::CompleteCommit,
            ),
            (
                TransactionState::PrepareAbort,
                TransactionState::CompleteAbort,
            ),
        ] {
            for next in TransactionState::ALL {
                assert_eq!(next.may_follow(prepared), next == only, "{next:?}");
            }
        }
    }
}
