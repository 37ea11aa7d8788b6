//! What travels: between clients and the broker, and between the parts of a broker that may stand
//! on several machines.

use std::rc::Rc;

use bytes::Bytes;
use ottla_coordinators::Markers;
use ottla_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnTransaction, EndTxnRequest, InitProducerIdRequest,
    TxnOffsetCommitRequest,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, Text};
use ottla_storage::producer::Guard;

/// Which process asks, and the how-manieth of its requests this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) client: usize,
    pub(super) n: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Request {
    Init(InitProducerIdRequest, i16),
    AddPartitions(AddPartitionsToTxnTransaction, i16),
    AddOffsets(AddOffsetsToTxnRequest, i16),
    Produce(Produce),
    CommitOffsets(TxnOffsetCommitRequest, i16),
    End(EndTxnRequest, i16),
    /// How far the group has come with this partition of its source, stable offsets only.
    FetchOffset(i32),
}

/// A batch for one partition.
#[derive(Debug, Clone)]
pub(super) struct Produce {
    pub(super) transactional_id: Text,
    pub(super) place: usize,
    pub(super) batch: Bytes,
    pub(super) joins: Joins,
}

/// What the version of a request says about the transaction that it writes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joins {
    /// The client has added the partition, and does not know TRANSACTION_ABORTABLE.
    Verify,
    /// The client has added the partition.
    VerifyAbortable,
    /// The write adds the partition.
    Add,
}

impl Request {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Init(..) => "InitProducerId",
            Self::AddPartitions(..) => "AddPartitionsToTxn",
            Self::AddOffsets(..) => "AddOffsetsToTxn",
            Self::Produce(_) => "Produce",
            Self::CommitOffsets(..) => "TxnOffsetCommit",
            Self::End(..) => "EndTxn",
            Self::FetchOffset(_) => "OffsetFetch",
        }
    }

    /// The old protocol cannot tell a copy of these that comes when its producer has gone on, in the
    /// same epoch: what KIP-890 came for. There a connection that is closed in time must help.
    pub(super) fn must_not_come_late(&self) -> bool {
        match self {
            Self::CommitOffsets(_, version) | Self::End(_, version) => *version < 5,
            _ => false,
        }
    }
}

/// An answer, as far as a client looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) refusal: Option<Refusal>,
    /// What InitProducerId and EndTxn grant; -1 else.
    pub(super) producer: (ProducerId, ProducerEpoch),
    /// What OffsetFetch finds; -1 else.
    pub(super) offset: i64,
}

impl Reply {
    pub(super) const DONE: Self = Self {
        refusal: None,
        producer: (-1, -1),
        offset: -1,
    };

    pub(super) fn refused(refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::DONE
        }
    }

    pub(super) fn of_code(code: i16) -> Self {
        let known = Refusal::from_code(code).unwrap_or(Refusal::UnknownServerError);
        match code {
            0 => Self::DONE,
            _ => Self::refused(known),
        }
    }
}

/// A write that waits for what the transaction's coordinator says of it.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) call: Call,
    pub(super) write: Write,
    pub(super) guard: Guard,
    pub(super) place: usize,
    /// Of the leader that asks: another one knows nothing of it.
    pub(super) life: u64,
    /// How often it has asked.
    pub(super) attempt: u32,
    /// What is asked: whether the partition belongs to it, or that it does from now on.
    pub(super) question: AddPartitionsToTxnTransaction,
}

#[derive(Debug, Clone)]
pub(super) enum Write {
    Produce(Produce),
    CommitOffsets(TxnOffsetCommitRequest, i16),
}

/// A demand for markers, with a number of its own.
#[derive(Debug)]
pub(super) struct Demand {
    pub(super) n: u64,
    pub(super) markers: Markers,
}

#[derive(Debug, Clone)]
pub(super) enum Event {
    Request(Call, Request),
    Reply(Call, Reply),
    /// A client has thought enough, or waited enough.
    Wake {
        client: usize,
        n: u64,
    },
    /// The coordinator is asked about a write.
    Ask(Box<Asking>),
    /// Its answer.
    Told(Box<Asking>, Option<Refusal>),
    /// What was appended is flushed, as far as that is waited for, and committed.
    Advance {
        place: usize,
        life: u64,
    },
    /// An answer has waited long enough for its records to be committed.
    GiveUpWaiting {
        n: u64,
    },
    /// The end of a transaction reaches a partition.
    Marker(Rc<Demand>, usize),
    /// What became of it.
    Marked(Rc<Demand>, usize, Option<Refusal>),
    /// A coordinator looks whether its markers have been written.
    Remind {
        n: u64,
    },
    /// A leader, or the whole broker, is up again.
    Up {
        place: usize,
        life: u64,
    },
    /// A coordinator has read its log.
    Load {
        place: usize,
        life: u64,
    },
    /// Something befalls somebody.
    Fate,
}

/// How something travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Over the network.
    Post,
    /// Not at all: it happens after so many milliseconds.
    After(i64),
}
