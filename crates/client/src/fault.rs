//! What can go wrong between here and a broker.

use std::fmt;

use ottla_protocol::Refusal;

/// Why a request has no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No connection could be made.
    Unreachable { address: String, why: String },
    /// The connection ended before the answer came.
    Closed { address: String },
    /// No answer came in time.
    TimedOut { address: String },
    /// The answer does not parse.
    BadAnswer { api: &'static str, why: String },
    /// Broker and client have no version of this API in common, or not for what is asked.
    Unsupported { api: &'static str, why: String },
    /// The broker said no.
    Refused {
        refusal: Refusal,
        message: Option<String>,
    },
    /// The user asked for something that makes no sense to the cluster as it is.
    Invalid { why: String },
}

impl Fault {
    /// A refusal, if the code is one.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), Self> {
        if code == ottla_protocol::NONE {
            return Ok(());
        }
        let refusal = Refusal::from_code(code).unwrap_or(Refusal::UnknownServerError);
        Err(Self::Refused {
            refusal,
            message: message.map(str::to_owned),
        })
    }

    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        }
    }

    /// Whether the same request may succeed a little later, perhaps elsewhere.
    pub fn may_pass(&self) -> bool {
        use Refusal::*;
        match self {
            Self::Unreachable { .. } | Self::Closed { .. } | Self::TimedOut { .. } => true,
            Self::Refused { refusal, .. } => matches!(
                refusal,
                UnknownTopicOrPartition
                    | UnknownTopicId
                    | InconsistentTopicId
                    | LeaderNotAvailable
                    | NotLeaderOrFollower
                    | FencedLeaderEpoch
                    | UnknownLeaderEpoch
                    | RequestTimedOut
                    | NetworkException
                    | CoordinatorLoadInProgress
                    | CoordinatorNotAvailable
                    | NotCoordinator
                    | NotEnoughReplicas
                    | NotEnoughReplicasAfterAppend
                    | NotController
                    | KafkaStorageError
                    | OffsetNotAvailable
                    | UnstableOffsetCommit
                    | ReplicaNotAvailable
            ),
            _ => false,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            refusal,
            message: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, why } => write!(f, "cannot connect to {address}: {why}"),
            Self::Closed { address } => write!(f, "{address} closed the connection"),
            Self::TimedOut { address } => write!(f, "no answer from {address} in time"),
            Self::BadAnswer { api, why } => write!(f, "the {api} answer does not parse: {why}"),
            Self::Unsupported { api, why } => write!(f, "{api}: {why}"),
            Self::Refused {
                refusal,
                message: Some(message),
            } => {
                write!(f, "{}: {message}", refusal.name())
            }
            Self::Refused {
                refusal,
                message: None,
            } => {
                write!(f, "{}: {}", refusal.name(), refusal.message())
            }
            Self::Invalid { why } => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}
