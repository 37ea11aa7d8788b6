//! Keys, versions and first flexible versions of all messages, as one table to read; and that each
//! can be written and read in each of its versions.

use ottla_protocol::messages::*;
use ottla_protocol::{Request, Versioned, decode_body, encode_body};

/// Writes the default in every version, reads it back, and writes the same bytes again. Values may
/// change on the way: an optional that this version cannot tell from empty, for one.
fn check<M: Versioned + Default>() {
    for version in M::VERSIONS.0..=M::VERSIONS.1 {
        let bytes = encode_body(&M::default(), version)
            .unwrap_or_else(|why| panic!("{} v{version}: {why:?}", M::NAME));
        let read = decode_body::<M>(bytes.clone(), version)
            .unwrap_or_else(|why| panic!("{} v{version}: {why:?}", M::NAME));
        let again = encode_body(&read, version)
            .unwrap_or_else(|why| panic!("{} v{version}: {why:?}", M::NAME));
        assert_eq!(bytes, again, "{} v{version}", M::NAME);
    }
}

fn line<R: Request + Default>() -> String
where
    R::Response: Default,
{
    check::<R>();
    check::<R::Response>();
    let response = (
        R::Response::KEY,
        R::Response::VERSIONS,
        R::Response::FLEXIBLE_FROM,
    );
    assert_eq!(
        (R::KEY, R::VERSIONS, R::FLEXIBLE_FROM),
        response,
        "{}",
        R::NAME
    );
    let flexible = match R::FLEXIBLE_FROM {
        i16::MAX => "never".to_owned(),
        from => from.to_string(),
    };
    let name = R::NAME.trim_end_matches("Request");
    format!(
        "{} {name} {}-{} {flexible}\n",
        R::KEY,
        R::VERSIONS.0,
        R::VERSIONS.1
    )
}

macro_rules! lines {
    ($($request:ident)*) => { [$(line::<$request>()),*].concat() };
}

