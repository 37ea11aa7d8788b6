//! A member of a group, by either protocol.

use std::collections::BTreeSet;
use std::sync::Arc;

use ottla_protocol::TopicPartition;
use tokio::sync::watch;

use super::member::{self, Pulse};
use super::{ConsumerSettings, GroupProtocol, modern};
use crate::cluster::Cluster;
use crate::error::ClientError;
use crate::offsets::Committer;

#[derive(Debug)]
pub(super) enum Membership {
    Classic(member::Member),
    Consumer(modern::Member),
}

impl Membership {
    pub(super) fn new(group: String, settings: Arc<ConsumerSettings>) -> Self {
        match settings.protocol {
            GroupProtocol::Classic => Self::Classic(member::Member::new(group, settings)),
            GroupProtocol::Consumer => Self::Consumer(modern::Member::new(group, settings)),
        }
    }

    pub(super) fn pulse(&self) -> Pulse {
        match self {
            Self::Classic(member) => member.pulse(),
            Self::Consumer(member) => member.pulse(),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Pulse> {
        match self {
            Self::Classic(member) => member.watch(),
            Self::Consumer(member) => member.watch(),
        }
    }

    pub(super) fn is_joined(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_joined(),
            Self::Consumer(member) => member.is_joined(),
        }
    }

    pub(super) fn committer(&self) -> Committer {
        match self {
            Self::Classic(member) => member.committer(),
            Self::Consumer(member) => member.committer(),
        }
    }

    pub(super) fn subscribe(&mut self, topics: Vec<Arc<str>>, seen: &BTreeSet<TopicPartition>) {
        match self {
            Self::Classic(member) => member.subscribe(topics, seen),
            // The coordinator sees by itself what there is.
            Self::Consumer(member) => member.subscribe(topics),
        }
    }

    /// What we have from now on, and whether everything that we had before was given up.
    pub(super) async fn join(
        &mut self,
        cluster: &Arc<Cluster>,
    ) -> Result<(BTreeSet<TopicPartition>, bool), ClientError> {
        match self {
            Self::Classic(member) => Ok((member.join(cluster).await?, true)),
            Self::Consumer(member) => Ok((member.take(cluster).await?, false)),
        }
    }

    pub(super) async fn leave(&mut self, cluster: &Arc<Cluster>) {
        match self {
            Self::Classic(member) => member.leave(cluster).await,
            Self::Consumer(member) => member.leave(cluster).await,
        }
    }
}
