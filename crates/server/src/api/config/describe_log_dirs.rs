//! DescribeLogDirs (key 35, versions 1-5): which replicas lie in which log directory, and how big
//! they are.
//! v2 flexible · v3 an error for the whole · v4 size and free space of the volume · v5 cordoned
//! directories.
//! The metadata log is no replica: neither it nor a directory of its own is listed, as in Kafka.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_node::{FutureReplica, Partition, Services, is_cordoned};
use ottla_protocol::messages::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use ottla_protocol::{Refusal, TopicPartition};

use crate::api::count_errors;
use crate::session::Call;

/// The log of a copy is offline.
const UNKNOWN_LAG: i64 = -1;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = Wanted::new(request.topics.as_deref());
    let partitions = services.partitions().all();
    let cordoned = services.cordoned_log_dirs();
    let configured = services.configured();
    let shown: HashSet<PathBuf> = configured
        .settings
        .log_dirs
        .iter()
        .map(|path| absolute(Path::new(path)))
        .collect();
    let mut results = Vec::new();
    for directory in services.partitions().directories().all() {
        let path = absolute(directory.path());
        if !shown.contains(&path) {
            continue;
        }
        let log_dir = path.display().to_string();
        let space = if directory.is_online() {
            directory.space().ok()
        } else {
            None
        };
        let Some((total, usable)) = space else {
            results.push(DescribeLogDirsResult {
                error_code: Refusal::KafkaStorageError.code(),
                log_dir: log_dir.into(),
                ..Default::default()
            });
            continue;
        };
        let here = partitions
            .iter()
            .filter(|partition| partition.is_in(directory));
        let here = here.filter(|partition| wanted.has(partition.id()));
        let futures = services.futures_in(directory).into_iter();
        results.push(DescribeLogDirsResult {
            topics: topics(here, futures.filter(|future| wanted.has(&future.id))),
            total_bytes: bytes(total),
            usable_bytes: bytes(usable),
            is_cordoned: is_cordoned(&cordoned, &path),
            log_dir: log_dir.into(),
            ..Default::default()
        });
    }
    count_errors(
        services,
        call,
        results.iter().map(|result| result.error_code),
    );
    DescribeLogDirsResponse {
        results,
        ..Default::default()
    }
}

/// The partitions that are asked for.
enum Wanted<'a> {
    All,
    Some(HashSet<(&'a str, i32)>),
}

impl<'a> Wanted<'a> {
    fn new(topics: Option<&'a [DescribableLogDirTopic]>) -> Self {
        let Some(topics) = topics else {
            return Self::All;
        };
        let partitions = |topic: &'a DescribableLogDirTopic| {
            topic.partitions.iter().map(|index| (&*topic.topic, *index))
        };
        Self::Some(topics.iter().flat_map(partitions).collect())
    }

    fn has(&self, id: &TopicPartition) -> bool {
        match self {
            Self::All => true,
            Self::Some(wanted) => wanted.contains(&(&*id.topic, id.partition)),
        }
    }
}

fn topics<'a>(
    partitions: impl Iterator<Item = &'a Arc<Partition>>,
    futures: impl Iterator<Item = FutureReplica>,
) -> Vec<DescribeLogDirsTopic> {
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in partitions {
        let (id, view) = (partition.id(), partition.view());
        topics
            .entry(id.topic.clone())
            .or_default()
            .push(DescribeLogDirsPartition {
                partition_index: id.partition,
                partition_size: bytes(view.size()),
                // Kafka's lag of a replica that is not being moved: never above 0 on a leader.
                offset_lag: (view.high_watermark() - view.end()).max(0),
                is_future_key: false,
            });
    }
    for future in futures {
        topics
            .entry(future.id.topic)
            .or_default()
            .push(DescribeLogDirsPartition {
                partition_index: future.id.partition,
                partition_size: bytes(future.size),
                offset_lag: future.lag.unwrap_or(UNKNOWN_LAG),
                is_future_key: true,
            });
    }
    let topic = |(name, partitions): (Arc<str>, _)| DescribeLogDirsTopic {
        name: (*name).into(),
        partitions,
    };
    topics.into_iter().map(topic).collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn bytes(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
