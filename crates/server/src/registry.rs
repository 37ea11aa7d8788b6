//! The table of what we serve: one line per API. ApiVersions is computed from it.

use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ottla_node::Services;
use ottla_protocol::messages::*;
use ottla_protocol::{Versioned, decode_request};

use crate::answer::Answer;
use crate::api;
use crate::overlap::Overlap::{self, Append, BehindFetches, LongPoll, Look};
use crate::session::Call;
use crate::throttle;

pub(crate) const API_VERSIONS: i16 = 18;

type Run = fn(Arc<Services>, Arc<Call>, Bytes) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Which kind of listener serves an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Broker,
    Both,
}

/// One API: what we advertise, what we serve, and who serves it.
#[derive(Debug)]
pub struct Api {
    pub key: i16,
    pub name: &'static str,
    pub served: RangeInclusive<i16>,
    /// The lowest version that ApiVersions names; lower than what is served only for Produce.
    pub advertised_from: i16,
    pub flexible_from: i16,
    pub door: Door,
    /// What it has to do with those before and behind it on its connection.
    pub overlap: Overlap,
    /// Whether the handler touches a partition's disk: then it is served on the data plane.
    pub wants_disk: bool,
    /// Served only while `ottla.client.telemetry` is on.
    pub is_telemetry: bool,
    pub(crate) run: Run,
}

impl Api {
    const fn advertised_from(mut self, version: i16) -> Self {
        self.advertised_from = version;
        self
    }

