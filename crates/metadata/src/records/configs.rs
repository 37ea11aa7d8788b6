//! Dynamic configuration of topics, brokers, groups and client metrics.

use ottla_protocol::{Message, Text};

/// One setting of one resource; a null value takes the override away.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 4, versions = "0", flexible = "0+")]
pub struct ConfigRecord {
    /// 2 topic, 4 broker, 16 client metrics, 32 group.
    pub resource_type: i8,
    /// Empty for a broker: the default of the whole cluster.
    pub resource_name: Text,
    pub name: Text,
    #[field(nullable = "0+")]
    pub value: Option<Text>,
}
