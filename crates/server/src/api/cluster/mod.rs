//! What there is: APIs, nodes, topics.

pub(crate) mod api_versions;
pub(crate) mod metadata;
pub(crate) mod describe_cluster;
pub(crate) mod describe_topic_partitions;
mod picture;
pub(crate) mod update_features;
pub(crate) mod unregister_broker;
