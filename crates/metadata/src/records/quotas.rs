//! Client quotas.

use ottla_protocol::{Message, Text};

/// One limit of one entity, or its removal.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 14, versions = "0", flexible = "0+")]
pub struct ClientQuotaRecord {
    pub entity: Vec<QuotaEntity>,
    pub key: Text,
    pub value: f64,
    pub remove: bool,
}

/// A user, client id or address; without a name, the default of that kind.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(part)]
pub struct QuotaEntity {
    pub entity_type: Text,
    #[field(nullable = "0+")]
    pub entity_name: Option<Text>,
}
