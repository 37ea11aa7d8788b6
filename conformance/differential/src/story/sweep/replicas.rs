//! ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments; and, last of all,
//! UnregisterBroker.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::super::TIMEOUT_MS;
use super::{
    ENORMOUS_LIST, GROWN, NOBODY, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many, text, twice,
    versions,
};

impl Story<'_> {
    pub(super) fn sweep_replicas(&mut self, swept: &Swept) {
        self.sweep_elect_leaders(swept);
        self.sweep_reassign(swept);
        self.sweep_list_reassignments(swept);
    }

    /// Where everybody leads who should, the good question is about all, and names nobody.
    fn sweep_elect_leaders(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        let of = |topic: &Text, partitions: Vec<i32>| ElectLeadersTopicPartitions {
            topic: topic.clone(),
            partitions,
        };
        for version in versions::<ElectLeadersRequest>() {
            let good = ElectLeadersRequest {
                topic_partitions: None,
                timeout_ms: TIMEOUT_MS,
                ..Default::default()
            };
            let to = |topics: Vec<ElectLeadersTopicPartitions>| {
                move |it: &mut ElectLeadersRequest| it.topic_partitions = Some(topics.clone())
            };
            self.questions(
                version,
                &good,
                &[
                    ("nothing", &to(Vec::new())),
                    ("led already", &to(vec![of(&swept.topic, vec![0, 1])])),
                    ("no partitions", &to(vec![of(&swept.topic, Vec::new())])),
                    ("absent topic", &to(vec![of(&absent, vec![0])])),
                    ("bad name", &to(vec![of(&text("no/name"), vec![0])])),
                    ("empty name", &to(vec![of(&Text::new(), vec![0])])),
                    (
                        "too long",
                        &to(vec![of(&long(TOO_LONG_FOR_A_TOPIC), vec![0])]),
                    ),
                    ("absent partition", &to(vec![of(&swept.topic, vec![44])])),
                    (
                        "negative partition",
                        &to(vec![of(&swept.topic, vec![-1, i32::MIN])]),
                    ),
                    ("partition twice", &to(vec![of(&swept.topic, vec![0, 0])])),
                    (
                        "topic twice",
                        &to(vec![of(&swept.topic, vec![0]), of(&swept.topic, vec![0])]),
                    ),
                    (
                        "good and bad",
                        &to(vec![of(&swept.topic, vec![0, 44]), of(&absent, vec![0])]),
                    ),
                    (
                        "many",
                        &to(vec![of(&swept.topic, (2..ENORMOUS_LIST as i32).collect())]),
                    ),
                    ("no time at all", &|it| {
                        it.topic_partitions = Some(vec![of(&swept.topic, vec![0])]);
                        it.timeout_ms = -1;
                    }),
                    ("0 ms", &|it| {
                        it.topic_partitions = Some(vec![of(&swept.topic, vec![0])]);
                        it.timeout_ms = 0;
                    }),
                    ("uncleanly, led already", &|it| {
                        it.topic_partitions = Some(vec![of(&swept.topic, vec![0])]);
                        it.election_type = 1;
                    }),
                    ("kind 2", &|it| it.election_type = 2),
                    ("kind -1", &|it| it.election_type = -1),
                    ("least kind", &|it| it.election_type = i8::MIN),
                ],
            );
        }
    }

    fn sweep_reassign(&mut self, swept: &Swept) {
        let (node, absent) = (self.node, self.name("absent"));
        let part = |partition_index, replicas: Option<Vec<i32>>| ReassignablePartition {
            partition_index,
            replicas,
        };
        let of = |topic: &Text, partitions: Vec<ReassignablePartition>| ReassignableTopic {
            name: topic.clone(),
            partitions,
        };
        for version in versions::<AlterPartitionReassignmentsRequest>() {
            let good = AlterPartitionReassignmentsRequest {
                timeout_ms: TIMEOUT_MS,
                topics: vec![of(&swept.topic, vec![part(0, Some(vec![node]))])],
                ..Default::default()
            };
            let named = |name: Text| {
                move |it: &mut AlterPartitionReassignmentsRequest| it.topics[0].name = name.clone()
            };
            let to = |partition_index, replicas: Option<Vec<i32>>| {
                let one = part(partition_index, replicas);
                move |it: &mut AlterPartitionReassignmentsRequest| {
                    it.topics[0].partitions = vec![one.clone()];
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("gives up what does not move", &to(0, None)),
                    ("nowhere", &to(0, Some(Vec::new()))),
                    ("unknown broker", &to(0, Some(vec![NOBODY]))),
                    ("negative broker", &to(0, Some(vec![-1]))),
                    ("broker twice", &to(0, Some(vec![node, node]))),
                    ("one more, unknown", &to(0, Some(vec![node, NOBODY]))),
                    ("absent partition", &to(44, Some(vec![node]))),
                    ("negative partition", &to(-1, Some(vec![node]))),
                    ("gives up an absent partition", &to(44, None)),
                    (
                        "many brokers",
                        &to(0, Some((0..ENORMOUS_LIST as i32).collect())),
                    ),
                    ("absent topic", &named(absent.clone())),
                    ("bad name", &named(text("no/name"))),
                    ("empty name", &named(Text::new())),
                    ("too long", &named(long(TOO_LONG_FOR_A_TOPIC))),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| {
                        it.topics[0].partitions.push(part(44, None));
                        it.topics.push(of(&absent, vec![part(0, Some(vec![node]))]));
                    }),
                    ("one more, of that size", &|it| {
                        it.allow_replication_factor_change = false;
                        it.topics[0].partitions = vec![part(0, Some(vec![node, NOBODY]))];
                    }),
                    ("no time at all", &|it| it.timeout_ms = -1),
                    ("0 ms", &|it| it.timeout_ms = 0),
                    ("many", &|it| {
                        let topic = |name: Text| of(&name, vec![part(0, Some(vec![node]))]);
                        it.topics = many().map(topic).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_list_reassignments(&mut self, swept: &Swept) {
        let absent = self.name("absent");
        let of = |name: &Text, partition_indexes: Vec<i32>| ListPartitionReassignmentsTopics {
            name: name.clone(),
            partition_indexes,
        };
        for version in versions::<ListPartitionReassignmentsRequest>() {
            let good = ListPartitionReassignmentsRequest {
                timeout_ms: TIMEOUT_MS,
                topics: Some(vec![of(&swept.topic, vec![0])]),
            };
            let to = |topics: Vec<ListPartitionReassignmentsTopics>| {
                move |it: &mut ListPartitionReassignmentsRequest| it.topics = Some(topics.clone())
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| it.topics.iter_mut().for_each(twice)),
                    ("nothing", &to(Vec::new())),
                    ("no partitions", &to(vec![of(&swept.topic, Vec::new())])),
                    ("absent topic", &to(vec![of(&absent, vec![0])])),
                    ("bad name", &to(vec![of(&text("no/name"), vec![0])])),
                    ("empty name", &to(vec![of(&Text::new(), vec![0])])),
                    (
                        "too long",
                        &to(vec![of(&long(TOO_LONG_FOR_A_TOPIC), vec![0])]),
                    ),
                    ("absent partition", &to(vec![of(&swept.topic, vec![44])])),
                    ("negative partition", &to(vec![of(&swept.topic, vec![-1])])),
                    ("partition twice", &to(vec![of(&swept.topic, vec![0, 0])])),
                    ("topic twice", &|it| it.topics.iter_mut().for_each(twice)),
                    (
                        "good and bad",
                        &to(vec![of(&swept.topic, vec![0]), of(&absent, vec![0])]),
                    ),
                    ("no time at all", &|it| it.timeout_ms = -1),
                    ("many", &to(many().map(|name| of(&name, vec![0])).collect())),
                ],
            );
        }
    }

    /// The only broker that there is: nothing can be asked of it afterwards.
    pub(super) fn sweep_unregistration(&mut self) {
        for version in versions::<UnregisterBrokerRequest>() {
            for broker_id in [NOBODY, 0, -1, i32::MIN, i32::MAX, 1 << 20] {
                let request = UnregisterBrokerRequest { broker_id };
                self.bad(&format!("broker {broker_id}"), version, &request);
            }
            let good = UnregisterBrokerRequest {
                broker_id: self.node,
            };
            self.questions(version, &good, &[]);
        }
    }
}
