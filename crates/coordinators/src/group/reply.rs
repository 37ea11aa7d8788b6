//! Every reply the group ledger can give, so that one queue of tickets serves all requests.

use ottla_protocol::messages::{
    ConsumerGroupHeartbeatResponse, DeletableGroupResult, HeartbeatResponse, JoinGroupResponse,
    LeaveGroupResponse, OffsetCommitResponse, OffsetDeleteResponse, SyncGroupResponse,
    TxnOffsetCommitResponse,
};
use ottla_protocol::{NONE, Refusal, Text};

/// A reply of the group ledger. `TryFrom` gives the wire struct back.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named after the requests they answer")]
pub enum GroupReply {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    CommitOffsets(OffsetCommitResponse),
    CommitOffsetsInTransaction(TxnOffsetCommitResponse),
    DeleteOffsets(OffsetDeleteResponse),
    DeleteGroups(Vec<DeletableGroupResult>),
    /// What a timer or a load would be answered, if anybody had asked.
    Done,
}

/// The reply answers another kind of request: a mistake of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherReply;

macro_rules! back {
    ($($variant:ident($wire:ty);)*) => {
        $(impl TryFrom<GroupReply> for $wire {
            type Error = OtherReply;

            fn try_from(reply: GroupReply) -> Result<Self, OtherReply> {
                match reply { GroupReply::$variant(wire) => Ok(wire), _ => Err(OtherReply) }
            }
        })*
    };
}

back! {
    Join(JoinGroupResponse);
    Sync(SyncGroupResponse);
    Heartbeat(HeartbeatResponse);
    Leave(LeaveGroupResponse);
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse);
    CommitOffsets(OffsetCommitResponse);
    CommitOffsetsInTransaction(TxnOffsetCommitResponse);
    DeleteOffsets(OffsetDeleteResponse);
    DeleteGroups(Vec<DeletableGroupResult>);
}

impl GroupReply {
    /// The same kind of reply, with a refusal instead of everything that had been granted. What was
    /// refused already keeps its reason.
    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Self {
        let code = refusal.code();
        match self {
            Self::Join(reply) if reply.error_code == NONE => Self::Join(JoinGroupResponse {
                error_code: code,
                // The encoder has no null for this field before v7, and we do not know the version.
                protocol_name: reply.protocol_name.map(|_| Text::default()),
                ..JoinGroupResponse::default()
            }),
            Self::Sync(reply) if reply.error_code == NONE => Self::Sync(SyncGroupResponse {
                error_code: code,
                ..SyncGroupResponse::default()
            }),
            Self::Heartbeat(reply) if reply.error_code == NONE => {
                Self::Heartbeat(HeartbeatResponse {
                    error_code: code,
                    ..reply
                })
            }
            Self::Leave(reply) if reply.error_code == NONE => Self::Leave(LeaveGroupResponse {
                error_code: code,
                ..LeaveGroupResponse::default()
            }),
            Self::ConsumerHeartbeat(reply) if reply.error_code == NONE => {
                Self::ConsumerHeartbeat(ConsumerGroupHeartbeatResponse {
                    error_code: code,
                    ..ConsumerGroupHeartbeatResponse::default()
                })
            }
            Self::CommitOffsets(mut reply) => {
                let partitions = reply
                    .topics
                    .iter_mut()
                    .flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| refuse(&mut partition.error_code, code));
                Self::CommitOffsets(reply)
            }
            Self::CommitOffsetsInTransaction(mut reply) => {
                let partitions = reply
                    .topics
                    .iter_mut()
                    .flat_map(|topic| &mut topic.partitions);
                partitions.for_each(|partition| refuse(&mut partition.error_code, code));
                Self::CommitOffsetsInTransaction(reply)
            }
            Self::DeleteOffsets(reply) if reply.error_code == NONE => {
                Self::DeleteOffsets(OffsetDeleteResponse {
                    error_code: code,
                    ..OffsetDeleteResponse::default()
                })
            }
            Self::DeleteGroups(mut results) => {
                results
                    .iter_mut()
                    .for_each(|result| refuse(&mut result.error_code, code));
                Self::DeleteGroups(results)
            }
            refused_before => refused_before,
        }
    }
}

fn refuse(granted: &mut i16, code: i16) {
    if *granted == NONE {
        *granted = code;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_replaces_what_was_granted_only() {
        let granted = GroupReply::Heartbeat(HeartbeatResponse::default());
        let refused = granted.refused(Refusal::NotCoordinator);
        assert_eq!(
            HeartbeatResponse::try_from(refused.clone()).map(|reply| reply.error_code),
            Ok(Refusal::NotCoordinator.code())
        );
        assert_eq!(refused.clone().refused(Refusal::UnknownMemberId), refused);
        assert_eq!(SyncGroupResponse::try_from(refused), Err(OtherReply));
    }
}
