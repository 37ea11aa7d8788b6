//! Why a field or a version is not reached on one broker, and why an answer of Ottla may differ from
//! Apache's, one line each.

/// The reason for a field, if there is one.
pub fn reason(place: &str, field: &str, versions: &[i16]) -> Option<&'static str> {
    let found = REASONS.iter().find(|(a, b, from, to, _)| {
        *a == place && *b == field && versions.iter().all(|v| (from..=to).contains(&v))
    });
    found.map(|(.., reason)| *reason)
}

const LAST: i16 = i16::MAX;

/// Struct, field, first and last version, reason.
type Reason = (&'static str, &'static str, i16, i16, &'static str);

const REASONS: &[Reason] = &[
    (
        "FetchLeaderIdAndEpoch",
        "leader_id",
        12,
        12,
        "a broker fills it from v16 on; the quorum does from v12 on, but knows its partition by topic id (v13)",
    ),
    (
        "FetchLeaderIdAndEpoch",
        "leader_epoch",
        12,
        12,
        "a broker fills it from v16 on; the quorum does from v12 on, but knows its partition by topic id (v13)",
    ),
    (
        "FetchSnapshotId",
        "end_offset",
        12,
        12,
        "only the quorum fills it, and knows its partition by topic id (v13)",
    ),
    (
        "FetchSnapshotId",
        "epoch",
        12,
        12,
        "only the quorum fills it, and knows its partition by topic id (v13)",
    ),
    (
        "MetadataResponse",
        "error_code",
        13,
        LAST,
        "clients read REBOOTSTRAP_REQUIRED here, but no code of the 4.3 broker writes it",
    ),
    (
        "ListGroupsResponse",
        "error_code",
        0,
        LAST,
        "only while a coordinator loads its groups, for moments that cannot be aimed at",
    ),
    (
        "ApiVersionsResponse",
        "error_code",
        1,
        2,
        "these requests are empty, so nothing in them is wrong; a version from the future is answered in v0",
    ),
    (
        "ApiVersionsResponse",
        "zk_migration_ready",
        3,
        LAST,
        "true only on a controller that migrates from ZooKeeper, which 4.x cannot",
    ),
    (
        "CreatableTopicConfigs",
        "is_sensitive",
        5,
        LAST,
        "no setting of a topic is a secret",
    ),
    (
        "CreatableTopicConfigs",
        "read_only",
        5,
        LAST,
        "every setting of a topic can be changed",
    ),
    (
        "DescribeLogDirsResult",
        "error_code",
        1,
        LAST,
        "only for a log directory that failed",
    ),
    (
        "DescribeClusterResponse",
        "error_code",
        0,
        0,
        "only a wrong kind of endpoint is refused, and kinds came with v1",
    ),
    (
        "DescribeClusterResponse",
        "error_message",
        0,
        0,
        "only a wrong kind of endpoint is refused, and kinds came with v1",
    ),
    (
        "DescribeTopicPartitionsResponsePartition",
        "error_code",
        0,
        LAST,
        "a partition without a leader is told by leader -1 alone; the broker writes 0 always",
    ),
];

/// The reason for a difference between two brokers, if there is one. A line is `path: ours | theirs`.
pub fn difference(api: &str, label: &str, line: &str) -> Option<&'static str> {
    let found = DIFFERENCES.iter().find(|(of, labels, parts, _)| {
        (of.is_empty() || *of == api)
            && (labels.is_empty() || labels.contains(&label))
            && parts.iter().all(|part| line.contains(part))
    });
    found.map(|(.., reason)| *reason)
}

/// Request (none: all), labels (none: all), what the line contains, reason.
type Difference = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
);

const NO_SHARE_GROUPS: &str = "share groups are not served yet, and who has not seen their APIs in ApiVersions asks for no coordinator of theirs: refused at once, by name (ShareCoordinatorService)";
const IDS_AT_ONCE: &str = "Apache fetches its first block of producer ids behind the answer and lets the client ask again; here they are at hand";

