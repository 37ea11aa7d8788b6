//! What the cluster is: versions, brokers, topics as seen by Metadata, the quorum.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid, Versioned};

use super::{Story, settle, versions};
use crate::broker::Broker;

/// The second broker that is registered, but never runs.
pub const ABSENT_BROKER: i32 = 77;
const PLAINTEXT: i16 = 0;

impl Story<'_> {
    /// The first requests of all. Every other step asks only for what is served here.
    pub fn learn_what_is_served(&mut self) {
        self.served.entry(ApiVersionsRequest::KEY).or_insert((0, 4));
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

    /// A broker that is registered and fenced gives offline replicas and fenced brokers to see.
    pub fn register_a_second_broker(&mut self) {
        let Some(controller) = self.controller.clone() else {
            return;
        };
        let Some(cluster) = self.cluster_id() else {
            return;
        };
        let features = self.supported_features(&controller);
        let listener = BrokerRegistrationListener {
            name: Text::from("PLAINTEXT"),
            host: Text::from("localhost"),
            port: 1,
            security_protocol: PLAINTEXT,
        };
        let request = BrokerRegistrationRequest {
            broker_id: ABSENT_BROKER,
            cluster_id: cluster,
            incarnation_id: Uuid::from_u128(0x7777_0001),
            listeners: vec![listener],
            features,
            rack: None,
            log_dirs: vec![Uuid::from_u128(0x7777_0002)],
            ..Default::default()
        };
        match controller.ask(4, &request) {
            Ok(answer) if answer.error_code == 0 => self.second_broker = Some(answer.broker_epoch),
            other => println!("note: the second broker was not registered: {other:?}"),
        }
        settle();
    }

    /// Unfenced, the second broker can lead; fenced, it is offline.
    pub fn fence_the_second_broker(&mut self, want_fence: bool) -> bool {
        let (Some(controller), Some(epoch)) = (self.controller.clone(), self.second_broker) else {
            return false;
        };
        let request = BrokerHeartbeatRequest {
            broker_id: ABSENT_BROKER,
            broker_epoch: epoch,
            // It has seen all there is.
            current_metadata_offset: i64::MAX / 2,
            want_fence,
            ..Default::default()
        };
        let answer = controller.ask(1, &request);
        settle();
        answer.is_ok_and(|answer| answer.error_code == 0 && answer.is_fenced == want_fence)
    }

    /// A topic whose only replica is on the second broker, which leads it until it is fenced.
    pub fn make_topic_elsewhere(&mut self, name: &Text) -> Option<Uuid> {
        if !self.fence_the_second_broker(false) {
            println!("note: the second broker was not unfenced");
            return None;
        }
        let assignment = CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: vec![ABSENT_BROKER],
        };
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: vec![assignment],
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let answer = self.prepare(7, &request)?;
        settle();
        answer
            .topics
            .first()
            .filter(|topic| topic.error_code == 0)
            .map(|topic| topic.topic_id)
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
        let epoch = answer.topics[0].partitions[0].leader_epoch;
        let partition = FetchPartition {
            current_leader_epoch: epoch,
            last_fetched_epoch: 0,
            replica_directory_id: Uuid::from_u128(0x7777_0003),
            ..Default::default()
        };
        let topic = FetchTopic {
            topic_id: Uuid::METADATA_TOPIC,
            partitions: vec![partition],
            ..Default::default()
        };
        let request = FetchRequest {
            replica_state: FetchReplicaState {
                replica_id: ABSENT_BROKER,
                replica_epoch: 1,
            },
            max_bytes: 1_000_000,
            topics: vec![topic],
            ..Default::default()
        };
        self.ask_at(
            &controller,
            "the metadata log, as an observer",
            17,
            &request,
        );
        self.steps.pop();
    }

    fn cluster_id(&mut self) -> Option<Text> {
        let request = DescribeClusterRequest::default();
        self.unthrottled
            .ask(0, &request)
            .ok()
            .map(|answer| answer.cluster_id)
    }

    /// Of the controller, as the registration of a broker wants them.
    fn supported_features(&self, controller: &Broker) -> Vec<BrokerRegistrationFeature> {
        let request = ApiVersionsRequest {
            client_software_name: Text::from("ottla-differential"),
            client_software_version: Text::from("1"),
        };
        let answer = controller.ask(4, &request);
        let features = answer
            .map(|answer| answer.supported_features)
            .unwrap_or_default();
        let feature = |feature: SupportedFeatureKey| BrokerRegistrationFeature {
            name: feature.name,
            min_supported_version: feature.min_version,
            max_supported_version: feature.max_version,
        };
        features.into_iter().map(feature).collect()
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
            let made = self.name(&format!("auto-{version}"));
            let names = [
                known.clone(),
                self.name("absent"),
                Text::from("not/a/name"),
                made,
            ];
            for create in [false, true] {
                self.ask(
                    if create { "by name, create" } else { "by name" },
                    version,
                    &metadata_request(version, &names[..if create { 4 } else { 3 }], create),
                );
            }
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
        }
    }

    /// Internal topics and replicas on the absent broker show here. The list depends on what was
    /// done to a broker before, so it is no comparison; it is proof all the same.
    fn ask_all_topics(&mut self, version: i16, request: &MetadataRequest) {
        self.ask("all topics", version, request);
        self.steps.pop();
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