#[test]
fn every_api_has_the_versions_of_kafka_4_3() {
    let table = lines! {
        ProduceRequest
        FetchRequest
        ListOffsetsRequest
        MetadataRequest
        OffsetCommitRequest
        OffsetFetchRequest
        FindCoordinatorRequest
        JoinGroupRequest
        HeartbeatRequest
        LeaveGroupRequest
        SyncGroupRequest
        DescribeGroupsRequest
        ListGroupsRequest
        SaslHandshakeRequest
        ApiVersionsRequest
        CreateTopicsRequest
        DeleteTopicsRequest
        DeleteRecordsRequest
        InitProducerIdRequest
        OffsetForLeaderEpochRequest
        AddPartitionsToTxnRequest
        AddOffsetsToTxnRequest
        EndTxnRequest
        WriteTxnMarkersRequest
        TxnOffsetCommitRequest
        DescribeAclsRequest
        CreateAclsRequest
        DeleteAclsRequest
        DescribeConfigsRequest
        AlterConfigsRequest
        AlterReplicaLogDirsRequest
        DescribeLogDirsRequest
        SaslAuthenticateRequest
        CreatePartitionsRequest
        DeleteGroupsRequest
        ElectLeadersRequest
        IncrementalAlterConfigsRequest
        AlterPartitionReassignmentsRequest
        ListPartitionReassignmentsRequest
        OffsetDeleteRequest
        DescribeClientQuotasRequest
        AlterClientQuotasRequest
        DescribeUserScramCredentialsRequest
        AlterUserScramCredentialsRequest
        VoteRequest
        BeginQuorumEpochRequest
        EndQuorumEpochRequest
        DescribeQuorumRequest
        AlterPartitionRequest
        UpdateFeaturesRequest
        EnvelopeRequest
        FetchSnapshotRequest
        DescribeClusterRequest
        DescribeProducersRequest
        BrokerRegistrationRequest
        BrokerHeartbeatRequest
        UnregisterBrokerRequest
        DescribeTransactionsRequest
        ListTransactionsRequest
        AllocateProducerIdsRequest
        ConsumerGroupHeartbeatRequest
        ConsumerGroupDescribeRequest
        ControllerRegistrationRequest
        GetTelemetrySubscriptionsRequest
        PushTelemetryRequest
        ListConfigResourcesRequest
        DescribeTopicPartitionsRequest
        AddRaftVoterRequest
        RemoveRaftVoterRequest
        UpdateRaftVoterRequest
    };
    expect_test::expect![[r#"
        0 Produce 3-13 9
        1 Fetch 4-18 12
        2 ListOffsets 1-11 6
        3 Metadata 0-13 9
        8 OffsetCommit 2-10 8
        9 OffsetFetch 1-10 6
        10 FindCoordinator 0-6 3
        11 JoinGroup 0-9 6
        12 Heartbeat 0-4 4
        13 LeaveGroup 0-5 4
        14 SyncGroup 0-5 4
        15 DescribeGroups 0-6 5
        16 ListGroups 0-5 3
        17 SaslHandshake 0-1 never
        18 ApiVersions 0-4 3
        19 CreateTopics 2-7 5
        20 DeleteTopics 1-6 4
        21 DeleteRecords 0-2 2
        22 InitProducerId 0-5 2
        23 OffsetForLeaderEpoch 2-4 4
        24 AddPartitionsToTxn 0-5 3
        25 AddOffsetsToTxn 0-4 3
        26 EndTxn 0-5 3
        27 WriteTxnMarkers 1-2 1
        28 TxnOffsetCommit 0-5 3
        29 DescribeAcls 1-3 2
        30 CreateAcls 1-3 2
        31 DeleteAcls 1-3 2
        32 DescribeConfigs 1-4 4
        33 AlterConfigs 0-2 2
        34 AlterReplicaLogDirs 1-2 2
        35 DescribeLogDirs 1-5 2
        36 SaslAuthenticate 0-2 2
        37 CreatePartitions 0-3 2
        42 DeleteGroups 0-2 2
        43 ElectLeaders 0-2 2
        44 IncrementalAlterConfigs 0-1 1
        45 AlterPartitionReassignments 0-1 0
        46 ListPartitionReassignments 0-0 0
        47 OffsetDelete 0-0 never
        48 DescribeClientQuotas 0-1 1
        49 AlterClientQuotas 0-1 1
        50 DescribeUserScramCredentials 0-0 0
        51 AlterUserScramCredentials 0-0 0
        52 Vote 0-2 0
        53 BeginQuorumEpoch 0-1 1
        54 EndQuorumEpoch 0-1 1
        55 DescribeQuorum 0-2 0
        56 AlterPartition 2-3 0
        57 UpdateFeatures 0-2 0
        58 Envelope 0-0 0
        59 FetchSnapshot 0-1 0
        60 DescribeCluster 0-2 0
        61 DescribeProducers 0-0 0
        62 BrokerRegistration 0-4 0
        63 BrokerHeartbeat 0-2 0
        64 UnregisterBroker 0-0 0
        65 DescribeTransactions 0-0 0
        66 ListTransactions 0-2 0
        67 AllocateProducerIds 0-0 0
        68 ConsumerGroupHeartbeat 0-1 0
        69 ConsumerGroupDescribe 0-1 0
        70 ControllerRegistration 0-0 0
        71 GetTelemetrySubscriptions 0-0 0
        72 PushTelemetry 0-0 0
        74 ListConfigResources 0-1 0
        75 DescribeTopicPartitions 0-0 0
        80 AddRaftVoter 0-1 0
        81 RemoveRaftVoter 0-0 0
        82 UpdateRaftVoter 0-0 0
    "#]]
    .assert_eq(&table);
}

#[test]
fn values_without_a_key_are_read_as_written() {
    check::<ConsumerProtocolSubscription>();
    check::<ConsumerProtocolAssignment>();
    check::<LeaderChangeMessage>();
    check::<SnapshotHeaderRecord>();
    check::<SnapshotFooterRecord>();
    check::<KRaftVersionRecord>();
    check::<VotersRecord>();
}
