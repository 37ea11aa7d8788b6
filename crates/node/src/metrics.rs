//! One table of every metric that we expose, and the counters behind it.
//!
//! Names are those under which dashboards know Kafka's MBeans through the JMX exporter; ours
//! start with `ottla_`. A gauge that can be computed is computed when somebody asks
//! (`samples.rs`); what only the moment knows is counted here.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

/// How Prometheus shall read a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Summary,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

/// One row of `docs/metrics.md`.
#[derive(Debug)]
pub struct Definition {
    pub name: &'static str,
    pub kind: Kind,
    /// Kafka's MBean, empty for metrics of our own.
    pub mbean: &'static str,
    pub help: &'static str,
}

macro_rules! definitions {
    ($($constant:ident = $kind:ident $name:literal $mbean:literal $help:literal;)*) => {
        $(pub(crate) const $constant: &Definition = &Definition { name: $name, kind: Kind::$kind, mbean: $mbean, help: $help };)*
        /// Every metric, in the order of the page.
        pub const DEFINITIONS: &[&Definition] = &[$($constant),*];
    };
}

definitions! {
    BROKER_STATE = Gauge "kafka_server_kafkaserver_brokerstate" "kafka.server:type=KafkaServer,name=BrokerState" "State of the broker: 1 starting, 2 recovering, 3 running, 6 leaving in order, 7 stopping.";
    MESSAGES_IN = Counter "kafka_server_brokertopicmetrics_messagesin_total" "kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec" "Records appended by producers, per topic and in all.";
    BYTES_IN = Counter "kafka_server_brokertopicmetrics_bytesin_total" "kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec" "Bytes of batches appended by producers.";
    BYTES_OUT = Counter "kafka_server_brokertopicmetrics_bytesout_total" "kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec" "Bytes of batches handed to consumers.";
    BYTES_REJECTED = Counter "kafka_server_brokertopicmetrics_bytesrejected_total" "kafka.server:type=BrokerTopicMetrics,name=BytesRejectedPerSec" "Bytes of batches refused because they were too large.";
    FAILED_PRODUCE = Counter "kafka_server_brokertopicmetrics_failedproducerequests_total" "kafka.server:type=BrokerTopicMetrics,name=FailedProduceRequestsPerSec" "Partitions of Produce requests that were refused.";
    FAILED_FETCH = Counter "kafka_server_brokertopicmetrics_failedfetchrequests_total" "kafka.server:type=BrokerTopicMetrics,name=FailedFetchRequestsPerSec" "Partitions of Fetch requests that were refused.";
    TOTAL_PRODUCE = Counter "kafka_server_brokertopicmetrics_totalproducerequests_total" "kafka.server:type=BrokerTopicMetrics,name=TotalProduceRequestsPerSec" "Partitions of Produce requests.";
    TOTAL_FETCH = Counter "kafka_server_brokertopicmetrics_totalfetchrequests_total" "kafka.server:type=BrokerTopicMetrics,name=TotalFetchRequestsPerSec" "Partitions of Fetch requests.";
    INVALID_CRC = Counter "kafka_server_brokertopicmetrics_invalidmessagecrcrecords_total" "kafka.server:type=BrokerTopicMetrics,name=InvalidMessageCrcRecordsPerSec" "Batches refused because of their checksum.";
    NO_KEY_COMPACTED = Counter "kafka_server_brokertopicmetrics_nokeycompactedtopicrecords_total" "kafka.server:type=BrokerTopicMetrics,name=NoKeyCompactedTopicRecordsPerSec" "Batches refused because a record of a compacted topic had no key.";
    UNDER_REPLICATED = Gauge "kafka_server_replicamanager_underreplicatedpartitions" "kafka.server:type=ReplicaManager,name=UnderReplicatedPartitions" "Partitions led here with fewer in-sync replicas than replicas.";
    UNDER_MIN_ISR = Gauge "kafka_server_replicamanager_underminisrpartitioncount" "kafka.server:type=ReplicaManager,name=UnderMinIsrPartitionCount" "Partitions led here with fewer in-sync replicas than min.insync.replicas.";
    AT_MIN_ISR = Gauge "kafka_server_replicamanager_atminisrpartitioncount" "kafka.server:type=ReplicaManager,name=AtMinIsrPartitionCount" "Partitions led here with exactly min.insync.replicas in-sync replicas.";
    OFFLINE_REPLICAS = Gauge "kafka_server_replicamanager_offlinereplicacount" "kafka.server:type=ReplicaManager,name=OfflineReplicaCount" "Replicas in log directories that have failed.";
    LEADER_COUNT = Gauge "kafka_server_replicamanager_leadercount" "kafka.server:type=ReplicaManager,name=LeaderCount" "Partitions led by this node.";
    PARTITION_COUNT = Gauge "kafka_server_replicamanager_partitioncount" "kafka.server:type=ReplicaManager,name=PartitionCount" "Partitions on this node.";
    ISR_SHRINKS = Counter "kafka_server_replicamanager_isrshrinks_total" "kafka.server:type=ReplicaManager,name=IsrShrinksPerSec" "Times that an in-sync set of a partition led here lost members.";
    ISR_EXPANDS = Counter "kafka_server_replicamanager_isrexpands_total" "kafka.server:type=ReplicaManager,name=IsrExpandsPerSec" "Times that an in-sync set of a partition led here won members.";
    ACTIVE_CONTROLLER = Gauge "kafka_controller_kafkacontroller_activecontrollercount" "kafka.controller:type=KafkaController,name=ActiveControllerCount" "1 on the active controller.";
    ACTIVE_BROKERS = Gauge "kafka_controller_kafkacontroller_activebrokercount" "kafka.controller:type=KafkaController,name=ActiveBrokerCount" "Registered brokers that are not fenced.";
    FENCED_BROKERS = Gauge "kafka_controller_kafkacontroller_fencedbrokercount" "kafka.controller:type=KafkaController,name=FencedBrokerCount" "Registered brokers that are fenced.";
    GLOBAL_TOPICS = Gauge "kafka_controller_kafkacontroller_globaltopiccount" "kafka.controller:type=KafkaController,name=GlobalTopicCount" "Topics in the cluster.";
    GLOBAL_PARTITIONS = Gauge "kafka_controller_kafkacontroller_globalpartitioncount" "kafka.controller:type=KafkaController,name=GlobalPartitionCount" "Partitions in the cluster.";
    OFFLINE_PARTITIONS = Gauge "kafka_controller_kafkacontroller_offlinepartitionscount" "kafka.controller:type=KafkaController,name=OfflinePartitionsCount" "Partitions without a leader.";
    PREFERRED_IMBALANCE = Gauge "kafka_controller_kafkacontroller_preferredreplicaimbalancecount" "kafka.controller:type=KafkaController,name=PreferredReplicaImbalanceCount" "Partitions not led by their preferred replica.";
    METADATA_ERRORS = Counter "kafka_controller_kafkacontroller_metadataerrorcount" "kafka.controller:type=KafkaController,name=MetadataErrorCount" "Errors while the metadata log was applied.";
    RAFT_LEADER = Gauge "kafka_server_raftmetrics_current_leader" "kafka.server:type=raft-metrics,current-leader" "Node id of the quorum's leader.";
    RAFT_EPOCH = Gauge "kafka_server_raftmetrics_current_epoch" "kafka.server:type=raft-metrics,current-epoch" "Epoch of the quorum.";
    RAFT_HIGH_WATERMARK = Gauge "kafka_server_raftmetrics_high_watermark" "kafka.server:type=raft-metrics,high-watermark" "High watermark of the metadata log.";
    RAFT_LOG_END = Gauge "kafka_server_raftmetrics_log_end_offset" "kafka.server:type=raft-metrics,log-end-offset" "Log end offset of the metadata log.";
    RAFT_VOTERS = Gauge "kafka_server_raftmetrics_number_of_voters" "kafka.server:type=raft-metrics,number-of-voters" "Voters of the quorum.";
    REQUESTS = Counter "kafka_network_requestmetrics_requests_total" "kafka.network:type=RequestMetrics,name=RequestsPerSec,request=,version=" "Requests by API and version.";
    REQUEST_ERRORS = Counter "kafka_network_requestmetrics_errors_total" "kafka.network:type=RequestMetrics,name=ErrorsPerSec,request=,error=" "Error codes in responses, by API.";
    REQUEST_TIME = Summary "kafka_network_requestmetrics_totaltimems" "kafka.network:type=RequestMetrics,name=TotalTimeMs,request=" "Milliseconds from a request's first byte decided to its answer ready.";
    PRODUCE_RATE = Gauge "kafka_server_produce_byte_rate" "kafka.server:type=Produce,user=,client-id=,byte-rate" "Bytes of Produce requests a second, by user and client id, while anybody has a producer_byte_rate.";
    PRODUCE_PAUSE = Gauge "kafka_server_produce_throttle_time" "kafka.server:type=Produce,user=,client-id=,throttle-time" "Milliseconds of the pauses that producer_byte_rate asked for, on average.";
    PRODUCE_QUEUE = Gauge "kafka_server_produce_queue_size" "kafka.server:type=Produce,queue-size" "Connections that are not read because of producer_byte_rate.";
    FETCH_RATE = Gauge "kafka_server_fetch_byte_rate" "kafka.server:type=Fetch,user=,client-id=,byte-rate" "Bytes of Fetch answers a second, by user and client id, while anybody has a consumer_byte_rate.";
    FETCH_PAUSE = Gauge "kafka_server_fetch_throttle_time" "kafka.server:type=Fetch,user=,client-id=,throttle-time" "Milliseconds of the pauses that consumer_byte_rate asked for, on average.";
    FETCH_QUEUE = Gauge "kafka_server_fetch_queue_size" "kafka.server:type=Fetch,queue-size" "Connections that are not read because of consumer_byte_rate.";
    REQUEST_RATE = Gauge "kafka_server_request_request_time" "kafka.server:type=Request,user=,client-id=,request-time" "Per cent of one thread that requests take, by user and client id, while anybody has a request_percentage.";
    REQUEST_PAUSE = Gauge "kafka_server_request_throttle_time" "kafka.server:type=Request,user=,client-id=,throttle-time" "Milliseconds of the pauses that request_percentage asked for, on average.";
    REQUEST_QUEUE = Gauge "kafka_server_request_queue_size" "kafka.server:type=Request,queue-size" "Connections that are not read because of request_percentage.";
    REQUEST_EXEMPT = Gauge "kafka_server_request_exempt_request_time" "kafka.server:type=Request,exempt-request-time" "Per cent of one thread that requests take which no quota pauses.";
    MUTATION_RATE = Gauge "kafka_server_controllermutation_mutation_rate" "kafka.server:type=ControllerMutation,user=,client-id=,mutation-rate" "Partitions made and deleted a second, by user and client id, while anybody has a controller_mutation_rate.";
    MUTATION_TOKENS = Gauge "kafka_server_controllermutation_tokens" "kafka.server:type=ControllerMutation,user=,client-id=,tokens" "Partitions that may be made or deleted at once.";
    MUTATION_PAUSE = Gauge "kafka_server_controllermutation_throttle_time" "kafka.server:type=ControllerMutation,user=,client-id=,throttle-time" "Milliseconds of the pauses that controller_mutation_rate asked for, on average.";
    MUTATION_QUEUE = Gauge "kafka_server_controllermutation_queue_size" "kafka.server:type=ControllerMutation,queue-size" "Connections that are not read because of controller_mutation_rate.";
    CLIENT_METRIC = Gauge "ottla_client_metric" "" "What clients push (KIP-714) while ottla.client.telemetry is on: a value for each metric, client and the attributes that the client gives it; deltas are added up, histograms have `.sum` and `.count`.";
    TELEMETRY_CLIENTS = Gauge "kafka_server_client_metrics_instance_count" "kafka.server:type=client-metrics,instance-count" "Clients that have asked for a subscription to push metrics, and are there.";
    TELEMETRY_UNKNOWN = Counter "kafka_server_client_metrics_unknown_subscription_request_count" "kafka.server:type=client-metrics,unknown-subscription-request-count" "Pushes refused because the client's subscription had changed.";
    TELEMETRY_THROTTLED = Counter "kafka_server_client_metrics_throttle_count" "kafka.server:type=client-metrics,throttle-count" "Requests about metrics refused because they came before their time.";
    TELEMETRY_TAKEN = Counter "kafka_server_client_metrics_plugin_export_count" "kafka.server:type=client-metrics,plugin-export-count" "Pushes taken in.";
    TELEMETRY_UNREADABLE = Counter "kafka_server_client_metrics_plugin_error_count" "kafka.server:type=client-metrics,plugin-error-count" "Pushes that could not be read.";
    CONNECTIONS_HELD = Gauge "ottla_connections_held_by_rate" "" "Connections that are kept without an answer until they are closed, because their address opens more than its connection_creation_rate.";
    CONNECTIONS_THROTTLED = Counter "ottla_connections_refused_by_rate_total" "" "Connections that were closed for the same reason.";
    CONNECTIONS = Gauge "kafka_server_socket_server_metrics_connection_count" "kafka.server:type=socket-server-metrics,connection-count" "Open connections.";
    CONNECTIONS_CREATED = Counter "kafka_server_socket_server_metrics_connection_creation_total" "kafka.server:type=socket-server-metrics,connection-creation-total" "Connections accepted.";
    CONNECTIONS_EXPIRED = Counter "kafka_server_socket_server_metrics_expired_connections_killed_count" "kafka.server:type=socket-server-metrics,expired-connections-killed-count" "Connections closed because they were idle for connections.max.idle.ms.";
    REQUESTS_IN_FLIGHT = Gauge "ottla_requests_in_flight" "" "Requests that have been started and are not answered yet, over all connections.";
    REQUEST_MEMORY_USED = Gauge "kafka_network_socketserver_memorypoolused" "kafka.network:type=SocketServer,name=MemoryPoolUsed" "Bytes of queued.max.request.bytes that requests above 64 KiB hold.";
    REQUEST_MEMORY_FREE = Gauge "kafka_network_socketserver_memorypoolavailable" "kafka.network:type=SocketServer,name=MemoryPoolAvailable" "Bytes of it that are free.";
    CONNECTIONS_SHORT = Gauge "ottla_connections_waiting_for_memory" "" "Connections whose next request waits for memory.";
    OFFLINE_DIRECTORIES = Gauge "kafka_log_logmanager_offlinelogdirectorycount" "kafka.log:type=LogManager,name=OfflineLogDirectoryCount" "Log directories that have failed.";
    DIRECTORY_OFFLINE = Gauge "kafka_log_logmanager_logdirectoryoffline" "kafka.log:type=LogManager,name=LogDirectoryOffline,logDirectory=" "1 if a log directory has failed.";
    MOVES = Gauge "ottla_replica_moves" "" "Replicas on their way to another log directory of this node.";
    MOVED_BYTES = Counter "ottla_replica_moves_bytes_total" "" "Bytes copied for replicas that move to another log directory.";
    MOVES_LAG = Gauge "kafka_server_replicaalterlogdirsmanager_maxlag" "kafka.server:type=ReplicaAlterLogDirsManager,name=MaxLag,clientId=ReplicaAlterLogDirs" "Records that the copy which is furthest behind lacks, of replicas that move to another log directory.";
    MOVES_FAILED = Gauge "kafka_server_replicaalterlogdirsmanager_failedpartitionscount" "kafka.server:type=ReplicaAlterLogDirsManager,name=FailedPartitionsCount,clientId=ReplicaAlterLogDirs" "Replicas that should move to another log directory and cannot.";
    MOVES_DEAD = Gauge "kafka_server_replicaalterlogdirsmanager_deadthreadcount" "kafka.server:type=ReplicaAlterLogDirsManager,name=DeadThreadCount,clientId=ReplicaAlterLogDirs" "Threads that moved replicas between log directories and have ended by a fault of ours.";
    LOG_SIZE = Gauge "kafka_log_log_size" "kafka.log:type=Log,name=Size,topic=,partition=" "Bytes of a partition's log.";
    LOG_SEGMENTS = Gauge "kafka_log_log_numlogsegments" "kafka.log:type=Log,name=NumLogSegments,topic=,partition=" "Segments of a partition's log.";
    LOG_END = Gauge "kafka_log_log_logendoffset" "kafka.log:type=Log,name=LogEndOffset,topic=,partition=" "Offset after the last record of a partition.";
    LOG_START = Gauge "kafka_log_log_logstartoffset" "kafka.log:type=Log,name=LogStartOffset,topic=,partition=" "First offset of a partition.";
    LOG_FLUSH = Summary "kafka_log_logflushstats_logflushrateandtimems" "kafka.log:type=LogFlushStats,name=LogFlushRateAndTimeMs" "Milliseconds of each flush of a log to the disk.";
    CLEANER_BUFFER = Gauge "kafka_log_logcleaner_max_buffer_utilization_percent" "kafka.log:type=LogCleaner,name=max-buffer-utilization-percent" "How full the table of keys was in the last compaction of a thread, the largest of all.";
    CLEANER_RECOPY = Gauge "kafka_log_logcleaner_cleaner_recopy_percent" "kafka.log:type=LogCleaner,name=cleaner-recopy-percent" "Bytes that the last compactions wrote, per cent of what they read.";
    CLEANER_TIME = Gauge "kafka_log_logcleaner_max_clean_time_secs" "kafka.log:type=LogCleaner,name=max-clean-time-secs" "Seconds that the last compaction of a thread took, the largest of all.";
    CLEANER_DELAY = Gauge "kafka_log_logcleaner_max_compaction_delay_secs" "kafka.log:type=LogCleaner,name=max-compaction-delay-secs" "Seconds by which max.compaction.lag.ms was overrun when the last compactions began.";
    CLEANER_DEAD = Gauge "kafka_log_logcleaner_deadthreadcount" "kafka.log:type=LogCleaner,name=DeadThreadCount" "Threads of the log cleaner that have died.";
    UNCLEANABLE = Gauge "kafka_log_logcleanermanager_uncleanable_partitions_count" "kafka.log:type=LogCleanerManager,name=uncleanable-partitions-count,logDirectory=" "Partitions that are not compacted any more because it failed, by log directory.";
    UNCLEANABLE_BYTES = Gauge "kafka_log_logcleanermanager_uncleanable_bytes" "kafka.log:type=LogCleanerManager,name=uncleanable-bytes,logDirectory=" "Bytes in them that wait for compaction.";
    MAX_DIRTY = Gauge "kafka_log_logcleanermanager_max_dirty_percent" "kafka.log:type=LogCleanerManager,name=max-dirty-percent" "Per cent of the dirtiest log that wait for compaction.";
    CLEANER_LAST_RUN = Gauge "kafka_log_logcleanermanager_time_since_last_run_ms" "kafka.log:type=LogCleanerManager,name=time-since-last-run-ms" "Milliseconds since the log cleaner last looked for work.";
    PURGATORY = Gauge "kafka_server_delayedoperationpurgatory_purgatorysize" "kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation=" "Requests that wait, by kind.";
    FETCH_SESSIONS = Gauge "kafka_server_fetchsessioncache_numincrementalfetchsessions" "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchSessions" "Incremental fetch sessions.";
    FETCH_SESSION_PARTITIONS = Gauge "kafka_server_fetchsessioncache_numincrementalfetchpartitionscached" "kafka.server:type=FetchSessionCache,name=NumIncrementalFetchPartitionsCached" "Partitions in incremental fetch sessions.";
    GROUPS = Gauge "kafka_coordinator_group_groupmetadatamanager_numgroups" "kafka.coordinator.group:type=GroupMetadataManager,name=NumGroups" "Groups coordinated here, by state.";
    GROUP_OFFSETS = Gauge "kafka_coordinator_group_groupmetadatamanager_numoffsets" "kafka.coordinator.group:type=GroupMetadataManager,name=NumOffsets" "Committed offsets kept here.";
    GROUP_PARTITIONS = Gauge "kafka_server_group_coordinator_metrics_num_partitions" "kafka.server:type=group-coordinator-metrics,num-partitions" "Partitions of __consumer_offsets, by state of their coordinator.";
    OFFSET_COMMITS = Counter "kafka_server_group_coordinator_metrics_offset_commit_count" "kafka.server:type=group-coordinator-metrics,offset-commit-count" "Offsets committed.";
    GROUP_REBALANCES = Counter "kafka_server_group_coordinator_metrics_group_completed_rebalance_count" "kafka.server:type=group-coordinator-metrics,group-completed-rebalance-count" "Rebalances of classic groups that completed.";
    CONSUMER_GROUPS = Gauge "kafka_server_group_coordinator_metrics_consumer_group_count" "kafka.server:type=group-coordinator-metrics,name=consumer-group-count,state=" "Groups of the consumer protocol coordinated here, by state.";
    CONSUMER_GROUP_REBALANCES = Counter "kafka_server_group_coordinator_metrics_consumer_group_rebalance_count" "kafka.server:type=group-coordinator-metrics,name=consumer-group-rebalance-count" "New epochs of groups of the consumer protocol: members or topics changed.";
    TXN_PARTITIONS = Gauge "kafka_server_transaction_coordinator_metrics_num_partitions" "" "Partitions of __transaction_state, by state of their coordinator.";
    TXN_IDS = Gauge "ottla_transactional_ids" "" "Transactional ids coordinated here, by the state of their transaction.";
    TXN_OPEN = Gauge "ottla_transactions_open" "" "Transactions coordinated here that are open.";
    TXN_COMMITTED = Counter "ottla_transactions_committed_total" "" "Transactions that were committed in every partition.";
    TXN_ABORTED = Counter "ottla_transactions_aborted_total" "" "Transactions that were aborted in every partition.";
    TXN_TIMED_OUT = Counter "ottla_transactions_timed_out_total" "" "Transactions that are aborted because they were open for too long.";
    TXN_LATE = Gauge "kafka_server_replicamanager_partitionswithlatetransactionscount" "kafka.server:type=ReplicaManager,name=PartitionsWithLateTransactionsCount" "Partitions with a transaction that is open though nobody has written to it for transaction.max.timeout.ms and five minutes: its coordinator does not end it.";
    TXN_MARKER_TIME = Summary "ottla_transaction_marker_duration_ms" "" "Milliseconds from the decision on a transaction until each of its partitions has its marker.";
    VERIFICATION_FAILURES = Counter "kafka_server_addpartitionstotxnmanager_verificationfailure_total" "kafka.server:type=AddPartitionsToTxnManager,name=VerificationFailureRate" "Writes into a transaction that its coordinator refused.";
    VERIFICATION_TIME = Summary "kafka_server_addpartitionstotxnmanager_verificationtimems" "kafka.server:type=AddPartitionsToTxnManager,name=VerificationTimeMs" "Milliseconds until a transaction's coordinator has answered.";
    PRODUCER_IDS = Gauge "kafka_server_replicamanager_produceridcount" "kafka.server:type=ReplicaManager,name=ProducerIdCount" "Producer ids remembered by the partitions.";
    UPTIME = Gauge "ottla_uptime_seconds" "" "Seconds since the process started.";
    FLUSH_WAITING = Gauge "ottla_flush_dirty_partitions" "" "Partitions whose newest records are not yet on the disk.";
    OPEN_FILES = Gauge "ottla_open_files" "" "Files of logs that are open.";
    OPEN_FILES_MAX = Gauge "ottla_open_files_max" "" "How many are meant to be, those aside that are in use: a share of the limit of this process.";
    FILES_CLOSED = Counter "ottla_files_closed_total" "" "Files of logs that were closed because others were needed; each is opened again at the next need.";
    LOGS_FOUND = Gauge "ottla_logs_found" "" "Logs that were found at the start.";
    LOGS_OPENED = Gauge "ottla_logs_opened" "" "Those of them that are open, or cannot be opened.";
    LOG_BYTES_TO_OPEN = Gauge "ottla_log_bytes_to_open" "" "After a crash: bytes of segments from the recovery points on, of logs that are not open yet. Not all of them are read.";
    RESERVED = Gauge "ottla_preallocated_bytes" "" "Bytes reserved on the disk ahead of what partitions write, by log directory, as of the last second.";
    RESERVE_TIME = Summary "ottla_preallocation_duration_ms" "" "Milliseconds of each reservation of room on the disk.";
    COLD_READ_TIME = Summary "ottla_cold_read_duration_ms" "" "Milliseconds of each read for a consumer that had to wait for the disk, its turn included.";
    COLD_READS_WAITING = Gauge "ottla_cold_reads_waiting" "" "Reads that wait for the disk or for their turn, by log directory.";
    APPEND_AVERAGE = Gauge "ottla_append_average_ms" "" "Moving average of the milliseconds that a write to the log takes, by log directory.";
    APPENDS_ELSEWHERE = Counter "ottla_appends_on_directory_thread_total" "" "Appends that were left to the thread of a log directory, because its disk was slow or a batch opens to very much.";
    APPEND_TIME = Summary "ottla_append_duration_ms" "" "Milliseconds of one append under the partition's lock.";
    BUILD = Gauge "ottla_build" "" "Always 1; the label carries the version.";
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub fn set(&self, n: usize) {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations in log-linear buckets: a power of two of microseconds, cut in four. Quantiles are
/// over the life of the process, at most 19 % too high.
#[derive(Debug)]
pub struct Durations {
    buckets: [AtomicU64; Self::N_BUCKETS],
    sum_micros: AtomicU64,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; Self::N_BUCKETS],
            sum_micros: AtomicU64::new(0),
        }
    }
}

