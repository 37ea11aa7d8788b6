//! Administration: one call each, on [`Cluster`](crate::Cluster).
//!
//! A call that names several things answers for each of them. What may pass (a coordinator that
//! loads, a node that restarts) is tried again until the time for one call is over.

mod configs;
mod credentials;
mod elections;
mod features;
mod groups;
mod log_dirs;
mod nodes;
mod quorum;
mod quotas;
mod records;
mod topics;
mod transactions;

pub use self::configs::{
    ConfigChange, ConfigEntry, ConfigKind, ConfigResource, ConfigSource, ConfigSynonym,
};
pub use self::credentials::{NewCredential, UserCredentials};
pub use self::elections::Election;
pub use self::features::{FeatureChange, Features};
pub use self::groups::{GroupDescription, GroupEpochs, GroupListing, MemberDescription, Share};
pub use self::log_dirs::{LogDirReplica, LogDirectory};
pub use self::nodes::{ClusterDescription, NodeDescription};
pub use self::quorum::{QuorumDescription, QuorumEndpoint, QuorumReplica};
pub use self::quotas::{QuotaEntity, QuotaMatch};
pub use self::topics::{NewTopic, PartitionDescription, Reassignment, TopicDescription};
pub use self::transactions::{
    ProducerDescription, TransactionDescription, TransactionFilter, TransactionListing,
    is_unknown_transaction,
};

use std::collections::BTreeMap;

use ottla_protocol::{NodeId, Request, Text, TopicPartition};

use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::pool::Lane;

/// The broker left out what it was asked for: that is no success.
fn lacks(api: &'static str) -> ClientError {
    let why = "it does not say what was asked".to_owned();
    ClientError::BadAnswer { api, why }
}

fn by_topic(partitions: &[TopicPartition]) -> BTreeMap<Text, Vec<i32>> {
    let mut topics: BTreeMap<Text, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        let topic = Text::from(&*partition.topic);
        topics.entry(topic).or_default().push(partition.partition);
    }
    topics
}

/// One question, asked again where a connection broke. What the answer refuses is the caller's.
impl Cluster {
    async fn ask_any<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.retry(R::NAME, async || {
            let connection = self.any(Lane::Calls).await?;
            connection.ask(request, self.patience()).await
        })
        .await
    }

    async fn ask_controller<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.retry(R::NAME, async || {
            let connection = self.controller().await?;
            connection.ask(request, self.patience()).await
        })
        .await
    }

    async fn ask_node<R: Request>(
        &self,
        node: NodeId,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.retry(R::NAME, async || {
            let connection = self.node(node, Lane::Calls).await?;
            connection.ask(request, self.patience()).await
        })
        .await
    }

    /// A node that is not in the cluster is asked about at any that is.
    async fn ask_that_or_any<R: Request>(
        &self,
        node: Option<NodeId>,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        match node.filter(|id| self.view().nodes.contains_key(id)) {
            Some(node) => self.ask_node(node, request).await,
            None => self.ask_any(request).await,
        }
    }
}
