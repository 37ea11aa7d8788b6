//! What can go wrong between us and a cluster, each as one sentence.

use std::fmt;
use std::time::Duration;

use ottla_protocol::{Refusal, Refused};

use crate::address::Address;

/// Cloned to everybody who waits for the same connection or batch.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientError {
    /// No connection, or it broke before the answer.
    Unreachable {
        address: Address,
        why: String,
    },
    /// None of these answers.
    NobodyAnswers {
        addresses: Vec<Address>,
        last: Box<Self>,
    },
    TimedOut {
        what: String,
        after: Duration,
    },
    /// The broker sent what we cannot read.
    BadAnswer {
        api: &'static str,
        why: String,
    },
    /// The broker serves no version of this API that we know, or none with this field.
    Unserved {
        api: &'static str,
        why: String,
    },
    /// The broker said no.
    Refused {
        what: String,
        refused: Refused,
    },
    /// The caller asked for what cannot be.
    Invalid(String),
}

impl ClientError {
    pub fn refused(what: impl Into<String>, refused: impl Into<Refused>) -> Self {
        Self::Refused {
            what: what.into(),
            refused: refused.into(),
        }
    }

    /// An error code of an answer, if it is one.
    pub fn from_code(what: &str, code: i16, message: Option<&str>) -> Result<(), Self> {
        if code == ottla_protocol::NONE {
            return Ok(());
        }
        let refused = match Refusal::from_code(code) {
            Some(refusal) => Refused {
                refusal,
                message: message.map(str::to_owned),
            },
            None => Refused::new(
                Refusal::UnknownServerError,
                format!("the server answered with the unknown error code {code}"),
            ),
        };
        Err(Self::refused(what, refused))
    }

    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refused, .. } => Some(refused.refusal),
            _ => None,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::NobodyAnswers { .. } => true,
            Self::BadAnswer { .. } | Self::Unserved { .. } | Self::Invalid(_) => false,
            Self::Refused { refused, .. } => is_retriable(refused.refusal),
        }
    }
}

/// Kafka's `RetriableException`s that a client meets.
pub fn is_retriable(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::CorruptMessage
            | Refusal::UnknownTopicOrPartition
            | Refusal::UnknownTopicId
            | Refusal::InconsistentTopicId
            | Refusal::LeaderNotAvailable
            | Refusal::NotLeaderOrFollower
            | Refusal::FencedLeaderEpoch
            | Refusal::UnknownLeaderEpoch
            | Refusal::OffsetNotAvailable
            | Refusal::ReplicaNotAvailable
            | Refusal::PreferredLeaderNotAvailable
            | Refusal::RequestTimedOut
            | Refusal::NetworkException
            | Refusal::CoordinatorLoadInProgress
            | Refusal::CoordinatorNotAvailable
            | Refusal::NotCoordinator
            | Refusal::NotEnoughReplicas
            | Refusal::NotEnoughReplicasAfterAppend
            | Refusal::NotController
            | Refusal::KafkaStorageError
            | Refusal::FetchSessionIdNotFound
            | Refusal::InvalidFetchSessionEpoch
            | Refusal::ListenerNotFound
            | Refusal::ThrottlingQuotaExceeded
            | Refusal::ConcurrentTransactions
            | Refusal::UnstableOffsetCommit
    )
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, why } => {
                write!(f, "the broker at {address} cannot be reached: {why}")
            }
            Self::NobodyAnswers { addresses, last } => {
                let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "none of the brokers {} answers; {last}", list.join(", "))
            }
            Self::TimedOut { what, after } => {
                write!(f, "{what} took longer than {} ms", after.as_millis())
            }
            Self::BadAnswer { api, why } => {
                write!(f, "the answer to {api} cannot be read: {why}")
            }
            Self::Unserved { api, why } => {
                write!(f, "the broker does not serve {api} as needed: {why}")
            }
            Self::Refused { what, refused } => {
                write!(
                    f,
                    "{what}: {} ({})",
                    refused.words(),
                    refused.refusal.name()
                )
            }
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ClientError {}