impl Durations {
    /// Four buckets for each power of two up to 2^31 µs (36 minutes).
    const N_BUCKETS: usize = 128;
    const QUANTILES: [f64; 6] = [0.5, 0.75, 0.95, 0.98, 0.99, 0.999];

    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[Self::bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn bucket(micros: u64) -> usize {
        let micros = micros.max(1);
        let power = micros.ilog2() as usize;
        let quarter = if power >= 2 {
            (micros >> (power - 2)) as usize & 3
        } else {
            0
        };
        (power * 4 + quarter).min(Self::N_BUCKETS - 1)
    }

    /// The upper end of a bucket, in milliseconds.
    fn bucket_end_ms(bucket: usize) -> f64 {
        let (power, quarter) = (bucket / 4, bucket % 4);
        let start = (1u64 << power) as f64;
        start * (1.0 + (quarter as f64 + 1.0) / 4.0) / 1000.0
    }

    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .sum()
    }

    /// Milliseconds below which the given share of all observations lies.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted && seen > 0 {
                return Self::bucket_end_ms(index);
            }
        }
        0.0
    }
}

/// What one topic's partitions count together.
#[derive(Debug, Default)]
pub struct TopicCounters {
    pub messages_in: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub bytes_rejected: Counter,
    pub failed_produce: Counter,
    pub failed_fetch: Counter,
    pub total_produce: Counter,
    pub total_fetch: Counter,
}

