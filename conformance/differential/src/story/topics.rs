//! Topics are made, grown, described page by page, and removed.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::absent::ABSENT_BROKER;
use super::{Story, TIMEOUT_MS, settle, versions};

impl Story<'_> {
    pub fn topics(&mut self) {
        self.create_topics();
        self.create_partitions();
    }

    fn create_topics(&mut self) {
        let node = self.node;
        for version in versions::<CreateTopicsRequest>() {
            let mut topics = vec![
                plain(self.name(&format!("made-{version}")), 3),
                with_settings(self.name(&format!("set-{version}"))),
                assigned(
                    self.name(&format!("assigned-{version}")),
                    &[&[node], &[node]],
                ),
                plain(Text::from("not/a/name"), 1),
                plain(self.name(&format!("no-partitions-{version}")), 0),
                bad_setting(self.name(&format!("bad-setting-{version}"))),
            ];
            if version >= 4 {
                let mut by_default = plain(self.name(&format!("default-{version}")), -1);
                by_default.replication_factor = -1;
                topics.push(by_default);
            }
            let mut request = CreateTopicsRequest {
                topics,
                timeout_ms: TIMEOUT_MS,
                validate_only: true,
            };
            self.ask("validate only", version, &request);
            request.validate_only = false;
            self.ask("create", version, &request);
            self.ask("create again", version, &request);
        }
        self.make_topic_with_absent_replica();
    }

    /// Two replicas, one of them on the broker that never ran: offline from the first moment.
    fn make_topic_with_absent_replica(&mut self) {
        if self.controller.is_some() {
            let topic = assigned(self.name("half-offline"), &[&[self.node, ABSENT_BROKER]]);
            let request = CreateTopicsRequest {
                topics: vec![topic],
                ..Default::default()
            };
            if let Some(answer) = self.prepare(7, &request)
                && answer.topics.iter().any(|topic| topic.error_code != 0)
            {
                println!(
                    "note: no topic with an offline replica: {:?}",
                    answer.topics
                );
            }
            settle();
        }
    }

    fn create_partitions(&mut self) {
        for version in versions::<CreatePartitionsRequest>() {
            let grown = self.name(&format!("grown-{version}"));
            let placed = self.name(&format!("placed-{version}"));
            for name in [&grown, &placed] {
                self.make_topic(name, 1);
            }
            let one = CreatePartitionsAssignment {
                broker_ids: vec![self.node],
            };
            let absent = CreatePartitionsAssignment {
                broker_ids: vec![4711],
            };
            let topics = vec![
                growth(grown.clone(), 3, None),
                growth(placed.clone(), 2, Some(vec![one])),
                growth(self.name("absent"), 2, None),
            ];
            let mut request = CreatePartitionsRequest {
                topics,
                timeout_ms: TIMEOUT_MS,
                validate_only: true,
            };
            self.ask("validate only", version, &request);
            request.validate_only = false;
            self.ask("grow", version, &request);
            request.topics = vec![
                growth(grown, 2, None),
                growth(placed, 3, Some(vec![absent])),
            ];
            self.ask(
                "shrink, or onto a broker that is not there",
                version,
                &request,
            );
        }
    }

    pub fn describe_topic_partitions(&mut self) {
        let one = self.name("made-7");
        let other = self.name("set-7");
        self.wait_for_topic(&one);
        self.wait_for_topic(&other);
        let topic = |name: &Text| DescribeTopicPartitionsTopicRequest { name: name.clone() };
        let cursor = DescribeTopicPartitionsCursor {
            topic_name: one.clone(),
            partition_index: 1,
        };
        let names = [
            one.clone(),
            other,
            self.name("absent"),
            self.name("half-offline"),
            self.name("elsewhere"),
        ];
        let mut request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(topic).collect(),
            response_partition_limit: 100,
            cursor: None,
        };
        self.ask("whole", 0, &request);
        request.response_partition_limit = 1;
        self.ask("first page", 0, &request);
        request.cursor = Some(cursor);
        self.ask("second page", 0, &request);
        request.topics = Vec::new();
        request.cursor = None;
        request.response_partition_limit = 2000;
        self.prove("all topics", 0, &request);
        let internal = DescribeTopicPartitionsTopicRequest {
            name: Text::from("__consumer_offsets"),
        };
        request.topics = vec![internal];
        self.prove("internal", 0, &request);
    }

    pub fn delete_topics(&mut self) {
        for version in versions::<DeleteTopicsRequest>() {
            let one = self.name(&format!("gone-{version}"));
            let other = self.name(&format!("gone-by-id-{version}"));
            self.make_topic(&one, 1);
            let id = self.make_topic(&other, 1);
            let mut request = DeleteTopicsRequest {
                timeout_ms: TIMEOUT_MS,
                ..Default::default()
            };
            if version >= 6 {
                let by_name = |name| DeleteTopicState {
                    name: Some(name),
                    ..Default::default()
                };
                let by_id = |topic_id| DeleteTopicState {
                    name: None,
                    topic_id,
                };
                let absent = ottla_protocol::Uuid::from_u128(1 << 78);
                request.topics = vec![
                    by_name(one),
                    by_id(id),
                    by_name(self.name("absent")),
                    by_id(absent),
                ];
            } else {
                request.topic_names = vec![one, other, self.name("absent")];
            }
            self.ask("delete", version, &request);
        }
    }
}

fn plain(name: Text, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name,
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    }
}

fn with_settings(name: Text) -> CreatableTopic {
    let setting = |name: &str, value: &str| CreatableTopicConfig {
        name: Text::from(name),
        value: Some(Text::from(value)),
    };
    CreatableTopic {
        configs: vec![
            setting("cleanup.policy", "compact"),
            setting("segment.bytes", "1048576"),
        ],
        ..plain(name, 2)
    }
}

fn bad_setting(name: Text) -> CreatableTopic {
    let setting = CreatableTopicConfig {
        name: Text::from("retention.ms"),
        value: Some(Text::from("soon")),
    };
    CreatableTopic {
        configs: vec![setting],
        ..plain(name, 1)
    }
}

fn assigned(name: Text, replicas: &[&[i32]]) -> CreatableTopic {
    let assignment = |(partition, brokers): (usize, &&[i32])| CreatableReplicaAssignment {
        partition_index: partition as i32,
        broker_ids: brokers.to_vec(),
    };
    CreatableTopic {
        name,
        num_partitions: -1,
        replication_factor: -1,
        assignments: replicas.iter().enumerate().map(assignment).collect(),
        ..Default::default()
    }
}

fn growth(
    name: Text,
    count: i32,
    assignments: Option<Vec<CreatePartitionsAssignment>>,
) -> CreatePartitionsTopic {
    CreatePartitionsTopic {
        name,
        count,
        assignments,
    }
}
