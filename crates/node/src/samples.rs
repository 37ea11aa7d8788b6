//! Metrics that are computed when somebody asks.

use ottla_coordinators::group::ConsumerState;
use ottla_metadata::image::Image;

use crate::metrics::*;
use crate::services::Services;

/// How long the coordinator has for the end of a transaction whose time is over; Kafka's number.
const LATE_AFTER_MS: i64 = 5 * 60 * 1000;

impl Services {
    /// Writes what can be read off the node now.
    pub fn write_samples(&self, page: &mut Page) {
        page.plain(BROKER_STATE, f64::from(self.state() as u8));
        page.plain(UPTIME, self.clock.monotonic().as_secs_f64());
        page.labelled(BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        page.plain(FLUSH_WAITING, self.partitions.n_waiting_for_flush() as f64);
        let opening = self.opening.progress();
        page.plain(LOGS_FOUND, opening.n_logs() as f64);
        page.plain(LOGS_OPENED, opening.n_done() as f64);
        page.plain(LOG_BYTES_TO_OPEN, opening.n_bytes_left() as f64);
        page.plain(FETCH_SESSIONS, self.fetch_sessions.n_sessions() as f64);
        page.plain(
            FETCH_SESSION_PARTITIONS,
            self.fetch_sessions.n_partitions() as f64,
        );
        let files = self.disk.open_files();
        page.plain(OPEN_FILES, files.n_open() as f64);
        page.plain(OPEN_FILES_MAX, files.n_max() as f64);
        page.plain(FILES_CLOSED, files.n_closed() as f64);
        self.quotas.write(page);
        self.telemetry.write(page, self.quotas.now_ms());
        self.write_logs(page);
        self.write_cleaner(page);
        self.write_cluster(page, &self.image());
        self.write_quorum(page);
        self.write_groups(page);
        self.write_transactions(page);
    }

    fn write_logs(&self, page: &mut Page) {
        let all = self.partitions.all();
        let (mut n_leading, mut n_offline, mut n_waiting, mut n_producers) = (0, 0, 0, 0);
        let (mut n_late, late_before) = (0, self.late_before());
        for partition in &all {
            let view = partition.view();
            let index = partition.id().partition.to_string();
            let labels = [
                ("topic", &*partition.id().topic),
                ("partition", index.as_str()),
            ];
            page.labelled(LOG_SIZE, &labels, view.size() as f64);
            page.labelled(LOG_SEGMENTS, &labels, view.n_segments() as f64);
            page.labelled(LOG_END, &labels, view.end() as f64);
            page.labelled(LOG_START, &labels, view.start() as f64);
            let is_led = partition.leader_epoch().is_some();
            n_leading += usize::from(is_led);
            n_offline += usize::from(!partition.is_online());
            n_waiting += partition.high_watermark_parking().n_waiting();
            n_producers += view.n_producers();
            // The leader counts, as in Kafka: else each replica would.
            let is_late = view.open_since().is_some_and(|at| at < late_before);
            n_late += usize::from(is_led && is_late);
        }
        page.plain(PARTITION_COUNT, all.len() as f64);
        page.plain(LEADER_COUNT, n_leading as f64);
        page.plain(OFFLINE_REPLICAS, n_offline as f64);
        page.plain(PRODUCER_IDS, n_producers as f64);
        page.plain(TXN_LATE, n_late as f64);
        page.labelled(
            PURGATORY,
            &[("delayedOperation", "ProduceOrFetch")],
            n_waiting as f64,
        );
        let directories = self.partitions.directories().all();
        for directory in directories {
            let path = directory.path().to_string_lossy();
            let n_bytes = self.partitions.n_bytes_reserved(directory.path());
            page.labelled(RESERVED, &[("logDirectory", &*path)], n_bytes as f64);
            let is_offline = f64::from(u8::from(!directory.is_online()));
            page.labelled(DIRECTORY_OFFLINE, &[("logDirectory", &*path)], is_offline);
            if let Some(appends) = self.partitions.appends_in(directory.path()) {
                let labels = [("logDirectory", &*path)];
                let average_ms = appends.average().as_secs_f64() * 1000.0;
                page.labelled(APPEND_AVERAGE, &labels, average_ms);
                page.labelled(APPENDS_ELSEWHERE, &labels, appends.n_elsewhere() as f64);
            }
            let n_waiting = self.partitions.n_cold_reads(directory.path());
            page.labelled(
                COLD_READS_WAITING,
                &[("logDirectory", &*path)],
                n_waiting as f64,
            );
        }
        let n_failed = directories
            .iter()
            .filter(|directory| !directory.is_online())
            .count();
        page.plain(OFFLINE_DIRECTORIES, n_failed as f64);
        let moves = self.partitions.moves();
        let (n_moves, lag) = moves.n_and_lag();
        let client = [("clientId", "ReplicaAlterLogDirs")];
        page.plain(MOVES, n_moves as f64);
        page.labelled(MOVES_LAG, &client, lag as f64);
        page.labelled(MOVES_FAILED, &client, moves.n_failed() as f64);
        page.labelled(MOVES_DEAD, &client, moves.n_dead() as f64);
    }

    /// Who wrote last into an open transaction before this moment is late: its coordinator should have
    /// ended it.
    fn late_before(&self) -> i64 {
        let longest_ms = self.configured.load().settings.transactions.timeout_ms_max;
        self.clock.wall_ms() - i64::from(longest_ms) - LATE_AFTER_MS
    }

    fn write_cleaner(&self, page: &mut Page) {
        let cleaner = &self.cleaner;
        // Whole per cents and seconds, as Kafka shows them.
        let percent = |ratio: f64| (ratio * 100.0).trunc();
        page.plain(CLEANER_BUFFER, percent(cleaner.max_utilization()));
        page.plain(CLEANER_RECOPY, percent(cleaner.recopy_ratio()));
        page.plain(CLEANER_TIME, cleaner.max_seconds().trunc());
        page.plain(CLEANER_DELAY, cleaner.max_delay_seconds().trunc());
        page.plain(CLEANER_DEAD, cleaner.n_dead() as f64);
        page.plain(MAX_DIRTY, percent(cleaner.max_dirty_ratio()));
        page.plain(CLEANER_LAST_RUN, cleaner.since_last_run_ms() as f64);
        for directory in self.partitions.directories().all() {
            let (n, n_bytes) = cleaner.uncleanable(directory.path());
            let path = directory.path().to_string_lossy();
            let labels = [("logDirectory", &*path)];
            page.labelled(UNCLEANABLE, &labels, n as f64);
            page.labelled(UNCLEANABLE_BYTES, &labels, n_bytes as f64);
        }
    }

    fn write_cluster(&self, page: &mut Page, image: &Image) {
        let node = self.node_id();
        let (mut n_partitions, mut n_leaderless, mut n_imbalanced) = (0, 0, 0);
        let (mut n_under_replicated, mut n_under_min, mut n_at_min) = (0, 0, 0);
        let configured = self.configured();
        for topic in image.topics.iter() {
            let (_, min_in_sync) = crate::partitions::log_settings(&topic.name, image, &configured);
            for partition in topic.partitions.values() {
                n_partitions += 1;
                n_leaderless += usize::from(partition.leader.is_none());
                n_imbalanced += usize::from(partition.leader != partition.preferred_leader());
                if partition.leader == Some(node) {
                    let n_in_sync = i32::try_from(partition.in_sync.len()).unwrap_or(i32::MAX);
                    let n_replicas = i32::try_from(partition.replicas.len()).unwrap_or(i32::MAX);
                    let min = min_in_sync.min(n_replicas);
                    n_under_replicated += usize::from(n_in_sync < n_replicas);
                    n_under_min += usize::from(n_in_sync < min);
                    n_at_min += usize::from(n_in_sync == min);
                }
            }
        }
        page.plain(GLOBAL_TOPICS, image.topics.len() as f64);
        page.plain(GLOBAL_PARTITIONS, n_partitions as f64);
        page.plain(OFFLINE_PARTITIONS, n_leaderless as f64);
        page.plain(PREFERRED_IMBALANCE, n_imbalanced as f64);
        page.plain(UNDER_REPLICATED, n_under_replicated as f64);
        page.plain(UNDER_MIN_ISR, n_under_min as f64);
        page.plain(AT_MIN_ISR, n_at_min as f64);
        let n_fenced = image
            .nodes
            .brokers
            .values()
            .filter(|broker| broker.is_fenced)
            .count();
        page.plain(FENCED_BROKERS, n_fenced as f64);
        page.plain(
            ACTIVE_BROKERS,
            (image.nodes.brokers.len() - n_fenced) as f64,
        );
    }

    fn write_quorum(&self, page: &mut Page) {
        page.plain(
            ACTIVE_CONTROLLER,
            f64::from(u8::from(self.controller.is_active())),
        );
        let Some(quorum) = self.controller.describe() else {
            return;
        };
        page.plain(RAFT_LEADER, f64::from(quorum.leader_id));
        page.plain(RAFT_EPOCH, f64::from(quorum.leader_epoch));
        page.plain(RAFT_HIGH_WATERMARK, quorum.high_watermark as f64);
        let log_end = quorum
            .voters
            .iter()
            .map(|voter| voter.log_end)
            .max()
            .unwrap_or(-1);
        page.plain(RAFT_LOG_END, log_end as f64);
        page.plain(RAFT_VOTERS, quorum.voters.len() as f64);
    }

    fn write_groups(&self, page: &mut Page) {
        let (n_active, n_loading, counts) = self.groups.counts();
        page.labelled(GROUP_PARTITIONS, &[("state", "active")], n_active as f64);
        page.labelled(GROUP_PARTITIONS, &[("state", "loading")], n_loading as f64);
        let mut by_state: std::collections::BTreeMap<&str, usize> =
            std::collections::BTreeMap::new();
        for (state, n) in counts.iter().flat_map(|shard| &shard.groups) {
            *by_state.entry(state).or_default() += n;
        }
        page.plain(GROUPS, by_state.values().sum::<usize>() as f64);
        for (state, n) in by_state {
            page.labelled(GROUPS, &[("state", state)], n as f64);
        }
        let states = ConsumerState::ALL.iter().map(|state| (state.name(), 0));
        let mut consumers: std::collections::BTreeMap<&str, usize> = states.collect();
        for (state, n) in counts.iter().flat_map(|shard| &shard.consumer_groups) {
            *consumers.entry(state).or_default() += n;
        }
        for (state, n) in consumers {
            page.labelled(CONSUMER_GROUPS, &[("state", state)], n as f64);
        }
        let sum =
            |of: fn(&crate::coordinators::GroupCounts) -> u64| counts.iter().map(of).sum::<u64>();
        page.plain(GROUP_OFFSETS, sum(|shard| shard.n_offsets as u64) as f64);
        page.plain(GROUP_REBALANCES, sum(|shard| shard.n_rebalances) as f64);
        page.plain(
            CONSUMER_GROUP_REBALANCES,
            sum(|shard| shard.n_consumer_rebalances) as f64,
        );
        page.plain(OFFSET_COMMITS, sum(|shard| shard.n_commits) as f64);
    }

    fn write_transactions(&self, page: &mut Page) {
        let (n_active, n_loading, counts) = self.transactions.counts();
        page.labelled(TXN_PARTITIONS, &[("state", "active")], n_active as f64);
        page.labelled(TXN_PARTITIONS, &[("state", "loading")], n_loading as f64);
        let mut by_state = std::collections::BTreeMap::new();
        for (state, n) in counts.iter().flat_map(|shard| &shard.by_state) {
            *by_state.entry(*state).or_insert(0) += n;
        }
        for (state, n) in by_state {
            page.labelled(TXN_IDS, &[("state", state.name())], n as f64);
        }
        let sum = |of: fn(&crate::coordinators::TxnCounts) -> u64| {
            counts.iter().map(of).sum::<u64>() as f64
        };
        page.plain(TXN_OPEN, sum(|shard| shard.n_open as u64));
        page.plain(TXN_COMMITTED, sum(|shard| shard.events.committed));
        page.plain(TXN_ABORTED, sum(|shard| shard.events.aborted));
        page.plain(TXN_TIMED_OUT, sum(|shard| shard.events.timed_out));
    }
}