/// API keys and versions are small numbers: requests are counted in a flat table.
const KEYS: usize = 128;
const VERSIONS: usize = 32;

/// The counters of a node.
#[derive(Debug)]
pub struct Metrics {
    pub connections: Gauge,
    pub connections_created: Counter,
    pub connections_held: Gauge,
    pub connections_throttled: Counter,
    pub connections_expired: Counter,
    pub requests_in_flight: Gauge,
    pub request_memory_used: Gauge,
    pub request_memory_free: Gauge,
    pub connections_short: Gauge,
    pub invalid_crc: Counter,
    pub no_key_compacted: Counter,
    pub metadata_errors: Counter,
    pub isr_shrinks: Counter,
    pub isr_expands: Counter,
    pub failed_verifications: Counter,
    pub verifications: Durations,
    pub markers: Durations,
    pub flushes: Durations,
    pub appends: Durations,
    pub reservations: Durations,
    pub cold_reads: Durations,
    /// Bytes written to all logs, whoever wrote them: upkeep goes by it.
    pub(crate) log_bytes: Counter,
    pub(crate) moved_bytes: Counter,
    requests: Vec<Counter>,
    request_times: Vec<Durations>,
    errors: RwLock<HashMap<(i16, i16), Arc<Counter>>>,
    topics: RwLock<HashMap<Arc<str>, Arc<TopicCounters>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            connections_created: Counter::default(),
            connections_held: Gauge::default(),
            connections_throttled: Counter::default(),
            connections_expired: Counter::default(),
            requests_in_flight: Gauge::default(),
            request_memory_used: Gauge::default(),
            request_memory_free: Gauge::default(),
            connections_short: Gauge::default(),
            invalid_crc: Counter::default(),
            no_key_compacted: Counter::default(),
            metadata_errors: Counter::default(),
            isr_shrinks: Counter::default(),
            isr_expands: Counter::default(),
            failed_verifications: Counter::default(),
            verifications: Durations::default(),
            markers: Durations::default(),
            flushes: Durations::default(),
            appends: Durations::default(),
            reservations: Durations::default(),
            cold_reads: Durations::default(),
            log_bytes: Counter::default(),
            moved_bytes: Counter::default(),
            requests: std::iter::repeat_with(Counter::default)
                .take(KEYS * VERSIONS)
                .collect(),
            request_times: std::iter::repeat_with(Durations::default)
                .take(KEYS)
                .collect(),
            errors: RwLock::default(),
            topics: RwLock::default(),
        }
    }
}

