//! Every message that has versions of its own, and a check that none was forgotten.

#[macro_export]
macro_rules! every_message {
    ($apply:ident) => {
        $apply!(AddOffsetsToTxnRequest);
        $apply!(AddOffsetsToTxnResponse);
        $apply!(AddPartitionsToTxnRequest);
        $apply!(AddPartitionsToTxnResponse);
        $apply!(AddRaftVoterRequest);
        $apply!(AddRaftVoterResponse);
        $apply!(AllocateProducerIdsRequest);
        $apply!(AllocateProducerIdsResponse);
        $apply!(AlterClientQuotasRequest);
        $apply!(AlterClientQuotasResponse);
        $apply!(AlterConfigsRequest);
        $apply!(AlterConfigsResponse);
        $apply!(AlterPartitionReassignmentsRequest);
        $apply!(AlterPartitionReassignmentsResponse);
        $apply!(AlterPartitionRequest);
        $apply!(AlterPartitionResponse);
        $apply!(AlterReplicaLogDirsRequest);
        $apply!(AlterReplicaLogDirsResponse);
        $apply!(AlterUserScramCredentialsRequest);
        $apply!(AlterUserScramCredentialsResponse);
        $apply!(ApiVersionsRequest);
        $apply!(ApiVersionsResponse);
        $apply!(BeginQuorumEpochRequest);
        $apply!(BeginQuorumEpochResponse);
        $apply!(BrokerHeartbeatRequest);
        $apply!(BrokerHeartbeatResponse);
        $apply!(BrokerRegistrationRequest);
        $apply!(BrokerRegistrationResponse);
        $apply!(ConsumerGroupDescribeRequest);
        $apply!(ConsumerGroupDescribeResponse);
        $apply!(ConsumerGroupHeartbeatRequest);
        $apply!(ConsumerGroupHeartbeatResponse);
        $apply!(ConsumerProtocolAssignment);
        $apply!(ConsumerProtocolSubscription);
        $apply!(ControllerRegistrationRequest);
        $apply!(ControllerRegistrationResponse);
        $apply!(CreateAclsRequest);
        $apply!(CreateAclsResponse);
        $apply!(CreatePartitionsRequest);
        $apply!(CreatePartitionsResponse);
        $apply!(CreateTopicsRequest);
        $apply!(CreateTopicsResponse);
        $apply!(DeleteAclsRequest);
        $apply!(DeleteAclsResponse);
        $apply!(DeleteGroupsRequest);
        $apply!(DeleteGroupsResponse);
        $apply!(DeleteRecordsRequest);
        $apply!(DeleteRecordsResponse);
        $apply!(DeleteTopicsRequest);
        $apply!(DeleteTopicsResponse);
        $apply!(DescribeAclsRequest);
        $apply!(DescribeAclsResponse);
        $apply!(DescribeClientQuotasRequest);
        $apply!(DescribeClientQuotasResponse);
        $apply!(DescribeClusterRequest);
        $apply!(DescribeClusterResponse);
        $apply!(DescribeConfigsRequest);
        $apply!(DescribeConfigsResponse);
        $apply!(DescribeGroupsRequest);
        $apply!(DescribeGroupsResponse);
        $apply!(DescribeLogDirsRequest);
        $apply!(DescribeLogDirsResponse);
        $apply!(DescribeProducersRequest);
        $apply!(DescribeProducersResponse);
        $apply!(DescribeQuorumRequest);
        $apply!(DescribeQuorumResponse);
        $apply!(DescribeTopicPartitionsRequest);
        $apply!(DescribeTopicPartitionsResponse);
        $apply!(DescribeTransactionsRequest);
        $apply!(DescribeTransactionsResponse);
        $apply!(DescribeUserScramCredentialsRequest);
        $apply!(DescribeUserScramCredentialsResponse);
        $apply!(ElectLeadersRequest);
        $apply!(ElectLeadersResponse);
        $apply!(EndQuorumEpochRequest);
        $apply!(EndQuorumEpochResponse);
        $apply!(EndTxnRequest);
        $apply!(EndTxnResponse);
        $apply!(EnvelopeRequest);
        $apply!(EnvelopeResponse);
        $apply!(FetchRequest);
        $apply!(FetchResponse);
        $apply!(FetchSnapshotRequest);
        $apply!(FetchSnapshotResponse);
        $apply!(FindCoordinatorRequest);
        $apply!(FindCoordinatorResponse);
        $apply!(GetTelemetrySubscriptionsRequest);
        $apply!(GetTelemetrySubscriptionsResponse);
        $apply!(HeartbeatRequest);
        $apply!(HeartbeatResponse);
        $apply!(IncrementalAlterConfigsRequest);
        $apply!(IncrementalAlterConfigsResponse);
        $apply!(InitProducerIdRequest);
        $apply!(InitProducerIdResponse);
        $apply!(JoinGroupRequest);
        $apply!(JoinGroupResponse);
        $apply!(KRaftVersionRecord);
        $apply!(LeaderChangeMessage);
        $apply!(LeaveGroupRequest);
        $apply!(LeaveGroupResponse);
        $apply!(ListConfigResourcesRequest);
        $apply!(ListConfigResourcesResponse);
        $apply!(ListGroupsRequest);
        $apply!(ListGroupsResponse);
        $apply!(ListOffsetsRequest);
        $apply!(ListOffsetsResponse);
        $apply!(ListPartitionReassignmentsRequest);
        $apply!(ListPartitionReassignmentsResponse);
        $apply!(ListTransactionsRequest);
        $apply!(ListTransactionsResponse);
        $apply!(MetadataRequest);
        $apply!(MetadataResponse);
        $apply!(OffsetCommitRequest);
        $apply!(OffsetCommitResponse);
        $apply!(OffsetDeleteRequest);
        $apply!(OffsetDeleteResponse);
        $apply!(OffsetFetchRequest);
        $apply!(OffsetFetchResponse);
        $apply!(OffsetForLeaderEpochRequest);
        $apply!(OffsetForLeaderEpochResponse);
        $apply!(ProduceRequest);
        $apply!(ProduceResponse);
        $apply!(PushTelemetryRequest);
        $apply!(PushTelemetryResponse);
        $apply!(RemoveRaftVoterRequest);
        $apply!(RemoveRaftVoterResponse);
        $apply!(SaslAuthenticateRequest);
        $apply!(SaslAuthenticateResponse);
        $apply!(SaslHandshakeRequest);
        $apply!(SaslHandshakeResponse);
        $apply!(SnapshotFooterRecord);
        $apply!(SnapshotHeaderRecord);
        $apply!(SyncGroupRequest);
        $apply!(SyncGroupResponse);
        $apply!(TxnOffsetCommitRequest);
        $apply!(TxnOffsetCommitResponse);
        $apply!(UnregisterBrokerRequest);
        $apply!(UnregisterBrokerResponse);
        $apply!(UpdateFeaturesRequest);
        $apply!(UpdateFeaturesResponse);
        $apply!(UpdateRaftVoterRequest);
        $apply!(UpdateRaftVoterResponse);
        $apply!(VoteRequest);
        $apply!(VoteResponse);
        $apply!(VotersRecord);
        $apply!(WriteTxnMarkersRequest);
        $apply!(WriteTxnMarkersResponse);
    };
}

/// The names in the list above are those that the source declares.
#[test]
fn the_list_is_whole() {
    let mut listed = Vec::new();
    macro_rules! name {
        ($message:ident) => {
            listed.push(stringify!($message).to_string())
        };
    }
    every_message!(name);
    assert_eq!(listed, declared());
}

/// Structs under a `#[message(…)]` that is no part.
fn declared() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/messages");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for declaration in source.split("#[message(").skip(1) {
            if declaration.trim_start().starts_with("part") {
                continue;
            }
            let (_, rest) = declaration.split_once("pub struct ").unwrap();
            let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap();
            names.push(rest[..end].to_string());
        }
    }
    names.sort();
    names
}
