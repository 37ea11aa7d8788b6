//! One file per API: request and response together, their parts below.
//!
//! Every struct is plain and public, every field carries what the wire says of it (versions, tag,
//! default, nullable, ignorable), and the derive turns that into encode and decode. The names are
//! Kafka's own; a part whose name occurs in several APIs is prefixed by its API. Versions are those
//! that Kafka 4.3 serves and calls stable. Nothing here decides anything.

// What every client speaks.
mod api_versions;
mod metadata;
mod list_offsets;
mod offset_for_leader_epoch;
mod init_producer_id;

// Classic groups.
mod find_coordinator;
mod join_group;
mod sync_group;
mod heartbeat;
mod leave_group;
mod offset_commit;
mod offset_fetch;
mod offset_delete;
mod list_groups;
mod describe_groups;
mod delete_groups;
mod consumer_protocol;

// Administration.
mod create_topics;
mod delete_topics;
mod create_partitions;
mod describe_topic_partitions;
mod delete_records;
mod describe_producers;
mod describe_cluster;
mod describe_configs;
mod alter_configs;
mod incremental_alter_configs;
mod list_config_resources;
mod describe_log_dirs;
mod describe_quorum;

// Between nodes.
mod control_records;

pub use alter_configs::*;
pub use api_versions::*;
pub use consumer_protocol::*;
pub use control_records::*;
pub use create_partitions::*;
pub use create_topics::*;
pub use delete_groups::*;
pub use delete_records::*;
pub use delete_topics::*;
pub use describe_cluster::*;
pub use describe_configs::*;
pub use describe_groups::*;
pub use describe_log_dirs::*;
pub use describe_producers::*;
pub use describe_quorum::*;
pub use describe_topic_partitions::*;
pub use find_coordinator::*;
pub use heartbeat::*;
pub use incremental_alter_configs::*;
pub use init_producer_id::*;
pub use join_group::*;
pub use leave_group::*;
pub use list_config_resources::*;
pub use list_groups::*;
pub use list_offsets::*;
pub use metadata::*;
pub use offset_commit::*;
pub use offset_delete::*;
pub use offset_fetch::*;
pub use offset_for_leader_epoch::*;
pub use sync_group::*;
