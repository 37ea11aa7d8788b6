//! AlterReplicaLogDirs (key 34, versions 1-2): moves replicas to other log directories of this broker
//! (KIP-113). Answered once the move has begun; DescribeLogDirs shows how far it is.
//! v2 flexible.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_node::Services;
use ottla_protocol::messages::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use ottla_protocol::{NONE, TopicPartition};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let mut results: BTreeMap<Arc<str>, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for (id, outcome) in services.alter_log_dirs(wanted(request)).await {
        let error_code = outcome.map_or_else(|refusal| refusal.code(), |()| NONE);
        results
            .entry(id.topic)
            .or_default()
            .push(AlterReplicaLogDirPartitionResult {
                partition_index: id.partition,
                error_code,
            });
    }
    let partitions = results.values().flatten();
    count_errors(services, call, partitions.map(|it| it.error_code));
    let topic = |(name, partitions): (Arc<str>, _)| AlterReplicaLogDirTopicResult {
        topic_name: (*name).into(),
        partitions,
    };
    AlterReplicaLogDirsResponse {
        results: results.into_iter().map(topic).collect(),
        ..Default::default()
    }
}

/// Of a partition that is named more than once the last directory counts.
fn wanted(request: AlterReplicaLogDirsRequest) -> BTreeMap<TopicPartition, Arc<str>> {
    let mut wanted = BTreeMap::new();
    for dir in request.dirs {
        let path: Arc<str> = Arc::from(&*dir.path);
        for topic in dir.topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in topic.partitions {
                let id = TopicPartition {
                    topic: name.clone(),
                    partition,
                };
                wanted.insert(id, path.clone());
            }
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_protocol::messages::{AlterReplicaLogDir, AlterReplicaLogDirTopic};

    #[test]
    fn the_last_directory_counts() {
        let dir = |path: &'static str, partitions: &[i32]| AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: "t".into(),
                partitions: partitions.to_vec(),
            }],
        };
        let request = AlterReplicaLogDirsRequest {
            dirs: vec![dir("/a", &[0, 1]), dir("/b", &[1, 1])],
        };
        let wanted: Vec<(i32, Arc<str>)> = wanted(request)
            .into_iter()
            .map(|(id, path)| (id.partition, path))
            .collect();
        assert_eq!(wanted, [(0, Arc::from("/a")), (1, Arc::from("/b"))]);
    }
}
