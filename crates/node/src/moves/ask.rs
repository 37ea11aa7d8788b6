//! What AlterReplicaLogDirs comes to for one partition. Pure; the order of the checks is Kafka's.

use ottla_protocol::Refusal;

/// The directory that was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It is not in `log.dirs`.
    Unknown,
    Offline,
    Cordoned,
    Online,
}

/// The partition, as far as it is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replica {
    None,
    /// Its directory has failed.
    Offline,
    /// It lies where it is asked to.
    There,
    Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// The name of a copy is not too long.
    pub(super) has_name: bool,
    pub(super) target: Target,
    pub(super) replica: Replica,
    /// A copy is being made; whether in the target.
    pub(super) copy_is_there: Option<bool>,
    pub(super) all_online: bool,
}

/// What is done, and then what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// A copy that is being made elsewhere is given up.
    pub(super) cancels: bool,
    /// The directory is remembered for when the partition is made.
    pub(super) remembers: bool,
    pub(super) begins: bool,
    pub(super) refusal: Option<Refusal>,
}

impl Verdict {
    const fn nothing() -> Self {
        Self {
            cancels: false,
            remembers: false,
            begins: false,
            refusal: None,
        }
    }

    const fn refuse(refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::nothing()
        }
    }
}

pub(super) fn judge(asked: Asked) -> Verdict {
    if !asked.has_name {
        return Verdict::refuse(Refusal::InvalidTopicException);
    }
    match asked.target {
        Target::Unknown => return Verdict::refuse(Refusal::LogDirNotFound),
        Target::Offline => return Verdict::refuse(Refusal::KafkaStorageError),
        Target::Cordoned => return Verdict::refuse(Refusal::InvalidReplicaAssignment),
        Target::Online => {}
    }
    let cancels = asked.copy_is_there == Some(false);
    match asked.replica {
        Replica::Offline => Verdict::refuse(Refusal::KafkaStorageError),
        Replica::None => Verdict {
            remembers: true,
            ..Verdict::refuse(Refusal::ReplicaNotAvailable)
        },
        Replica::There => Verdict {
            cancels,
            ..Verdict::nothing()
        },
        Replica::Elsewhere if asked.copy_is_there == Some(true) => Verdict::nothing(),
        // A copy of the same partition may lie in the one that is away.
        Replica::Elsewhere if !asked.all_online => Verdict {
            cancels,
            ..Verdict::refuse(Refusal::KafkaStorageError)
        },
        Replica::Elsewhere => Verdict {
            cancels,
            begins: true,
            ..Verdict::nothing()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        has_name: true,
        target: Target::Online,
        replica: Replica::Elsewhere,
        copy_is_there: None,
        all_online: true,
    };

    #[test]
    fn a_partition_elsewhere_is_moved() {
        let begins = Verdict {
            begins: true,
            ..Verdict::nothing()
        };
        assert_eq!(judge(ASKED), begins);
        let under_way = |copy_is_there| Asked {
            copy_is_there: Some(copy_is_there),
            ..ASKED
        };
        assert_eq!(judge(under_way(true)), Verdict::nothing());
        let other_way = Verdict {
            cancels: true,
            ..begins
        };
        assert_eq!(judge(under_way(false)), other_way);
    }

    #[test]
    fn the_directory_where_it_lies_ends_a_move() {
        let there = Asked {
            replica: Replica::There,
            ..ASKED
        };
        assert_eq!(judge(there), Verdict::nothing());
        let back = Asked {
            copy_is_there: Some(false),
            ..there
        };
        let cancels = Verdict {
            cancels: true,
            ..Verdict::nothing()
        };
        assert_eq!(judge(back), cancels);
    }

    #[test]
    fn what_cannot_be_done_gets_kafkas_words() {
        let said = |asked| judge(asked).refusal.unwrap();
        let target = |target| Asked { target, ..ASKED };
        assert_eq!(said(target(Target::Unknown)), Refusal::LogDirNotFound);
        assert_eq!(said(target(Target::Offline)), Refusal::KafkaStorageError);
        assert_eq!(
            said(target(Target::Cordoned)),
            Refusal::InvalidReplicaAssignment
        );
        let long = Asked {
            has_name: false,
            ..target(Target::Unknown)
        };
        assert_eq!(said(long), Refusal::InvalidTopicException);
        let replica = |replica| Asked { replica, ..ASKED };
        assert_eq!(said(replica(Replica::Offline)), Refusal::KafkaStorageError);
        let none = judge(replica(Replica::None));
        assert_eq!(none.refusal, Some(Refusal::ReplicaNotAvailable));
        assert!(none.remembers && !none.begins);
        let one_away = Asked {
            all_online: false,
            ..ASKED
        };
        assert_eq!(said(one_away), Refusal::KafkaStorageError);
        assert!(!judge(one_away).begins);
    }
}
