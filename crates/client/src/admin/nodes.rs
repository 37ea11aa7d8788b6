//! Nodes: who is in the cluster, fenced ones too, and forgetting one that will not come back.

use ottla_protocol::messages::{DescribeClusterRequest, UnregisterBrokerRequest};
use ottla_protocol::{NodeId, Text};

use crate::cluster::Cluster;
use crate::error::ClientError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterDescription {
    pub id: String,
    pub controller: NodeId,
    pub nodes: Vec<NodeDescription>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDescription {
    pub id: NodeId,
    pub host: String,
    pub port: i32,
    pub rack: Option<String>,
    pub is_fenced: bool,
}

impl Cluster {
    /// The nodes of the kind that we are connected to: brokers, or controllers.
    pub async fn describe_cluster(
        &self,
        include_fenced: bool,
    ) -> Result<ClusterDescription, ClientError> {
        let request = DescribeClusterRequest {
            endpoint_type: self.endpoint_type(),
            include_fenced_brokers: include_fenced,
            ..DescribeClusterRequest::default()
        };
        let answer = self.ask_any(&request).await?;
        let message = answer.error_message.as_deref();
        ClientError::from_code("the cluster was not described", answer.error_code, message)?;
        let text = |text: Text| text.to_string();
        let nodes = answer.brokers.into_iter().map(|broker| NodeDescription {
            id: broker.broker_id,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.map(text),
            is_fenced: broker.is_fenced,
        });
        Ok(ClusterDescription {
            id: answer.cluster_id.to_string(),
            controller: answer.controller_id,
            nodes: nodes.collect(),
        })
    }

    pub async fn unregister_broker(&self, id: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: id };
        let answer = self.ask_controller(&request).await?;
        let what = format!("broker {id} is still registered");
        ClientError::from_code(&what, answer.error_code, answer.error_message.as_deref())
    }
}
