//! What the cluster is: versions, brokers, topics as seen by Metadata, the quorum.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::absent::{ABSENT_BROKER, DIRECTORY};
use super::{Story, settle, versions};

impl Story<'_> {
    /// The first request of all: who answers here?
    pub fn learn_who_answers(&mut self) {
        let request = MetadataRequest {
            topics: Some(Vec::new()),
            ..Default::default()
        };
        if let Some(answer) = self.prepare(1, &request)
            && let Some(broker) = answer.brokers.iter().find(|b| b.node_id != ABSENT_BROKER)
        {
            self.node = broker.node_id;
        }
    }

    pub fn api_versions(&mut self) {
        self.ask_from_the_future();
        for version in versions::<ApiVersionsRequest>() {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = Text::from("ottla-differential");
                request.client_software_version = Text::from("1");
            }
            self.ask("plain", version, &request);
        }
        // A name that the pattern of software names does not allow.
        let request = ApiVersionsRequest {
            client_software_name: Text::from("not a name!"),
            client_software_version: Text::from("1"),
        };
        for version in 3..=4 {
            self.ask("bad software name", version, &request);
        }
    }

    /// Puts this program's client id under a quota that any request breaks.
    pub fn throttle_myself(&mut self) {
        let entity = AlterClientQuotasEntityData {
            entity_type: Text::from("client-id"),
            entity_name: Some(Text::from(self.broker.client_id.clone())),
        };
        let quota = AlterClientQuotasOpData {
            key: Text::from("request_percentage"),
            value: 0.000_001,
            remove: false,
        };
        let entry = AlterClientQuotasRequestEntryData {
            entity: vec![entity],
            ops: vec![quota],
        };
        self.prepare(
            1,
            &AlterClientQuotasRequest {
                entries: vec![entry],
                validate_only: false,
            },
        );
        settle();
        // Quotas look at the time since they were made: the first request only begins to count.
        for _ in 0..3 {
            let request = MetadataRequest {
                topics: Some(Vec::new()),
                ..Default::default()
            };
            let _ = self.broker.ask(12, &request);
        }
    }

    /// Fetches the metadata log as an observer does; the quorum then knows of one.
    fn observe_the_quorum(&mut self) {
        let Some(controller) = self.controller.clone() else {
            return;
        };
        let partitions = vec![DescribeQuorumRequestPartitionData { partition_index: 0 }];
        let topic = DescribeQuorumRequestTopicData {
            topic_name: Text::from("__cluster_metadata"),
            partitions,
        };
        let request = DescribeQuorumRequest {
            topics: vec![topic],
        };
        let Ok(answer) = controller.ask(2, &request) else {
            return;
        };
        let Some(quorum) = answer
            .topics
            .first()
            .and_then(|topic| topic.partitions.first())
        else {
            return;
        };
        let (epoch, end) = (quorum.leader_epoch, quorum.high_watermark);
        for version in 13..=18 {
            for (label, offset) in [("from the start", 0), ("from the end", end)] {
                let request = observe(version, epoch, offset);
                // A log of the quorum has its own length everywhere: no comparison.
                self.prove_at(
                    &controller,
                    &format!("the metadata log, {label}"),
                    version,
                    &request,
                );
            }
        }
    }

    pub fn cluster(&mut self) {
        self.metadata();
        self.describe_cluster();
        self.describe_quorum();
    }

    fn metadata(&mut self) {
        let known = self.name("metadata");
        let id = self.make_topic(&known, 2);
        for version in versions::<MetadataRequest>() {
            // Before v4 asking creates: then another name has to be absent.
            let absent = match version {
                4.. => self.name("absent"),
                _ => self.name(&format!("absent-{version}")),
            };
            let names = [known.clone(), absent, Text::from("not/a/name")];
            self.ask(
                "by name",
                version,
                &metadata_request(version, &names, false),
            );
            let made = [known.clone(), self.name(&format!("auto-{version}"))];
            self.ask(
                "by name, create",
                version,
                &metadata_request(version, &made, true),
            );
            let mut all = metadata_request(version, &[], false);
            if version >= 1 {
                all.topics = None;
            }
            self.ask_all_topics(version, &all);
            if version >= 12 {
                let by_id = |topic_id| MetadataRequestTopic {
                    topic_id,
                    name: None,
                };
                let mut request = metadata_request(version, &[], false);
                request.topics = Some(vec![by_id(id), by_id(Uuid::from_u128(1 << 77))]);
                self.ask("by id", version, &request);
            }
            if (10..12).contains(&version) {
                // The field is there, but may not be used yet.
                let mut request = metadata_request(version, &names[..1], false);
                if let Some(topic) = request.topics.iter_mut().flatten().next() {
                    topic.topic_id = id;
                }
                self.ask("by id, too early", version, &request);
            }
        }
    }

    /// Internal topics and replicas on the absent broker show here. The list depends on what was
    /// done to a broker before, so it is no comparison; it is proof all the same.
    fn ask_all_topics(&mut self, version: i16, request: &MetadataRequest) {
        self.prove("all topics", version, request);
    }

    fn describe_cluster(&mut self) {
        for version in versions::<DescribeClusterRequest>() {
            let mut request = DescribeClusterRequest {
                include_cluster_authorized_operations: true,
                include_fenced_brokers: version >= 2,
                ..Default::default()
            };
            self.ask("brokers", version, &request);
            if version >= 1 {
                request.endpoint_type = DescribeClusterRequest::CONTROLLERS;
                self.ask("controllers, of a broker", version, &request);
                if let Some(controller) = self.controller.clone() {
                    self.ask_at(&controller, "controllers", version, &request);
                }
            }
        }
    }

    fn describe_quorum(&mut self) {
        self.observe_the_quorum();
        for version in versions::<DescribeQuorumRequest>() {
            for (label, topic, index) in [
                ("metadata", Text::from("__cluster_metadata"), 0),
                ("another partition", Text::from("__cluster_metadata"), 1),
                ("another topic", self.name("metadata"), 0),
            ] {
                let partitions = vec![DescribeQuorumRequestPartitionData {
                    partition_index: index,
                }];
                let topic = DescribeQuorumRequestTopicData {
                    topic_name: topic,
                    partitions,
                };
                self.ask(
                    label,
                    version,
                    &DescribeQuorumRequest {
                        topics: vec![topic],
                    },
                );
            }
        }
    }
}