impl Metrics {
    pub fn request_came(&self, key: i16, version: i16) {
        if let Some(counter) = slot(key, version).and_then(|slot| self.requests.get(slot)) {
            counter.add(1);
        }
    }

    pub fn request_done(&self, key: i16, took: Duration) {
        if let Some(times) = usize::try_from(key)
            .ok()
            .and_then(|key| self.request_times.get(key))
        {
            times.observe(took);
        }
    }

    /// Counts an error code of a response.
    pub fn request_erred(&self, key: i16, error: i16) {
        if let Some(counter) = self.errors.read().get(&(key, error)) {
            return counter.add(1);
        }
        self.errors.write().entry((key, error)).or_default().add(1);
    }

    /// The counters of a topic, made on first use.
    pub fn topic(&self, name: &str) -> Arc<TopicCounters> {
        if let Some(counters) = self.topics.read().get(name) {
            return counters.clone();
        }
        self.topics.write().entry(name.into()).or_default().clone()
    }

    /// A deleted topic is no longer shown.
    pub fn forget_topic(&self, name: &str) {
        self.topics.write().remove(name);
    }

    /// Writes what is counted here; `api_name` names the API of a key.
    pub fn write(&self, page: &mut Page, api_name: impl Fn(i16) -> Option<&'static str>) {
        self.write_topics(page);
        page.plain(CONNECTIONS, self.connections.get() as f64);
        page.plain(CONNECTIONS_CREATED, self.connections_created.get() as f64);
        page.plain(CONNECTIONS_HELD, self.connections_held.get() as f64);
        page.plain(
            CONNECTIONS_THROTTLED,
            self.connections_throttled.get() as f64,
        );
        page.plain(CONNECTIONS_EXPIRED, self.connections_expired.get() as f64);
        page.plain(REQUESTS_IN_FLIGHT, self.requests_in_flight.get() as f64);
        page.plain(REQUEST_MEMORY_USED, self.request_memory_used.get() as f64);
        page.plain(REQUEST_MEMORY_FREE, self.request_memory_free.get() as f64);
        page.plain(CONNECTIONS_SHORT, self.connections_short.get() as f64);
        page.plain(INVALID_CRC, self.invalid_crc.get() as f64);
        page.plain(NO_KEY_COMPACTED, self.no_key_compacted.get() as f64);
        page.plain(METADATA_ERRORS, self.metadata_errors.get() as f64);
        page.plain(MOVED_BYTES, self.moved_bytes.get() as f64);
        page.plain(ISR_SHRINKS, self.isr_shrinks.get() as f64);
        page.plain(ISR_EXPANDS, self.isr_expands.get() as f64);
        page.plain(
            VERIFICATION_FAILURES,
            self.failed_verifications.get() as f64,
        );
        page.durations(VERIFICATION_TIME, &[], &self.verifications);
        page.durations(TXN_MARKER_TIME, &[], &self.markers);
        page.durations(LOG_FLUSH, &[], &self.flushes);
        page.durations(APPEND_TIME, &[], &self.appends);
        page.durations(RESERVE_TIME, &[], &self.reservations);
        page.durations(COLD_READ_TIME, &[], &self.cold_reads);
        for key in 0..KEYS as i16 {
            let Some(name) = api_name(key) else { continue };
            for version in 0..VERSIONS as i16 {
                let n = slot(key, version).map_or(0, |slot| self.requests[slot].get());
                if n > 0 {
                    let labels = [("request", name), ("version", &version.to_string())];
                    page.labelled(REQUESTS, &labels, n as f64);
                }
            }
            let times = &self.request_times[key as usize];
            if times.count() > 0 {
                page.durations(REQUEST_TIME, &[("request", name)], times);
            }
        }
        for ((key, error), counter) in self.errors.read().iter() {
            let name = api_name(*key).unwrap_or("Unknown");
            let error = ottla_protocol::Refusal::from_code(*error)
                .map_or_else(|| error.to_string(), |refusal| refusal.name().to_owned());
            page.labelled(
                REQUEST_ERRORS,
                &[("request", name), ("error", &error)],
                counter.get() as f64,
            );
        }
    }