const DIFFERENCES: &[Difference] = &[
    (
        "",
        &["sweep, tags out of order"],
        &["answered | no answer"],
        "KIP-482 has tags ascend, and every client writes them so; what MessageDataGenerator makes does not look",
    ),
    (
        "ApiVersionsRequest",
        &[],
        &["api_keys[", "| (absent)"],
        "an API is advertised only when it is served",
    ),
    (
        "DescribeConfigsRequest",
        &[],
        &["configs[ottla.", ": (absent) |"],
        "our own settings are described when they are set",
    ),
    (
        "IncrementalAlterConfigsRequest",
        &[],
        &["error_message", "/ by zero"],
        "Apache divides by the number of threads; here it is told that there must be one",
    ),
    (
        "IncrementalAlterConfigsRequest",
        &[],
        &["error_message", "begin 0, end -1"],
        "Apache says where its parser stumbled; here it is told what an entry looks like",
    ),
    (
        "FindCoordinatorRequest",
        &["unknown kind"],
        &["throttle_time_ms: 0 |"],
        "Apache's FindCoordinatorRequest.getErrorResponse loses the time on the way; the connection pauses all the same",
    ),
    (
        "FindCoordinatorRequest",
        &[
            "share partition",
            "bad share partition",
            "sweep, a group as a share",
            "sweep, a share without a partition",
            "sweep, a share of a bad id",
            "sweep, a share of partition -1",
            "sweep, a share of no group",
        ],
        &[],
        NO_SHARE_GROUPS,
    ),
    (
        "InitProducerIdRequest",
        &["idempotent", "idempotent, with an id"],
        &["error_code: 14 | 0"],
        IDS_AT_ONCE,
    ),
    (
        "InitProducerIdRequest",
        &["idempotent", "idempotent, with an id"],
        &["producer_"],
        IDS_AT_ONCE,
    ),
    (
        "DescribeProducersRequest",
        &["describe"],
        &[".producer_id: 0 |"],
        "the first id that a broker gives is 0, which is an id like any other",
    ),
    (
        "",
        &[],
        &["error_message: None | (filled)"],
        "words besides, where Apache leaves the code alone",
    ),
    (
        "what is held",
        &["rolls by a full index: rolls by a full index"],
        &[],
        "a smaller segment.index.bytes counts for the segment that is written; at Apache for the next",
    ),
    (
        "AlterClientQuotasRequest",
        &[
            "good and bad",
            "good and bad, only asked",
            "ip and user",
            "ip and user, only asked",
            "sweep, good and bad",
            "sweep, good and bad, only asked",
            "sweep, address and user",
            "sweep, unknown kind besides",
        ],
        &["entries["],
        "Apache answers in the order of its hash tables; here it is that of the request, kinds by name",
    ),
    (
        "AlterUserScramCredentialsRequest",
        &["sweep, no salted password"],
        &["error_code: -1 | 93"],
        "ScramControlManager.finishUpsertion trips over it (an HMAC has no empty key) and says UNKNOWN_SERVER_ERROR; it is the request that is wrong, and no client retries either",
    ),
    (
        "IncrementalAlterConfigsRequest",
        &[
            "unknown operation",
            "sweep, unknown operation",
            "sweep, negative operation",
        ],
        &["responses["],
        "Apache trips over it and says UNKNOWN_SERVER_ERROR; it is the request that is wrong",
    ),
    (
        "MetadataRequest",
        &["sweep, neither name nor id"],
        &["error_code: -1 | 42"],
        "AuthHelper.filterByAuthorized trips over the name that is null, and Apache says UNKNOWN_SERVER_ERROR; it is the request that is wrong, and no client has a topic of which it knows neither",
    ),
    (
        "ProduceRequest",
        &["sweep, a codec that is none"],
        &["error_code: -1 | 76"],
        "UnifiedLog.analyzeAndValidateRecords trips over it (CompressionType.forId) and says UNKNOWN_SERVER_ERROR; UNSUPPORTED_COMPRESSION_TYPE is what it is, and no client retries either",
    ),
    (
        "ProduceRequest",
        &["sweep, a codec that is none"],
        &["log_start_offset: 0 | -1"],
        "as for every batch that is refused before the log is asked; Apache's ReplicaManager tells the start with an error that it did not expect",
    ),
    (
        "ProduceRequest",
        &["sweep, null records"],
        &["no answer in time | answered"],
        "ProduceRequest.partitionSizes trips over it, and once more while that is answered: whoever asks waits until it gives up; here INVALID_RECORD, at once",
    ),
    (
        "AlterConfigsRequest",
        &["sweep, resource twice"],
        &["no answer in time | answered"],
        "AlterConfigsResponse.errorCounts trips over the second result for one resource while the answer is sent, and whoever asks waits until it gives up; here INVALID_REQUEST, at once",
    ),
    (
        "CreatePartitionsRequest",
        &["sweep, too many, only asked"],
        &["error_code: -1 | 44"],
        "ReplicationControlManager.createPartitions takes the end of its list (BoundedListTooLongException) for a fault of its own; POLICY_VIOLATION is what CreateTopics says of as many",
    ),
    (
        "DescribeTopicPartitionsRequest",
        &["sweep, empty name"],
        &["topics[]."],
        "DescribeTopicPartitionsRequestHandler takes a name that is empty for that of the cursor, which is not there, and Apache says UNKNOWN_SERVER_ERROR; here INVALID_TOPIC_EXCEPTION, as Metadata does, and clients ask for topics by names that they have",
    ),
    (
        "ListTransactionsRequest",
        &["sweep, an enormous pattern"],
        &["error_code: 0 | 128"],
        "RE2/J compiles a pattern of 30,000 letters, which takes seconds; here a compiled pattern has 64 KiB, and one that needs more is INVALID_REGULAR_EXPRESSION",
    ),
    (
        "ListTransactionsRequest",
        &["sweep, many states"],
        &["unknown_state_filters["],
        "Apache answers in the order of its hash tables (TransactionStateManager.listTransactionStates); here it is that of the request",
    ),
    (
        "OffsetCommitRequest",
        &["sweep, good and bad"],
        &["topics["],
        "OffsetCommitResponse.Builder tells what the broker refused before what the coordinator answered; here it is the order of the request, and a client finds a topic by its id",
    ),
    (
        "ConsumerGroupHeartbeatRequest",
        &["sweep, a classic group with members"],
        &["assignment.topic_partitions["],
        "of two members the ids say who gets what (UniformHomogeneousAssignmentBuilder), and the id of a classic member is random",
    ),
];
