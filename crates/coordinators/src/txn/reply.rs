//! Every reply the transaction ledger can give.

use ottla_protocol::messages::{
    AddOffsetsToTxnResponse, AddPartitionsToTxnResult, EndTxnResponse, InitProducerIdResponse,
};
use ottla_protocol::{NONE, Refusal};

use super::begin::init_refused;
use super::end::end_refused;

/// A reply of the transaction ledger. `TryFrom` gives the wire struct back.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "named after the requests they answer")]
pub enum TxnReply {
    Init(InitProducerIdResponse),
    /// One transaction's part of the response.
    AddPartitions(AddPartitionsToTxnResult),
    AddOffsets(AddOffsetsToTxnResponse),
    End(EndTxnResponse),
    /// What a timer, a load or news of markers would be answered, if anybody had asked.
    Done,
}

/// The reply answers another kind of request: a mistake of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherReply;

macro_rules! back {
    ($($variant:ident($wire:ty);)*) => {
        $(impl TryFrom<TxnReply> for $wire {
            type Error = OtherReply;

            fn try_from(reply: TxnReply) -> Result<Self, OtherReply> {
                match reply { TxnReply::$variant(wire) => Ok(wire), _ => Err(OtherReply) }
            }
        })*
    };
}

back! {
    Init(InitProducerIdResponse);
    AddPartitions(AddPartitionsToTxnResult);
    AddOffsets(AddOffsetsToTxnResponse);
    End(EndTxnResponse);
}

impl TxnReply {
    /// The same kind of reply, with a refusal instead of everything that had been granted. What was
    /// refused already keeps its reason, except a request to come back: that rested on the append.
    #[must_use]
    pub fn refused(self, refusal: Refusal) -> Self {
        let code = refusal.code();
        let rested_on_append =
            |held: i16| held == NONE || held == Refusal::ConcurrentTransactions.code();
        match self {
            Self::Init(reply) if rested_on_append(reply.error_code) => {
                Self::Init(init_refused(refusal))
            }
            Self::AddPartitions(mut reply) => {
                let partitions = reply
                    .topic_results
                    .iter_mut()
                    .flat_map(|topic| &mut topic.results_by_partition);
                for partition in partitions {
                    if partition.partition_error_code == NONE {
                        partition.partition_error_code = code;
                    }
                }
                Self::AddPartitions(reply)
            }
            Self::AddOffsets(reply) if reply.error_code == NONE => {
                Self::AddOffsets(AddOffsetsToTxnResponse {
                    error_code: code,
                    ..reply
                })
            }
            Self::End(reply) if reply.error_code == NONE => Self::End(end_refused(refusal)),
            refused_before => refused_before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_replaces_what_was_granted_only() {
        let init = |error_code, producer_id| {
            TxnReply::Init(InitProducerIdResponse {
                error_code,
                producer_id,
                ..InitProducerIdResponse::default()
            })
        };
        let refused = TxnReply::Init(init_refused(Refusal::NotCoordinator));
        assert_eq!(init(NONE, 5).refused(Refusal::NotCoordinator), refused);
        let come_back = init(Refusal::ConcurrentTransactions.code(), -1);
        assert_eq!(come_back.refused(Refusal::NotCoordinator), refused);
        let fenced = TxnReply::Init(init_refused(Refusal::ProducerFenced));
        assert_eq!(fenced.clone().refused(Refusal::NotCoordinator), fenced);

        let ended = TxnReply::End(EndTxnResponse {
            producer_id: 5,
            producer_epoch: 1,
            ..EndTxnResponse::default()
        });
        let refused = TxnReply::End(end_refused(Refusal::NotCoordinator));
        assert_eq!(ended.refused(Refusal::NotCoordinator), refused);
        assert_eq!(AddOffsetsToTxnResponse::try_from(refused), Err(OtherReply));
    }
}