    fn write_topics(&self, page: &mut Page) {
        type Field = fn(&TopicCounters) -> &Counter;
        const FIELDS: [(&Definition, Field); 8] = [
            (MESSAGES_IN, |topic| &topic.messages_in),
            (BYTES_IN, |topic| &topic.bytes_in),
            (BYTES_OUT, |topic| &topic.bytes_out),
            (BYTES_REJECTED, |topic| &topic.bytes_rejected),
            (FAILED_PRODUCE, |topic| &topic.failed_produce),
            (FAILED_FETCH, |topic| &topic.failed_fetch),
            (TOTAL_PRODUCE, |topic| &topic.total_produce),
            (TOTAL_FETCH, |topic| &topic.total_fetch),
        ];
        let topics = self.topics.read();
        for (definition, field) in FIELDS {
            let total: u64 = topics.values().map(|topic| field(topic).get()).sum();
            page.plain(definition, total as f64);
            for (name, topic) in topics.iter() {
                page.labelled(definition, &[("topic", name)], field(topic).get() as f64);
            }
        }
    }
}

fn slot(key: i16, version: i16) -> Option<usize> {
    let (key, version) = (usize::try_from(key).ok()?, usize::try_from(version).ok()?);
    (key < KEYS && version < VERSIONS).then_some(key * VERSIONS + version)
}

