//! The pairs that the `kafka-protocol` crate cannot judge.

/// What that crate, which stands at Kafka 4.1, does not know, and what is different there from the
/// version before, which it does know. All of them, like every other pair, are also read and
/// written by Kafka 4.3.1 itself in `apache.rs`, where a Kafka is at hand; the bytes that it gave
/// back are in `testdata/beyond_the_oracle.txt`, and `apache.rs` holds us to them everywhere.
pub(crate) const BEYOND: &[(&str, i16, &str)] = &[
    (
        "AddRaftVoterRequest",
        1,
        "one bool more at the end: ack_when_committed",
    ),
    ("AddRaftVoterResponse", 1, "the same as 0"),
    (
        "BrokerHeartbeatRequest",
        2,
        "one tagged list more: cordoned_log_dirs, tag 1",
    ),
    ("BrokerHeartbeatResponse", 2, "the same as 1"),
    ("DescribeLogDirsRequest", 5, "the same as 4"),
    (
        "DescribeLogDirsResponse",
        5,
        "one bool more at the end of a result: is_cordoned",
    ),
    (
        "ListOffsetsRequest",
        11,
        "the same as 10, with one more special timestamp",
    ),
    ("ListOffsetsResponse", 11, "the same as 10"),
    (
        "OffsetCommitRequest",
        10,
        "a topic's id instead of its name, as the known response has it",
    ),
    (
        "OffsetFetchRequest",
        10,
        "a topic's id instead of its name, as the known response has it",
    ),
    (
        "WriteTxnMarkersRequest",
        2,
        "one i8 more at the end of a marker: transaction_version",
    ),
    ("WriteTxnMarkersResponse", 2, "the same as 1"),
];
