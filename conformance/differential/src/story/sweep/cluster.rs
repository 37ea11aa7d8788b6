//! ApiVersions, Metadata, DescribeTopicPartitions, DescribeCluster and DescribeQuorum.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::{
    ENORMOUS_LIST, ENORMOUS_TEXT, GROWN, NO_TOPIC, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many,
    text, twice, versions,
};

impl Story<'_> {
    pub(super) fn sweep_cluster(&mut self, swept: &Swept) {
        self.sweep_api_versions();
        self.sweep_metadata(swept);
        self.sweep_topic_partitions(swept);
        self.sweep_describe_cluster();
        self.sweep_describe_quorum();
    }

    fn sweep_api_versions(&mut self) {
        for version in versions::<ApiVersionsRequest>() {
            let mut good = ApiVersionsRequest::default();
            if version >= 3 {
                good.client_software_name = Text::from(format!("{}.sweep", self.prefix));
                good.client_software_version = text("1.0");
            }
            self.questions(
                version,
                &good,
                &[
                    ("no name", &|it| it.client_software_name = Text::new()),
                    ("no version", &|it| it.client_software_version = Text::new()),
                    ("a name of blanks", &|it| {
                        it.client_software_name = text("  ")
                    }),
                    ("a name in two words", &|it| {
                        it.client_software_name = text("a b")
                    }),
                    ("a name that begins with a dash", &|it| {
                        it.client_software_name = text("-a");
                    }),
                    ("a version that ends in a dot", &|it| {
                        it.client_software_version = text("1.");
                    }),
                    ("a name beyond ASCII", &|it| {
                        it.client_software_name = text("Käfer")
                    }),
                    ("an enormous version", &|it| {
                        it.client_software_version = long(ENORMOUS_TEXT);
                    }),
                ],
            );
        }
    }

    fn sweep_metadata(&mut self, swept: &Swept) {
        let name = |name: Text| MetadataRequestTopic {
            name: Some(name),
            ..Default::default()
        };
        let by_id = |topic_id| MetadataRequestTopic {
            topic_id,
            name: None,
        };
        for version in versions::<MetadataRequest>() {
            let good = MetadataRequest {
                topics: Some(vec![name(swept.topic.clone())]),
                allow_auto_topic_creation: version < 4,
                ..Default::default()
            };
            let absent = self.name("absent");
            let topics = |topics: Vec<MetadataRequestTopic>| {
                move |it: &mut MetadataRequest| it.topics = Some(topics.clone())
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| it.topics.iter_mut().for_each(twice)),
                    ("bad name", &topics(vec![name(text("no/name"))])),
                    ("empty name", &topics(vec![name(Text::new())])),
                    ("one dot", &topics(vec![name(text("."))])),
                    ("two dots", &topics(vec![name(text(".."))])),
                    ("beyond ASCII", &topics(vec![name(text("Käse"))])),
                    ("too long", &topics(vec![name(long(TOO_LONG_FOR_A_TOPIC))])),
                    ("enormous name", &topics(vec![name(long(ENORMOUS_TEXT))])),
                    ("topic twice", &|it| it.topics.iter_mut().for_each(twice)),
                    ("good and bad", &|it| {
                        it.topics
                            .iter_mut()
                            .for_each(|all| all.push(name(text("a b"))));
                    }),
                    // Before v4 asking is making.
                    ("absent", &|it| {
                        it.topics = Some(vec![name(absent.clone())]);
                        it.allow_auto_topic_creation = false;
                    }),
                    ("bad name, to be made", &|it| {
                        it.topics = Some(vec![name(text("a:b"))]);
                        it.allow_auto_topic_creation = true;
                    }),
                    ("many", &|it| {
                        it.topics = Some(many().map(name).collect());
                        it.allow_auto_topic_creation = false;
                    }),
                    ("unknown id", &topics(vec![by_id(NO_TOPIC)])),
                    ("neither name nor id", &topics(vec![by_id(Uuid::ZERO)])),
                    ("name and id", &|it| {
                        it.topics
                            .iter_mut()
                            .flatten()
                            .for_each(|topic| topic.topic_id = swept.id);
                    }),
                    ("name and the id of none", &|it| {
                        it.topics
                            .iter_mut()
                            .flatten()
                            .for_each(|topic| topic.topic_id = NO_TOPIC);
                    }),
                    ("id twice", &topics(vec![by_id(swept.id), by_id(swept.id)])),
                    ("by name and by id", &|it| {
                        it.topics
                            .iter_mut()
                            .for_each(|all| all.push(by_id(swept.id)));
                    }),
                ],
            );
        }
    }

    fn sweep_topic_partitions(&mut self, swept: &Swept) {
        let name = |name: Text| DescribeTopicPartitionsTopicRequest { name };
        let cursor = |topic: &Text, partition_index| {
            Some(DescribeTopicPartitionsCursor {
                topic_name: topic.clone(),
                partition_index,
            })
        };
        let (absent, behind) = (self.name("absent"), self.name("z"));
        let topic = swept.topic.clone();
        for version in versions::<DescribeTopicPartitionsRequest>() {
            let good = DescribeTopicPartitionsRequest {
                topics: vec![name(topic.clone())],
                response_partition_limit: 100,
                cursor: None,
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    ("absent", &|it| it.topics = vec![name(absent.clone())]),
                    ("bad name", &|it| it.topics = vec![name(text("no/name"))]),
                    ("empty name", &|it| it.topics = vec![name(Text::new())]),
                    ("too long", &|it| {
                        it.topics = vec![name(long(TOO_LONG_FOR_A_TOPIC))]
                    }),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("absent one first", &|it| {
                        it.topics.insert(0, name(absent.clone()))
                    }),
                    ("many", &|it| it.topics = many().map(name).collect()),
                    ("limit 0", &|it| it.response_partition_limit = 0),
                    ("limit 1", &|it| it.response_partition_limit = 1),
                    ("limit -1", &|it| it.response_partition_limit = -1),
                    ("least limit", &|it| it.response_partition_limit = i32::MIN),
                    ("greatest limit", &|it| {
                        it.response_partition_limit = i32::MAX
                    }),
                    ("from the end", &|it| it.cursor = cursor(&topic, 2)),
                    ("from beyond the end", &|it| it.cursor = cursor(&topic, 100)),
                    ("from before the start", &|it| {
                        it.cursor = cursor(&topic, -1)
                    }),
                    ("from the least", &|it| it.cursor = cursor(&topic, i32::MIN)),
                    ("from an absent topic", &|it| it.cursor = cursor(&absent, 0)),
                    ("from behind all topics", &|it| {
                        it.cursor = cursor(&behind, 0)
                    }),
                    ("from a topic without a name", &|it| {
                        it.cursor = cursor(&Text::new(), 0)
                    }),
                    ("from a bad name", &|it| {
                        it.cursor = cursor(&text("no/name"), 1)
                    }),
                ],
            );
        }
    }

    fn sweep_describe_cluster(&mut self) {
        for version in versions::<DescribeClusterRequest>() {
            self.questions(
                version,
                &DescribeClusterRequest::default(),
                &[
                    ("controllers, of a broker", &|it| {
                        it.endpoint_type = DescribeClusterRequest::CONTROLLERS;
                    }),
                    ("kind 0", &|it| it.endpoint_type = 0),
                    ("kind 3", &|it| it.endpoint_type = 3),
                    ("kind -1", &|it| it.endpoint_type = -1),
                    ("least kind", &|it| it.endpoint_type = i8::MIN),
                    ("greatest kind", &|it| it.endpoint_type = i8::MAX),
                    ("unknown kind, with rights", &|it| {
                        it.endpoint_type = 7;
                        it.include_cluster_authorized_operations = true;
                    }),
                    ("fenced controllers", &|it| {
                        it.endpoint_type = DescribeClusterRequest::CONTROLLERS;
                        it.include_fenced_brokers = true;
                    }),
                ],
            );
        }
    }

    fn sweep_describe_quorum(&mut self) {
        let of = |topic: Text, partitions: &[i32]| DescribeQuorumRequestTopicData {
            topic_name: topic,
            partitions: partitions
                .iter()
                .map(|index| DescribeQuorumRequestPartitionData {
                    partition_index: *index,
                })
                .collect(),
        };
        let log = || text("__cluster_metadata");
        let topic = self.name("swept");
        let enormous: Vec<i32> = (0..ENORMOUS_LIST as i32).collect();
        for version in versions::<DescribeQuorumRequest>() {
            let good = DescribeQuorumRequest {
                topics: vec![of(log(), &[0])],
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    ("another partition", &|it| it.topics = vec![of(log(), &[1])]),
                    ("negative partition", &|it| {
                        it.topics = vec![of(log(), &[-1])]
                    }),
                    ("another topic", &|it| {
                        it.topics = vec![of(topic.clone(), &[0])]
                    }),
                    ("empty name", &|it| it.topics = vec![of(Text::new(), &[0])]),
                    ("bad name", &|it| {
                        it.topics = vec![of(text("no/name"), &[0])]
                    }),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics = vec![of(log(), &[])]),
                    ("partition twice", &|it| {
                        it.topics = vec![of(log(), &[0, 0])]
                    }),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| {
                        it.topics.push(of(topic.clone(), &[0]))
                    }),
                    ("many", &|it| it.topics = vec![of(log(), &enormous)]),
                ],
            );
        }
    }
}
