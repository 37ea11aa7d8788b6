//! The metadata quorum: who leads, who votes, how far each is; adding and removing voters.

use ottla_protocol::messages::{
    AddRaftVoterListener, AddRaftVoterRequest, DescribeQuorumReplicaState, DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData, DescribeQuorumRequestTopicData, RemoveRaftVoterRequest,
};
use ottla_protocol::{NodeId, Offset, Text, Uuid};

use super::lacks;
use crate::cluster::Cluster;
use crate::error::ClientError;

const METADATA_TOPIC: &str = "__cluster_metadata";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumDescription {
    pub leader: NodeId,
    pub leader_epoch: i32,
    pub high_watermark: Offset,
    pub voters: Vec<QuorumReplica>,
    pub observers: Vec<QuorumReplica>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumReplica {
    pub id: NodeId,
    pub directory: Uuid,
    pub end: Offset,
    /// Milliseconds since 1970, where the leader knows.
    pub last_fetch: Option<i64>,
    pub last_caught_up: Option<i64>,
    /// `LISTENER://host:port`
    pub endpoints: Vec<QuorumEndpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumEndpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

impl Cluster {
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        let request = DescribeQuorumRequest {
            topics: vec![DescribeQuorumRequestTopicData {
                topic_name: Text::from_static(METADATA_TOPIC),
                partitions: vec![DescribeQuorumRequestPartitionData { partition_index: 0 }],
            }],
        };
        let answer = self.ask_controller(&request).await?;
        let what = "the quorum was not described";
        let message = answer.error_message.as_deref();
        ClientError::from_code(what, answer.error_code, message)?;
        let partition = answer
            .topics
            .into_iter()
            .next()
            .and_then(|topic| topic.partitions.into_iter().next())
            .ok_or_else(|| lacks("DescribeQuorum"))?;
        let message = partition.error_message.as_deref();
        ClientError::from_code(what, partition.error_code, message)?;
        let read = |states: Vec<DescribeQuorumReplicaState>| {
            let states = states.into_iter();
            let replica = states.map(|state| {
                let node = answer
                    .nodes
                    .iter()
                    .find(|node| node.node_id == state.replica_id);
                let listeners = node.map(|node| &node.listeners[..]).unwrap_or_default();
                QuorumReplica {
                    id: state.replica_id,
                    directory: state.replica_directory_id,
                    end: state.log_end_offset,
                    last_fetch: known(state.last_fetch_timestamp),
                    last_caught_up: known(state.last_caught_up_timestamp),
                    endpoints: listeners
                        .iter()
                        .map(|listener| QuorumEndpoint {
                            listener: listener.name.to_string(),
                            host: listener.host.to_string(),
                            port: listener.port,
                        })
                        .collect(),
                }
            });
            replica.collect()
        };
        Ok(QuorumDescription {
            leader: partition.leader_id,
            leader_epoch: partition.leader_epoch,
            high_watermark: partition.high_watermark,
            voters: read(partition.current_voters),
            observers: read(partition.observers),
        })
    }

    pub async fn add_voter(
        &self,
        id: NodeId,
        directory: Uuid,
        endpoints: &[QuorumEndpoint],
    ) -> Result<(), ClientError> {
        let listeners = endpoints.iter().map(|endpoint| AddRaftVoterListener {
            name: Text::from(endpoint.listener.as_str()),
            host: Text::from(endpoint.host.as_str()),
            port: endpoint.port,
        });
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: self.request_timeout_ms(),
            voter_id: id,
            voter_directory_id: directory,
            listeners: listeners.collect(),
            ack_when_committed: true,
        };
        let answer = self.ask_controller(&request).await?;
        let what = format!("controller {id} was not added");
        ClientError::from_code(&what, answer.error_code, answer.error_message.as_deref())
    }

    pub async fn remove_voter(&self, id: NodeId, directory: Uuid) -> Result<(), ClientError> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: id,
            voter_directory_id: directory,
        };
        let answer = self.ask_controller(&request).await?;
        let what = format!("controller {id} was not removed");
        ClientError::from_code(&what, answer.error_code, answer.error_message.as_deref())
    }
}

fn known(timestamp: i64) -> Option<i64> {
    (timestamp >= 0).then_some(timestamp)
}