/// A fetch of the metadata log by an observer.
fn observe(version: i16, epoch: i32, fetch_offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        current_leader_epoch: epoch,
        last_fetched_epoch: if fetch_offset == 0 { 0 } else { epoch },
        fetch_offset,
        partition_max_bytes: 1_000_000,
        replica_directory_id: match version {
            17.. => DIRECTORY,
            _ => Uuid::ZERO,
        },
        ..Default::default()
    };
    let mut topic = FetchTopic {
        partitions: vec![partition],
        ..Default::default()
    };
    match version {
        13.. => topic.topic_id = Uuid::METADATA_TOPIC,
        _ => topic.topic = Text::from("__cluster_metadata"),
    }
    let mut request = FetchRequest {
        max_bytes: 1_000_000,
        topics: vec![topic],
        ..Default::default()
    };
    match version {
        15.. => {
            request.replica_state = FetchReplicaState {
                replica_id: ABSENT_BROKER,
                replica_epoch: 1,
            };
        }
        _ => request.replica_id = ABSENT_BROKER,
    }
    request
}

fn metadata_request(version: i16, names: &[Text], create: bool) -> MetadataRequest {
    let topic = |name: &Text| MetadataRequestTopic {
        name: Some(name.clone()),
        ..Default::default()
    };
    MetadataRequest {
        topics: Some(names.iter().map(topic).collect()),
        // Before v4 there is no choice: asking creates.
        allow_auto_topic_creation: create || version < 4,
        include_cluster_authorized_operations: (8..=10).contains(&version),
        include_topic_authorized_operations: version >= 8,
    }
}