    const fn overlaps(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    const fn telemetry(mut self) -> Self {
        self.is_telemetry = true;
        self
    }

    /// Whether it is served here and now.
    pub(crate) fn is_on(&self, services: &Services) -> bool {
        !self.is_telemetry || services.telemetry().is_enabled()
    }

    const fn on_disk(mut self) -> Self {
        self.wants_disk = true;
        self
    }
}

/// A handler from typed request to typed response.
macro_rules! api {
    ($request:ty, $served:expr, $door:ident, $handler:path) => {
        api!(@ $request, $served, $door, |services, call, body| Box::pin(async move {
            match decode_request::<$request>(body, call.version) {
                Ok(request) => {
                    let mut response = $handler(&services, &call, request).await;
                    throttle::settle(&services, &call, &mut response);
                    Answer::encode(&call, &response)
                }
                Err(malformed) => Answer::malformed(&call, &malformed),
            }
        }))
    };
    // A handler that writes its own answer: record bytes never pass through a message struct.
    ($request:ty, $served:expr, $door:ident, raw $handler:path) => {
        api!(@ $request, $served, $door, |services, call, body| Box::pin(async move {
            match decode_request::<$request>(body, call.version) {
                Ok(request) => $handler(services, call, request).await,
                Err(malformed) => Answer::malformed(&call, &malformed),
            }
        }))
    };
    (@ $request:ty, $served:expr, $door:ident, $run:expr) => {
        Api {
            key: <$request>::KEY,
            name: <$request>::NAME,
            served: $served,
            advertised_from: *$served.start(),
            flexible_from: <$request>::FLEXIBLE_FROM,
            door: Door::$door,
            overlap: Overlap::Alone,
            wants_disk: false,
            is_telemetry: false,
            run: $run,
        }
    };
}

#[rustfmt::skip]
pub static APIS: &[Api] = &[
    // Produce 0 to 2 are advertised because librdkafka takes Produce 0 for "has headers" (KAFKA-18659).
    api!(ProduceRequest,                3..=13, Broker, raw api::data::produce::handle).advertised_from(0).overlaps(Append).on_disk(),
    api!(FetchRequest,                  4..=18, Broker, raw api::data::fetch::handle).overlaps(LongPoll).on_disk(),
    api!(ListOffsetsRequest,            1..=11, Broker, api::data::list_offsets::handle).overlaps(BehindFetches).on_disk(),
    api!(MetadataRequest,               0..=13, Broker, api::cluster::metadata::handle).overlaps(Look),
    api!(OffsetCommitRequest,           2..=10, Broker, api::group::offset_commit::handle).overlaps(BehindFetches),
    api!(OffsetFetchRequest,            1..=10, Broker, api::group::offset_fetch::handle).overlaps(BehindFetches),
    api!(FindCoordinatorRequest,        0..=6,  Broker, api::group::find_coordinator::handle).overlaps(Look),
    api!(JoinGroupRequest,              0..=9,  Broker, api::group::join_group::handle).overlaps(BehindFetches),
    api!(HeartbeatRequest,              0..=4,  Broker, api::group::heartbeat::handle).overlaps(Look),
    api!(LeaveGroupRequest,             0..=5,  Broker, api::group::leave_group::handle).overlaps(BehindFetches),
    api!(SyncGroupRequest,              0..=5,  Broker, api::group::sync_group::handle).overlaps(BehindFetches),
    api!(DescribeGroupsRequest,         0..=6,  Broker, api::group::describe_groups::handle),
    api!(ListGroupsRequest,             0..=5,  Broker, api::group::list_groups::handle),
    api!(ApiVersionsRequest,            0..=4,  Both,   api::cluster::api_versions::handle).overlaps(Look),
    api!(CreateTopicsRequest,           2..=7,  Both,   api::topic::create_topics::handle),
    api!(DeleteTopicsRequest,           1..=6,  Both,   api::topic::delete_topics::handle),
    api!(DeleteRecordsRequest,          0..=2,  Broker, api::data::delete_records::handle).on_disk(),
    api!(InitProducerIdRequest,         0..=5,  Broker, api::txn::init_producer_id::handle),
    api!(OffsetForLeaderEpochRequest,   2..=4,  Broker, api::data::offset_for_leader_epoch::handle).overlaps(BehindFetches).on_disk(),
    api!(AddPartitionsToTxnRequest,     0..=5,  Broker, api::txn::add_partitions_to_txn::handle),
    api!(AddOffsetsToTxnRequest,        0..=4,  Broker, api::txn::add_offsets_to_txn::handle),
    api!(EndTxnRequest,                 0..=5,  Broker, api::txn::end_txn::handle),
    api!(WriteTxnMarkersRequest,        1..=2,  Broker, api::txn::write_txn_markers::handle).on_disk(),
    api!(TxnOffsetCommitRequest,        0..=5,  Broker, api::txn::txn_offset_commit::handle),
    api!(DescribeConfigsRequest,        1..=4,  Both,   api::config::describe_configs::handle),
    api!(AlterConfigsRequest,           0..=2,  Both,   api::config::alter_configs::handle),
    api!(AlterReplicaLogDirsRequest,    1..=2,  Broker, api::config::alter_replica_log_dirs::handle),
    api!(DescribeLogDirsRequest,        1..=5,  Broker, api::config::describe_log_dirs::handle).on_disk(),
    api!(CreatePartitionsRequest,       0..=3,  Both,   api::topic::create_partitions::handle),
    api!(DeleteGroupsRequest,           0..=2,  Broker, api::group::delete_groups::handle),
    api!(ElectLeadersRequest,           0..=2,  Both,   api::replica::elect_leaders::handle),
    api!(IncrementalAlterConfigsRequest, 0..=1, Both,   api::config::incremental_alter_configs::handle),
    api!(AlterPartitionReassignmentsRequest, 0..=1, Both, api::replica::alter_partition_reassignments::handle),
    api!(ListPartitionReassignmentsRequest, 0..=0, Both, api::replica::list_partition_reassignments::handle),
    api!(OffsetDeleteRequest,           0..=0,  Broker, api::group::offset_delete::handle),
    api!(DescribeClientQuotasRequest,   0..=1,  Broker, api::quota::describe_client_quotas::handle),
    api!(AlterClientQuotasRequest,      0..=1,  Both,   api::quota::alter_client_quotas::handle),
    api!(DescribeUserScramCredentialsRequest, 0..=0, Broker, api::access::describe_user_scram_credentials::handle),
    api!(AlterUserScramCredentialsRequest, 0..=0, Both, api::access::alter_user_scram_credentials::handle),
    api!(DescribeQuorumRequest,         0..=2,  Both,   api::quorum::describe_quorum::handle),
    api!(UpdateFeaturesRequest,         0..=2,  Both,   api::cluster::update_features::handle),
    api!(DescribeClusterRequest,        0..=2,  Both,   api::cluster::describe_cluster::handle).overlaps(Look),
    api!(DescribeProducersRequest,      0..=0,  Broker, api::data::describe_producers::handle).on_disk(),
    api!(UnregisterBrokerRequest,       0..=0,  Both,   api::cluster::unregister_broker::handle),
    api!(DescribeTransactionsRequest,   0..=0,  Broker, api::txn::describe_transactions::handle),
    api!(ListTransactionsRequest,       0..=2,  Broker, api::txn::list_transactions::handle),
    api!(ConsumerGroupHeartbeatRequest, 0..=1,  Broker, api::group::consumer_group_heartbeat::handle),
    api!(ConsumerGroupDescribeRequest,  0..=1,  Broker, api::group::consumer_group_describe::handle),
    api!(GetTelemetrySubscriptionsRequest, 0..=0, Broker, api::telemetry::get_telemetry_subscriptions::handle).telemetry(),
    api!(PushTelemetryRequest,          0..=0,  Broker, api::telemetry::push_telemetry::handle).telemetry(),
    api!(ListConfigResourcesRequest,    0..=1,  Broker, api::config::list_config_resources::handle),
    api!(DescribeTopicPartitionsRequest, 0..=0, Broker, api::cluster::describe_topic_partitions::handle).overlaps(Look),
];

/// The line of an API key.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_once_and_in_order() {
        let keys: Vec<i16> = APIS.iter().map(|api| api.key).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    }

    #[test]
    fn nothing_is_served_that_has_no_message() {
        for api in APIS {
            assert!(api.served.start() <= api.served.end(), "{}", api.name);
            assert!(api.advertised_from <= *api.served.start(), "{}", api.name);
        }
    }
}
