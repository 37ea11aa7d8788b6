//! DescribeLogDirs (key 35, versions 1-5): which replicas lie in which log directory, and how big
//! they are.
//! v2 flexible · v3 an error for the whole · v4 size and free space of the volume · v5 cordoned
//! directories.
//! The metadata log is no replica: neither it nor a directory of its own is listed, as in Kafka.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_node::{Partition, Services};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = Wanted::new(request.topics.as_deref());
    let partitions = services.partitions().all();
    let cordoned = cordoned(services);
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
            .filter(|partition| Arc::ptr_eq(partition.directory(), directory));
        results.push(DescribeLogDirsResult {
            topics: topics(here.filter(|partition| wanted.has(partition))),
            total_bytes: bytes(total),
            usable_bytes: bytes(usable),
            is_cordoned: cordoned
                .iter()
                .any(|one| one == "*" || absolute(Path::new(one)) == path),
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

    fn has(&self, partition: &Partition) -> bool {
        let id = partition.id();
        match self {
            Self::All => true,
            Self::Some(wanted) => wanted.contains(&(&*id.topic, id.partition)),
        }
    }
}

fn topics<'a>(partitions: impl Iterator<Item = &'a Arc<Partition>>) -> Vec<DescribeLogDirsTopic> {
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
    let topic = |(name, partitions): (Arc<str>, _)| DescribeLogDirsTopic {
        name: (*name).into(),
        partitions,
    };
    topics.into_iter().map(topic).collect()
}

/// `cordoned.log.dirs`, as far as the cluster's level knows it (KIP-1066).
fn cordoned(services: &Services) -> Vec<String> {
    let level = services.image().features.metadata_version();
    if !level.is_some_and(|level| level.has_cordoned_directories()) {
        return Vec::new();
    }
    let text = services
        .config()
        .value("cordoned.log.dirs")
        .unwrap_or_default();
    text.split(',')
        .map(|path| path.trim().to_owned())
        .filter(|path| !path.is_empty())
        .collect()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn bytes(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
