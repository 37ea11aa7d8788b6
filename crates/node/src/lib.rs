//! The moving parts of one running node: timers, sockets, disks wired to rules.
//!
//! What must stay true: rules live on the floors below, this crate only joins them; nothing on
//! the control plane waits for a partition's disk; a reply leaves when what it rests on is
//! committed, and the high watermark never passes what the chosen policy calls durable.
//!
//! | to know | read |
//! |---|---|
//! | how a node starts and stops | `node`, `format` |
//! | what an API file may touch | `services` |
//! | the data plane: append, fetch, watermark | `partitions`, `parked`, `group_flush`, `page_cache`, `room`, `cold_reads`, `appends`, `file_slice` |
//! | the control plane: metadata log, controller, image | `quorum` |
//! | groups, transactions and producer ids | `coordinators` |
//! | topics that are made because somebody asked | `on_demand` |
//! | what happens unasked | `upkeep`, `cleaner` |
//! | log directories: replicas that move between them, one that fails, what the controller is told | `moves`, `directory_watch`, `assignments` |
//! | what happens when the level of the metadata rises | `level` |
//! | how much a client may ask for | `quotas` |
//! | what clients tell of themselves | `telemetry` |
//! | what is measured and said | `metrics`, `samples`, `log_levels` |

mod node;
mod format;
mod services;
mod partitions;
mod parked;
mod group_flush;
mod page_cache;
mod room;
mod cold_reads;
mod syncs;
mod appends;
mod file_slice;
mod quorum;
mod coordinators;
mod on_demand;
mod opening;
mod upkeep;
mod news;
mod descriptors;
mod cleaner;
mod moves;
mod assignments;
mod directory_watch;
mod level;
mod throttle;
mod quotas;
mod telemetry;
mod metrics;
mod samples;
mod log_levels;
mod clock;
mod host;
mod in_turn;

pub use appends::Turns;
pub use clock::Clock;
pub use coordinators::{
    GROUP_METADATA_TOPIC, GroupHost, Groups, JoinAs, Joined, Joining, JoiningProducer, KnownTopics,
    Marked, Marker, MarkerWriter, Pace, ProducerIds, Questions, SHARE_STATE_TOPIC,
    TRANSACTION_STATE_TOPIC, Transactions, TxnHost, create_group_topic, create_transaction_topic,
    is_internal_topic,
};
pub use descriptors::Descriptors;
pub use file_slice::FileSlice;
pub use format::{
    DirectoryRole, Format, FormatRefused, Formatted, InitialController, InitialVoters, auto_format,
    standalone,
};
pub use host::{host_name, node_name};
pub use log_levels::{LogLevel, LogLevels, ROOT_LOGGER};
pub use metrics::{
    Counter, DEFINITIONS, Definition, Gauge, Metrics, Page, TopicCounters, metrics_markdown,
};
pub use moves::FutureReplica;
pub use node::{Node, Start, StartFailed};
pub use ottla_coordinators::group::{
    GroupFilter, offset_fetch_groups, offset_fetch_refused, offset_fetch_response,
    txn_offset_commit_response,
};
pub use ottla_coordinators::txn::{
    TransactionFilter, add_partitions_response, add_partitions_result, single_transaction,
};
pub use ottla_coordinators::{
    Client as GroupClient, Topics as GroupTopics, partition_for_group, partition_for_transaction,
};
pub use ottla_raft::{Description as QuorumDescription, ReplicaProgress as QuorumReplica};
pub use ottla_replication::Acknowledgement;
pub use ottla_storage::producer::{Guard, Verified};
pub use ottla_storage::{
    Disk, DiskCall, DiskFaults, DiskVerdict, Isolation, LogView, OffsetQuery, ReadFrom,
};
pub use parked::{Parking, Waiter};
pub use partitions::{
    ActiveProducer, AppendRefused, Appended, Ask, FetchPlan, FetchSessions, Partition, Partitions,
    Told, TopicRef, Wanted,
};
pub use quorum::{ControllerHandle, ImageFeed};
pub use quotas::{ConnectionMeter, ConnectionRates, MutationMeter, Quota, Quotas};
pub use services::{BrokerState, Configured, Services, is_cordoned, random_i32, random_uuid};
pub use telemetry::{Push, Subscribed, Telemetry, TelemetryClient};
