//! The second broker: registered at the controller, now and then unfenced, never running.
//!
//! It gives fenced brokers, offline replicas, leaders elsewhere and replicas nearer to the reader.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid, Versioned};

use super::fetch::fetch_request;
use super::records::produce_request;
use super::{Story, plain_batch, settle, versions};
use crate::broker::Broker;

/// Its id.
pub const ABSENT_BROKER: i32 = 77;
/// Where it would stand.
const OTHER_RACK: &str = "RACK2";
/// Its log directory.
pub const DIRECTORY: Uuid = Uuid::from_u128(0x7777_0002);
const PLAINTEXT: i16 = 0;

impl Story<'_> {
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
            rack: Some(Text::from(OTHER_RACK)),
            log_dirs: vec![DIRECTORY],
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

    /// A topic with one partition on these brokers, the second of which is unfenced for it.
    fn make_topic_with(&mut self, name: &Text, brokers: &[i32]) -> Option<Uuid> {
        self.controller.as_ref()?;
        if !self.fence_the_second_broker(false) {
            println!("note: the second broker was not unfenced");
            return None;
        }
        let assignment = CreatableReplicaAssignment {
            partition_index: 0,
            broker_ids: brokers.to_vec(),
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
        let topic = answer.topics.first()?;
        (topic.error_code == 0).then_some(topic.topic_id)
    }

    pub fn cluster_id(&mut self) -> Option<Text> {
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

    /// What only a broker that is unfenced can bring about; then it is fenced again.
    pub fn while_it_is_unfenced(&mut self) {
        let (elsewhere, shared) = (self.name("elsewhere"), self.name("shared"));
        let Some(id) = self.make_topic_with(&elsewhere, &[ABSENT_BROKER]) else {
            return;
        };
        for version in versions::<ProduceRequest>() {
            let request = produce_request(version, &elsewhere, id, 0, plain_batch(1));
            self.ask("led by another", version, &request);
        }
        for version in versions::<FetchRequest>() {
            let request = fetch_request(version, &elsewhere, id, 0, 0);
            self.ask("led by another", version, &request);
        }
        if let Some(id) = self.make_topic_with(&shared, &[self.node, ABSENT_BROKER]) {
            self.fetch_as_a_follower(&shared, id);
            self.fetch_near_a_follower(&shared, id);
        }
        self.fence_the_second_broker(true);
    }

    /// Follows a partition from its start to its end, so that it stays in sync.
    fn fetch_as_a_follower(&mut self, topic: &Text, id: Uuid) {
        let mut request = produce_request(9, topic, Uuid::ZERO, 0, plain_batch(3));
        request.acks = 1;
        self.prepare(9, &request);
        for version in versions::<FetchRequest>() {
            for offset in [0, 3] {
                let mut request = fetch_request(version, topic, id, 0, offset);
                request.rack_id = Text::new();
                self.follow(version, &mut request);
                self.ask(&format!("as a follower at {offset}"), version, &request);
            }
        }
    }

    fn follow(&self, version: i16, request: &mut FetchRequest) {
        let replica_epoch = self.second_broker.unwrap_or(-1);
        let replica_id = ABSENT_BROKER;
        match version {
            15.. => {
                request.replica_state = FetchReplicaState {
                    replica_id,
                    replica_epoch,
                }
            }
            _ => request.replica_id = replica_id,
        }
        let partition = &mut request.topics[0].partitions[0];
        if version >= 5 {
            partition.log_start_offset = 0;
        }
        if version >= 12 {
            partition.last_fetched_epoch = 0;
        }
        if version >= 17 {
            partition.replica_directory_id = DIRECTORY;
        }
        if version >= 18 {
            partition.high_watermark = 1;
        }
    }

    /// A consumer in the follower's rack is sent there.
    fn fetch_near_a_follower(&mut self, topic: &Text, id: Uuid) {
        let unthrottled = self.unthrottled.clone();
        for version in 11..=FetchRequest::VERSIONS.1 {
            let mut request = fetch_request(version, topic, id, 0, 1);
            request.rack_id = Text::from(OTHER_RACK);
            self.ask_at(&unthrottled, "near a follower", version, &request);
        }
    }
}