/// A page of metrics in Prometheus' text format. Samples of one metric stand together, whatever
/// the order in which they are added.
#[derive(Debug, Default)]
pub struct Page {
    samples: HashMap<&'static str, String>,
}

impl Page {
    pub fn plain(&mut self, definition: &'static Definition, value: f64) {
        self.labelled(definition, &[], value);
    }

    pub fn labelled(
        &mut self,
        definition: &'static Definition,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let samples = self.samples.entry(definition.name).or_default();
        sample(samples, definition.name, labels, value);
    }

    pub fn durations(
        &mut self,
        definition: &'static Definition,
        labels: &[(&str, &str)],
        durations: &Durations,
    ) {
        let samples = self.samples.entry(definition.name).or_default();
        for share in Durations::QUANTILES {
            let share_text = share.to_string();
            let mut labels = labels.to_vec();
            labels.push(("quantile", &share_text));
            sample(
                samples,
                definition.name,
                &labels,
                durations.quantile_ms(share),
            );
        }
        let sum_ms = durations.sum_micros.load(Ordering::Relaxed) as f64 / 1000.0;
        sample(samples, &format!("{}_sum", definition.name), labels, sum_ms);
        sample(
            samples,
            &format!("{}_count", definition.name),
            labels,
            durations.count() as f64,
        );
    }

