//! Settings of topics, brokers, groups and metric subscriptions; and the log directories.

pub(crate) mod describe_configs;
pub(crate) mod alter_configs;
pub(crate) mod incremental_alter_configs;
pub(crate) mod list_config_resources;
pub(crate) mod describe_log_dirs;
pub(crate) mod alter_replica_log_dirs;
mod altering;
mod loggers;

/// Levels of loggers are settings too, but of the process: they are not kept in the metadata.
const BROKER_LOGGER: i8 = ottla_protocol::messages::DescribeConfigsRequest::BROKER_LOGGER;
