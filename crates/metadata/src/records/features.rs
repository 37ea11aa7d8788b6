//! Feature levels, and what only old clusters still carry.

use ottla_protocol::{Message, Text};

/// A finalized level; level 0 takes the feature away.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 12, versions = "0", flexible = "0+")]
pub struct FeatureLevelRecord {
    pub name: Text,
    pub feature_level: i16,
}

/// Left behind by a migration from ZooKeeper; means nothing any more.
#[derive(Debug, Clone, PartialEq, Message)]
#[message(record, key = 21, versions = "0", flexible = "0+")]
pub struct ZkMigrationStateRecord {
    pub zk_migration_state: i8,
}
