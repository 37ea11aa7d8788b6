//! One file per API: request and response together, their parts below.
//!
//! Every struct is plain and public, every field carries what the wire says of it (versions, tag,
//! default, nullable, ignorable), and the derive turns that into encode and decode. The names are
//! Kafka's own; a part whose name occurs in several APIs is prefixed by its API. Versions are those
//! that Kafka 4.3 serves and calls stable. Nothing here decides anything.

// What every client speaks.
mod api_versions;
mod metadata;
mod produce;
mod fetch;
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

// Groups of the consumer protocol.
mod consumer_group_heartbeat;
mod consumer_group_describe;

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
mod get_telemetry_subscriptions;
mod push_telemetry;

// Transactions.
mod add_partitions_to_txn;
mod add_offsets_to_txn;
mod txn_offset_commit;
mod end_txn;
mod write_txn_markers;
mod describe_transactions;
mod list_transactions;

// Access.
mod sasl_handshake;
mod sasl_authenticate;
mod describe_acls;
mod create_acls;
mod delete_acls;
mod describe_user_scram_credentials;
mod alter_user_scram_credentials;
mod describe_client_quotas;
mod alter_client_quotas;

// Replicas and nodes, as an administrator moves them.
mod elect_leaders;
mod alter_partition_reassignments;
mod list_partition_reassignments;
mod alter_replica_log_dirs;
mod update_features;
mod unregister_broker;
mod add_raft_voter;
mod remove_raft_voter;

// Between nodes.
mod vote;
mod begin_quorum_epoch;
mod end_quorum_epoch;
mod fetch_snapshot;
mod update_raft_voter;
mod broker_registration;
mod broker_heartbeat;
mod controller_registration;
mod alter_partition;
mod allocate_producer_ids;
mod envelope;
mod control_records;

pub use add_offsets_to_txn::*;
pub use add_partitions_to_txn::*;
pub use add_raft_voter::*;
pub use allocate_producer_ids::*;
pub use alter_client_quotas::*;
pub use alter_configs::*;
pub use alter_partition::*;
pub use alter_partition_reassignments::*;
pub use alter_replica_log_dirs::*;
pub use alter_user_scram_credentials::*;
pub use api_versions::*;
pub use begin_quorum_epoch::*;
pub use broker_heartbeat::*;
pub use broker_registration::*;
pub use consumer_group_describe::*;
pub use consumer_group_heartbeat::*;
pub use consumer_protocol::*;
pub use control_records::*;
pub use controller_registration::*;
pub use create_acls::*;
pub use create_partitions::*;
pub use create_topics::*;
pub use delete_acls::*;
pub use delete_groups::*;
pub use delete_records::*;
pub use delete_topics::*;
pub use describe_acls::*;
pub use describe_client_quotas::*;
pub use describe_cluster::*;
pub use describe_configs::*;
pub use describe_groups::*;
pub use describe_log_dirs::*;
pub use describe_producers::*;
pub use describe_quorum::*;
pub use describe_topic_partitions::*;
pub use describe_transactions::*;
pub use describe_user_scram_credentials::*;
pub use elect_leaders::*;
pub use end_quorum_epoch::*;
pub use end_txn::*;
pub use envelope::*;
pub use fetch::*;
pub use fetch_snapshot::*;
pub use find_coordinator::*;
pub use get_telemetry_subscriptions::*;
pub use heartbeat::*;
pub use incremental_alter_configs::*;
pub use init_producer_id::*;
pub use join_group::*;
pub use leave_group::*;
pub use list_config_resources::*;
pub use list_groups::*;
pub use list_offsets::*;
pub use list_partition_reassignments::*;
pub use list_transactions::*;
pub use metadata::*;
pub use offset_commit::*;
pub use offset_delete::*;
pub use offset_fetch::*;
pub use offset_for_leader_epoch::*;
pub use produce::*;
pub use push_telemetry::*;
pub use remove_raft_voter::*;
pub use sasl_authenticate::*;
pub use sasl_handshake::*;
pub use sync_group::*;
pub use txn_offset_commit::*;
pub use unregister_broker::*;
pub use update_features::*;
pub use update_raft_voter::*;
pub use vote::*;
pub use write_txn_markers::*;