    /// Whether anything was said of a metric.
    pub fn has(&self, definition: &Definition) -> bool {
        self.samples.contains_key(definition.name)
    }

    /// The text, metrics in the order of the table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for definition in DEFINITIONS {
            let Some(samples) = self.samples.get(definition.name) else {
                continue;
            };
            let Definition {
                name, kind, help, ..
            } = definition;
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
            text.push_str(samples);
        }
        text
    }
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    out.push_str(name);
    for (index, (label, text)) in labels.iter().enumerate() {
        let text = text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        let open = if index == 0 { '{' } else { ',' };
        let _ = write!(out, "{open}{label}=\"{text}\"");
    }
    let close = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(out, "{close} {value}");
}

/// `docs/metrics.md`, from the table.
pub fn metrics_markdown() -> String {
    let mut page = String::from(
        "# Metrics\n\nServed as Prometheus text at `/metrics` of `ottla.http.listener`. Written from the table in \
         `crates/node/src/metrics.rs`; do not edit.\n\n| Metric | Kind | Kafka's MBean | Meaning |\n|---|---|---|---|\n",
    );
    for definition in DEFINITIONS {
        let Definition {
            name,
            kind,
            mbean,
            help,
        } = definition;
        let mbean = if mbean.is_empty() {
            String::new()
        } else {
            format!("`{mbean}`")
        };
        let _ = writeln!(page, "| `{name}` | {} | {mbean} | {help} |", kind.word());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_what_was_observed() {
        let durations = Durations::default();
        for millis in 1..=100 {
            durations.observe(Duration::from_millis(millis));
        }
        let p50 = durations.quantile_ms(0.5);
        assert!((50.0..=65.0).contains(&p50), "{p50}");
        assert_eq!(durations.count(), 100);
        durations.observe(Duration::from_secs(1 << 40));
    }

    #[test]
    fn labels_are_escaped_and_samples_grouped() {
        let mut page = Page::default();
        page.labelled(LOG_SIZE, &[("topic", "a\"b\\"), ("partition", "0")], 1.0);
        page.plain(CONNECTIONS, 2.0);
        page.labelled(LOG_SIZE, &[("topic", "c"), ("partition", "1")], 3.0);
        let text = page.text();
        assert!(text.contains("kafka_log_log_size{topic=\"a\\\"b\\\\\",partition=\"0\"} 1\nkafka_log_log_size{topic=\"c\""));
        assert_eq!(text.matches("# TYPE kafka_log_log_size gauge").count(), 1);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = DEFINITIONS
            .iter()
            .map(|definition| definition.name)
            .collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
