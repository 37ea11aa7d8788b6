//! CreateTopics, CreatePartitions and DeleteTopics.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::super::TIMEOUT_MS;
use super::{
    ENORMOUS_TEXT, GROWN, NO_TOPIC, NOBODY, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many, text,
    twice, versions,
};

/// More partitions than one request may make.
const TOO_MANY_PARTITIONS: i32 = 10_001;
/// More than a topic may grow by at once. Only asked: Apache's controller refuses it with the first 10,000
/// partitions already made. And not far more: it lays out all of them first, and ends without memory.
const TOO_MUCH_GROWTH: i32 = 10_100;

impl Story<'_> {
    pub(super) fn sweep_topics(&mut self, swept: &Swept) {
        self.sweep_create_topics(swept);
        self.sweep_create_partitions(swept);
        self.sweep_delete_topics();
    }

    fn sweep_create_topics(&mut self, swept: &Swept) {
        let node = self.node;
        for version in versions::<CreateTopicsRequest>() {
            let good = CreateTopicsRequest {
                topics: vec![plain(self.name(&format!("sweep-made-{version}")))],
                timeout_ms: TIMEOUT_MS,
                validate_only: false,
            };
            // None of the bad ones is made: its name may come back.
            let fresh = self.name(&format!("sweep-unmade-{version}"));
            let one = |spoil: fn(&mut CreatableTopic)| {
                let fresh = fresh.clone();
                move |it: &mut CreateTopicsRequest| {
                    let mut topic = plain(fresh.clone());
                    spoil(&mut topic);
                    it.topics = vec![topic];
                }
            };
            let placed = |replicas: Vec<(i32, Vec<i32>)>| {
                let fresh = fresh.clone();
                move |it: &mut CreateTopicsRequest| {
                    it.topics = vec![assigned(&fresh, &replicas)];
                }
            };
            let set = |name: &'static str, value: Option<&'static str>| {
                let fresh = fresh.clone();
                move |it: &mut CreateTopicsRequest| {
                    let mut topic = plain(fresh.clone());
                    topic.configs = vec![setting(name, value)];
                    it.topics = vec![topic];
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    ("there already", &|it| {
                        it.topics = vec![plain(swept.topic.clone())]
                    }),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("twice, and one more", &|it| {
                        twice(&mut it.topics);
                        it.topics.push(plain(text("no/name")));
                    }),
                    ("nothing", &|it| it.topics.clear()),
                    ("empty name", &one(|topic| topic.name = Text::new())),
                    ("one dot", &one(|topic| topic.name = text("."))),
                    ("two dots", &one(|topic| topic.name = text(".."))),
                    ("bad name", &one(|topic| topic.name = text("no/name"))),
                    ("beyond ASCII", &one(|topic| topic.name = text("Käse"))),
                    (
                        "too long",
                        &one(|topic| topic.name = long(TOO_LONG_FOR_A_TOPIC)),
                    ),
                    (
                        "enormous name",
                        &one(|topic| topic.name = long(ENORMOUS_TEXT)),
                    ),
                    (
                        "of the quorum",
                        &one(|topic| topic.name = text("__cluster_metadata")),
                    ),
                    ("no partitions", &one(|topic| topic.num_partitions = 0)),
                    ("-2 partitions", &one(|topic| topic.num_partitions = -2)),
                    (
                        "fewest partitions",
                        &one(|topic| topic.num_partitions = i32::MIN),
                    ),
                    (
                        "too many partitions",
                        &one(|topic| {
                            topic.num_partitions = TOO_MANY_PARTITIONS;
                        }),
                    ),
                    ("no replicas", &one(|topic| topic.replication_factor = 0)),
                    ("-2 replicas", &one(|topic| topic.replication_factor = -2)),
                    ("two replicas", &one(|topic| topic.replication_factor = 2)),
                    (
                        "most replicas",
                        &one(|topic| topic.replication_factor = i16::MAX),
                    ),
                    ("unknown broker", &placed(vec![(0, vec![NOBODY])])),
                    ("negative broker", &placed(vec![(0, vec![-1])])),
                    ("broker twice", &placed(vec![(0, vec![node, node])])),
                    ("nowhere", &placed(vec![(0, vec![])])),
                    ("a gap", &placed(vec![(0, vec![node]), (2, vec![node])])),
                    ("not from 0", &placed(vec![(1, vec![node])])),
                    ("negative partition", &placed(vec![(-1, vec![node])])),
                    (
                        "partition twice",
                        &placed(vec![(0, vec![node]), (0, vec![node])]),
                    ),
                    (
                        "unlike",
                        &placed(vec![(0, vec![node]), (1, vec![node, NOBODY])]),
                    ),
                    ("placed and counted", &|it| {
                        let mut topic = assigned(&fresh, &[(0, vec![node])]);
                        topic.num_partitions = 1;
                        it.topics = vec![topic];
                    }),
                    ("placed and replicated", &|it| {
                        let mut topic = assigned(&fresh, &[(0, vec![node])]);
                        topic.replication_factor = 1;
                        it.topics = vec![topic];
                    }),
                    ("unknown setting", &set("no.such.setting", Some("1"))),
                    ("nameless setting", &set("", Some("1"))),
                    ("setting of a broker", &set("log.retention.ms", Some("1"))),
                    ("null setting", &set("retention.ms", None)),
                    ("empty setting", &set("retention.ms", Some(""))),
                    ("below the bound", &set("retention.ms", Some("-2"))),
                    (
                        "above the bound",
                        &set("retention.ms", Some("9223372036854775808")),
                    ),
                    ("no such policy", &set("cleanup.policy", Some("shrink"))),
                    ("no such codec", &set("compression.type", Some("rar"))),
                    ("setting twice", &|it| {
                        let mut topic = plain(fresh.clone());
                        topic.configs = vec![
                            setting("retention.ms", Some("x")),
                            setting("retention.ms", Some("y")),
                        ];
                        it.topics = vec![topic];
                    }),
                    ("no time at all", &|it| it.timeout_ms = -1),
                    ("0 ms", &|it| {
                        it.timeout_ms = 0;
                        it.topics = vec![plain(fresh.clone())];
                    }),
                    ("good and bad, only asked", &|it| {
                        it.topics = vec![plain(fresh.clone()), plain(text("no/name"))];
                        it.validate_only = true;
                    }),
                    ("many bad ones", &|it| {
                        it.topics = many()
                            .take(300)
                            .map(|name| plain(Text::from(format!("{name}/"))))
                            .collect();
                    }),
                ],
            );
        }
    }

    fn sweep_create_partitions(&mut self, swept: &Swept) {
        let node = self.node;
        for version in versions::<CreatePartitionsRequest>() {
            let name = self.name(&format!("sweep-grown-{version}"));
            self.make_topic(&name, 1);
            let good = CreatePartitionsRequest {
                topics: vec![growth(&name, 2, None)],
                timeout_ms: TIMEOUT_MS,
                validate_only: false,
            };
            let absent = self.name("absent");
            let of = |topic: &Text, count| {
                let topic = topic.clone();
                move |it: &mut CreatePartitionsRequest| {
                    it.topics = vec![growth(&topic, count, None)]
                }
            };
            let placed = |brokers: &'static [&'static [i32]]| {
                let name = name.clone();
                move |it: &mut CreatePartitionsRequest| {
                    it.topics = vec![growth(&name, 3, Some(brokers))];
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    ("absent", &of(&absent, 2)),
                    ("bad name", &of(&text("no/name"), 2)),
                    ("empty name", &of(&Text::new(), 2)),
                    ("too long", &of(&long(TOO_LONG_FOR_A_TOPIC), 2)),
                    ("as many as there are", &of(&swept.topic, 2)),
                    ("fewer", &of(&name, 1)),
                    ("none", &of(&name, 0)),
                    ("-1", &of(&name, -1)),
                    ("fewest", &of(&name, i32::MIN)),
                    ("too many, only asked", &|it| {
                        it.topics = vec![growth(&name, TOO_MUCH_GROWTH, None)];
                        it.validate_only = true;
                    }),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("topic twice, unlike", &|it| {
                        it.topics.push(growth(&name, 5, None));
                    }),
                    ("nothing", &|it| it.topics.clear()),
                    ("unknown broker", &placed(&[&[NOBODY]])),
                    ("negative broker", &placed(&[&[-1]])),
                    ("nowhere", &placed(&[&[]])),
                    ("no places", &placed(&[])),
                    (
                        "more places than partitions",
                        &placed(&[&[NOBODY], &[NOBODY]]),
                    ),
                    ("broker twice", &|it| {
                        let mut topic = growth(&name, 3, None);
                        topic.assignments = Some(vec![CreatePartitionsAssignment {
                            broker_ids: vec![node, node],
                        }]);
                        it.topics = vec![topic];
                    }),
                    ("more replicas than others have", &|it| {
                        let mut topic = growth(&name, 3, None);
                        topic.assignments = Some(vec![CreatePartitionsAssignment {
                            broker_ids: vec![node, NOBODY],
                        }]);
                        it.topics = vec![topic];
                    }),
                    ("no time at all", &|it| {
                        it.timeout_ms = -1;
                        it.topics = vec![growth(&name, 3, None)];
                    }),
                    ("good and bad, only asked", &|it| {
                        it.topics = vec![growth(&name, 3, None), growth(&absent, 3, None)];
                        it.validate_only = true;
                    }),
                    ("many", &|it| {
                        it.topics = many().map(|name| growth(&name, 1, None)).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_delete_topics(&mut self) {
        for version in versions::<DeleteTopicsRequest>() {
            let name = self.name(&format!("sweep-gone-{version}"));
            let by_id = self.name(&format!("sweep-gone-by-id-{version}"));
            let kept = self.name(&format!("sweep-kept-{version}"));
            self.make_topic(&name, 1);
            let id = self.make_topic(&by_id, 1);
            self.make_topic(&kept, 1);
            let named = |name: &Text| DeleteTopicState {
                name: Some(name.clone()),
                ..Default::default()
            };
            let with_id = |topic_id| DeleteTopicState {
                name: None,
                topic_id,
            };
            let mut good = DeleteTopicsRequest {
                timeout_ms: TIMEOUT_MS,
                ..Default::default()
            };
            match version {
                6.. => good.topics = vec![named(&name)],
                _ => good.topic_names = vec![name.clone()],
            }
            // Up to v5 by names alone, then by either.
            let of = |names: Vec<Text>| {
                move |it: &mut DeleteTopicsRequest| match version {
                    6.. => it.topics = names.iter().map(named).collect(),
                    _ => it.topic_names = names.clone(),
                }
            };
            let absent = self.name("absent");
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| {
                        twice(&mut it.topics);
                        twice(&mut it.topic_names);
                    }),
                    ("absent", &of(vec![absent.clone()])),
                    ("gone and absent", &of(vec![name.clone(), absent.clone()])),
                    ("bad name", &of(vec![text("no/name")])),
                    ("empty name", &of(vec![Text::new()])),
                    ("two dots", &of(vec![text("..")])),
                    ("too long", &of(vec![long(TOO_LONG_FOR_A_TOPIC)])),
                    ("enormous name", &of(vec![long(ENORMOUS_TEXT)])),
                    ("topic twice", &of(vec![kept.clone(), kept.clone()])),
                    ("absent twice", &of(vec![absent.clone(), absent.clone()])),
                    ("nothing", &of(Vec::new())),
                    ("many", &of(many().collect())),
                    ("no time at all", &|it| {
                        of(vec![kept.clone()])(it);
                        it.timeout_ms = -1;
                    }),
                    ("unknown id", &|it| it.topics = vec![with_id(NO_TOPIC)]),
                    ("unknown id twice", &|it| {
                        it.topics = vec![with_id(NO_TOPIC), with_id(NO_TOPIC)];
                    }),
                    ("neither name nor id", &|it| {
                        it.topics = vec![with_id(Uuid::ZERO)]
                    }),
                    ("name and id", &|it| {
                        it.topics = vec![DeleteTopicState {
                            name: Some(by_id.clone()),
                            topic_id: id,
                        }];
                    }),
                    ("by name and by id", &|it| {
                        it.topics = vec![named(&by_id), with_id(id)];
                    }),
                    ("id twice", &|it| it.topics = vec![with_id(id), with_id(id)]),
                ],
            );
        }
    }
}

fn plain(name: Text) -> CreatableTopic {
    CreatableTopic {
        name,
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    }
}

fn assigned(name: &Text, replicas: &[(i32, Vec<i32>)]) -> CreatableTopic {
    let assignment = |(partition, brokers): &(i32, Vec<i32>)| CreatableReplicaAssignment {
        partition_index: *partition,
        broker_ids: brokers.clone(),
    };
    CreatableTopic {
        name: name.clone(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: replicas.iter().map(assignment).collect(),
        ..Default::default()
    }
}

fn setting(name: &'static str, value: Option<&'static str>) -> CreatableTopicConfig {
    CreatableTopicConfig {
        name: text(name),
        value: value.map(text),
    }
}

fn growth(name: &Text, count: i32, places: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let place = |brokers: &&[i32]| CreatePartitionsAssignment {
        broker_ids: brokers.to_vec(),
    };
    CreatePartitionsTopic {
        name: name.clone(),
        count,
        assignments: places.map(|places| places.iter().map(place).collect()),
    }
}
