//! Kafka's error codes, as answers and not as errors: whoever decides returns a `Refusal`, and it
//! becomes part of the reply.
//!
//! Codes 134 to 136 are newer than Kafka 4.3: known, so that an answer of a newer node has a name, and
//! sent by nobody here.

use std::fmt;

/// The code of success.
pub const NONE: i16 = 0;

macro_rules! refusals {
    ($($variant:ident = $code:literal, $name:literal, $message:literal;)*) => {
        /// Why a request, or a part of it, was not done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum Refusal {
            $(#[doc = $message] $variant = $code,)*
        }

        impl Refusal {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub const fn code(self) -> i16 {
                self as i16
            }

            /// `None` for 0 (success) and for codes that are not Kafka's.
            pub fn from_code(code: i16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's name of the code.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }
        }
    };
}

refusals! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", "the server failed in an unexpected way";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", "the offset lies outside the log";
    CorruptMessage = 2, "CORRUPT_MESSAGE", "the records fail their checksum or are malformed";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", "this server hosts no such topic or partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", "the fetch size is not valid";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", "the partition has no leader at the moment";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", "this broker is not the replica that the request needs";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", "the request took longer than it allowed";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", "the broker is not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", "the replica is not available here";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", "the batch is larger than the topic allows";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", "the controller has been replaced by a newer one";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", "the text stored with the offset is too long";
    NetworkException = 13, "NETWORK_EXCEPTION", "the connection broke before an answer came";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", "the coordinator is still loading its state";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", "the coordinator is not available";
    NotCoordinator = 16, "NOT_COORDINATOR", "this broker is not the coordinator";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", "the topic name is not allowed, or the topic may not be used so";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", "the records are larger than a batch or a segment may be";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", "fewer replicas are in sync than the topic demands";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", "written, but then fewer replicas were in sync than the topic demands";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", "acks must be -1, 0 or 1";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", "the group has moved on to another generation";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", "the member's protocols do not fit those of the group";
    InvalidGroupId = 24, "INVALID_GROUP_ID", "the group id is not valid";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", "the group has no such member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", "the session timeout lies outside the allowed range";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", "the group is rebalancing; join again";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", "the offsets are too large to store";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", "not allowed on this topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", "not allowed on this group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", "not allowed on this cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", "the timestamp lies outside the allowed range";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", "the SASL mechanism is not enabled";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", "this request does not fit the state of the authentication";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", "this version of the API is not supported";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", "the topic exists already";
    InvalidPartitions = 37, "INVALID_PARTITIONS", "the number of partitions is not valid";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", "the replication factor is not valid or more than there are brokers";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", "the assignment of replicas is not valid";
    InvalidConfig = 40, "INVALID_CONFIG", "the configuration is not valid";
    NotController = 41, "NOT_CONTROLLER", "this node is not the active controller";
    InvalidRequest = 42, "INVALID_REQUEST", "the request contradicts itself or the protocol";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", "the record format does not allow this";
    PolicyViolation = 44, "POLICY_VIOLATION", "a policy forbids this request";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", "the producer's sequence has a gap";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", "the producer's sequence was written before";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", "the producer's epoch is too old";
    InvalidTxnState = 48, "INVALID_TXN_STATE", "the transaction is not in a state that allows this";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", "the producer id does not belong to this transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", "the transaction timeout is larger than the broker allows";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", "another change of this transaction is still under way";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", "a newer transaction coordinator has taken over";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "not allowed to use this transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", "security is not enabled";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", "not tried, since another part of the request failed";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", "the disk failed under this log";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", "the broker has no such log directory";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", "authentication failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", "nothing is known of this producer id";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", "the partition is being reassigned";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", "delegation tokens are not enabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", "no such delegation token";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", "the token belongs to someone else";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "delegation tokens cannot be asked for on this connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", "not allowed on this delegation token";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", "the delegation token has expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", "the type of the principal is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", "the group still has members";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", "no such group";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", "no such fetch session";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", "the fetch session is at another epoch";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", "the leader has no listener that fits this one";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", "topics may not be deleted";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", "the request's leader epoch is older than the broker's";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", "the request's leader epoch is newer than the broker's";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", "the client cannot read this compression";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", "the broker has been registered anew";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", "the leader does not know its high watermark yet";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", "join again with the member id of this answer";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", "the group is full";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", "another member has taken this instance id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", "no replica may become leader";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", "the partition has the leader it should have";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", "no reassignment is under way";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", "the group is still subscribed to the topic";
    InvalidRecord = 87, "INVALID_RECORD", "a record breaks the rules of its topic";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", "an open transaction still holds offsets";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", "the quota is used up; try later";
    ProducerFenced = 90, "PRODUCER_FENCED", "a newer producer has taken this transactional id";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", "no such resource";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", "the resource is named twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", "the credential does not meet the requirements";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", "one side of the quorum is not a voter for the other";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", "the update is based on an outdated version";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", "the features could not be changed";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", "the forwarded principal cannot be read";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", "no such snapshot";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", "the position lies outside the snapshot";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", "this server hosts no topic of this id";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", "another running broker has this id";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", "no broker of this id is registered";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", "the topic id here is another one";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", "the cluster id here is another one";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", "no such transactional id";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", "the fetch session mixes topic names and topic ids";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", "the new in-sync set holds a replica that may not be in it";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", "the change was made and elected another leader";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", "the offset is in remote storage only";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", "the member's epoch is not the group's; join again";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", "another living member holds this instance id";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", "the group does not know this assignor";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", "the member's epoch is behind; ask again with the new one";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", "asked a broker for controllers, or a controller for brokers";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", "this type of endpoint is not supported";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", "no controller of this id is known";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", "the telemetry subscription has changed; ask for the new one";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", "the telemetry is larger than the broker accepts";
    InvalidRegistration = 119, "INVALID_REGISTRATION", "the registration is not valid";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", "the transaction must be aborted; the producer may go on";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", "the record is not in a state that allows this";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", "no such share session";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", "the share session is at another epoch";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", "the epoch of the share state is too old";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", "the key does not belong to this voter";
    DuplicateVoter = 126, "DUPLICATE_VOTER", "the voter is a voter already";
    VoterNotFound = 127, "VOTER_NOT_FOUND", "no such voter";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", "the regular expression is not valid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", "what the client knows is outdated; start from its bootstrap servers";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", "the topology is not valid";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", "the epoch of the topology is not valid";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", "the topology is older than the group's";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", "the broker holds as many share sessions as it may";
    GroupDeletionFailed = 134, "GROUP_DELETION_FAILED", "the group could not be deleted";
    StreamsTopologyDescriptionUpdateFailed = 135, "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", "the description of the topology could not be stored";
    ControllerIdNotRegistered = 136, "CONTROLLER_ID_NOT_REGISTERED", "no controller of this id is registered";
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Refusal {}

/// A refusal with the words for this case, where the response has a place for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub refusal: Refusal,
    pub message: Option<String>,
}

impl Refused {
    pub fn new(refusal: Refusal, message: impl Into<String>) -> Self {
        Self {
            refusal,
            message: Some(message.into()),
        }
    }

    pub fn code(&self) -> i16 {
        self.refusal.code()
    }

    /// The words of this case, or the general ones.
    pub fn words(&self) -> &str {
        self.message.as_deref().unwrap_or(self.refusal.message())
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            message: None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.refusal.name(), self.words())
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_lead_back() {
        for &refusal in Refusal::ALL {
            assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
            assert_ne!(refusal.code(), NONE);
        }
        assert_eq!(Refusal::ALL.len(), 137);
        assert_eq!(Refusal::from_code(NONE), None);
        assert_eq!(Refusal::UnknownServerError.code(), -1);
        assert_eq!(Refusal::OffsetOutOfRange.name(), "OFFSET_OUT_OF_RANGE");
        assert_eq!(
            Refused::from(Refusal::InvalidConfig).words(),
            "the configuration is not valid"
        );
    }
}
