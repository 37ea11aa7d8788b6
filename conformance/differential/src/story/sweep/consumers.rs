//! ConsumerGroupHeartbeat and ConsumerGroupDescribe.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::{
    ENORMOUS_TEXT, GROWN, NO_TOPIC, REBALANCE_MS, Story, Swept, long, many, text, twice, versions,
};

impl Story<'_> {
    pub(super) fn sweep_consumers(&mut self, swept: &Swept) {
        self.sweep_consumer_joins(swept);
        self.consumers_in_every_state(swept);
        self.sweep_describe_consumers(swept);
    }

    fn sweep_consumer_joins(&mut self, swept: &Swept) {
        for version in versions::<ConsumerGroupHeartbeatRequest>() {
            let group = self.name(&format!("sweep-consumers-{version}"));
            let good = join(&group, "a", &swept.topic);
            let owned = |topic_id, partitions: &[i32]| ConsumerGroupHeartbeatTopicPartitions {
                topic_id,
                partitions: partitions.to_vec(),
            };
            let classic = self.name(&format!("sweep-classic-{version}"));
            self.join_at_once(&classic, swept);
            // A stranger that is refused leaves the group as it is.
            let newly = |spoil: fn(&mut ConsumerGroupHeartbeatRequest)| {
                move |it: &mut ConsumerGroupHeartbeatRequest| {
                    it.member_id = text("newly");
                    spoil(it);
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| {
                        it.subscribed_topic_names.iter_mut().for_each(twice)
                    }),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("a group of blanks", &newly(|it| it.group_id = text(" "))),
                    ("a classic group with members", &|it| {
                        it.group_id = classic.clone()
                    }),
                    (
                        "no instance",
                        &newly(|it| it.instance_id = Some(Text::new())),
                    ),
                    (
                        "an instance of blanks",
                        &newly(|it| it.instance_id = Some(text(" "))),
                    ),
                    ("no rack", &newly(|it| it.rack_id = Some(Text::new()))),
                    (
                        "rebalances in -1",
                        &newly(|it| it.rebalance_timeout_ms = -1),
                    ),
                    (
                        "rebalances in -2",
                        &newly(|it| it.rebalance_timeout_ms = -2),
                    ),
                    (
                        "rebalances in 0",
                        &newly(|it| {
                            it.rebalance_timeout_ms = 0;
                            it.server_assignor = Some(text("none"));
                        }),
                    ),
                    (
                        "silent about partitions",
                        &newly(|it| it.topic_partitions = None),
                    ),
                    ("joins with partitions", &|it| {
                        it.member_id = text("newly");
                        it.topic_partitions = Some(vec![owned(swept.id, &[0])]);
                    }),
                    ("joins with negative partitions", &|it| {
                        it.member_id = text("newly");
                        it.topic_partitions = Some(vec![owned(swept.id, &[-1])]);
                    }),
                    (
                        "subscribes to nothing that is",
                        &newly(|it| {
                            it.subscribed_topic_names = None;
                        }),
                    ),
                    (
                        "a pattern that is none",
                        &newly(|it| {
                            it.subscribed_topic_regex = Some(text("("));
                        }),
                    ),
                    (
                        "a pattern that looks behind",
                        &newly(|it| {
                            it.subscribed_topic_names = None;
                            it.subscribed_topic_regex = Some(text("(?<=a)b"));
                        }),
                    ),
                    (
                        "a pattern without end",
                        &newly(|it| {
                            it.subscribed_topic_regex = Some(text("a{1,99999}"));
                        }),
                    ),
                    (
                        "unknown assignor",
                        &newly(|it| it.server_assignor = Some(text("mine"))),
                    ),
                    (
                        "assignor without a name",
                        &newly(|it| {
                            it.server_assignor = Some(Text::new());
                        }),
                    ),
                    (
                        "assignor in capitals",
                        &newly(|it| it.server_assignor = Some(text("RANGE"))),
                    ),
                    ("epoch -3", &newly(|it| it.member_epoch = -3)),
                    ("least epoch", &newly(|it| it.member_epoch = i32::MIN)),
                    (
                        "epoch -2 without an instance",
                        &newly(|it| it.member_epoch = -2),
                    ),
                    (
                        "away, and unknown",
                        &newly(|it| {
                            it.member_epoch = -2;
                            it.instance_id = Some(text("nobody"));
                        }),
                    ),
                    ("leaves, and unknown", &newly(|it| it.member_epoch = -1)),
                    ("stranger of epoch 1", &newly(|it| it.member_epoch = 1)),
                    (
                        "stranger of a greatest epoch",
                        &newly(|it| it.member_epoch = i32::MAX),
                    ),
                    (
                        "stranger of an instance",
                        &newly(|it| {
                            it.member_epoch = 1;
                            it.instance_id = Some(text("nobody"));
                        }),
                    ),
                    ("no such group", &|it| {
                        it.group_id = text("nobodys-group");
                        it.member_epoch = 1;
                    }),
                    ("leaves no such group", &|it| {
                        it.group_id = text("nobodys-group");
                        it.member_epoch = -1;
                    }),
                    ("enormous member of epoch 5", &|it| {
                        it.member_id = long(ENORMOUS_TEXT);
                        it.member_epoch = 5;
                    }),
                ],
            );
            let mut nameless = good.clone();
            nameless.member_id = Text::new();
            if version >= 1 {
                self.bad("no member id", version, &nameless);
            }
            nameless.member_epoch = 5;
            self.bad("no member id, of epoch 5", version, &nameless);
            self.prepare(version, &beat(&group, "a", -1));
        }
    }

    /// Members that own something, that were fenced, that are away, and groups that are empty.
    fn consumers_in_every_state(&mut self, swept: &Swept) {
        for version in versions::<ConsumerGroupHeartbeatRequest>() {
            let group = self.name(&format!("sweep-stable-{version}"));
            let Some(joined) = self.prepare(version, &join(&group, "a", &swept.topic)) else {
                continue;
            };
            let epoch = joined.member_epoch;
            let owns = |topic_id, partitions: &[i32]| ConsumerGroupHeartbeatRequest {
                topic_partitions: Some(vec![ConsumerGroupHeartbeatTopicPartitions {
                    topic_id,
                    partitions: partitions.to_vec(),
                }]),
                ..beat(&group, "a", epoch)
            };
            for (label, request) in [
                ("a heartbeat", beat(&group, "a", epoch)),
                ("epoch ahead", beat(&group, "a", epoch + 7)),
                ("epoch behind", beat(&group, "a", epoch - 1)),
                ("owns what it was not given", owns(NO_TOPIC, &[0])),
                ("owns partition 44", owns(swept.id, &[44])),
                ("owns partition -1", owns(swept.id, &[-1])),
                ("owns a partition twice", owns(swept.id, &[0, 0])),
                ("owns topic zero", owns(Uuid::ZERO, &[0])),
                ("joins again", join(&group, "a", &swept.topic)),
                (
                    "joins as an instance",
                    ConsumerGroupHeartbeatRequest {
                        instance_id: Some(text("i")),
                        server_assignor: Some(text("no-such-assignor")),
                        ..join(&group, "b", &swept.topic)
                    },
                ),
                (
                    "changes to an unknown assignor",
                    ConsumerGroupHeartbeatRequest {
                        server_assignor: Some(text("no-such-assignor")),
                        ..beat(&group, "a", epoch)
                    },
                ),
                (
                    "subscribes to a bad name",
                    ConsumerGroupHeartbeatRequest {
                        subscribed_topic_names: Some(vec![text("no/name")]),
                        ..beat(&group, "a", epoch)
                    },
                ),
                (
                    "subscribes to nothing",
                    ConsumerGroupHeartbeatRequest {
                        subscribed_topic_names: Some(Vec::new()),
                        ..beat(&group, "a", epoch + 1)
                    },
                ),
                ("leaves", beat(&group, "a", -1)),
                ("after it left", beat(&group, "a", epoch)),
                ("leaves again", beat(&group, "a", -1)),
            ] {
                self.bad(label, version, &request);
            }
            self.statics_in_every_state(version, swept);
        }
    }

    fn statics_in_every_state(&mut self, version: i16, swept: &Swept) {
        let group = self.name(&format!("sweep-statics-{version}"));
        let of = |request: ConsumerGroupHeartbeatRequest, instance: &'static str| {
            ConsumerGroupHeartbeatRequest {
                instance_id: Some(text(instance)),
                ..request
            }
        };
        let joins = |member| join(&group, member, &swept.topic);
        let Some(joined) = self.prepare(version, &of(joins("a"), "i")) else {
            return;
        };
        let epoch = joined.member_epoch;
        for (label, request) in [
            ("an instance that is taken", of(joins("b"), "i")),
            ("another's instance", of(beat(&group, "a", epoch), "j")),
            (
                "an instance under another id",
                of(beat(&group, "b", epoch), "i"),
            ),
            ("another leaves for it", of(beat(&group, "b", -1), "i")),
            ("another goes away for it", of(beat(&group, "b", -2), "i")),
            ("goes away", of(beat(&group, "a", -2), "i")),
            ("goes away again", of(beat(&group, "a", -2), "i")),
            ("beats while away", of(beat(&group, "a", epoch), "i")),
            ("comes back under another id", of(joins("b"), "i")),
            ("its former self", of(beat(&group, "a", epoch), "i")),
            ("its former self leaves", of(beat(&group, "a", -1), "i")),
            ("leaves as an instance", of(beat(&group, "b", -1), "i")),
        ] {
            self.bad(label, version, &request);
        }
    }

    fn sweep_describe_consumers(&mut self, swept: &Swept) {
        let group = self.name("sweep-described-consumers");
        self.prepare(1, &join(&group, "a", &swept.topic));
        let classic = self.name("sweep-described");
        for version in versions::<ConsumerGroupDescribeRequest>() {
            let good = ConsumerGroupDescribeRequest {
                group_ids: vec![group.clone()],
                ..Default::default()
            };
            let of = |groups: Vec<Text>| {
                move |it: &mut ConsumerGroupDescribeRequest| it.group_ids = groups.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.group_ids)),
                    ("unknown group", &of(vec![text("nobodys-group")])),
                    ("unknown group, with rights", &|it| {
                        it.group_ids = vec![text("nobodys-group")];
                        it.include_authorized_operations = true;
                    }),
                    ("no name", &of(vec![Text::new()])),
                    ("enormous name", &of(vec![long(ENORMOUS_TEXT)])),
                    ("a classic group", &of(vec![classic.clone()])),
                    ("nothing", &of(Vec::new())),
                    ("group twice", &|it| twice(&mut it.group_ids)),
                    (
                        "unknown group twice",
                        &of(vec![text("nobody"), text("nobody")]),
                    ),
                    (
                        "good and bad",
                        &of(vec![group.clone(), Text::new(), text("nobody")]),
                    ),
                    ("many", &of(many().collect())),
                ],
            );
        }
        // What asks about groups of the other kind.
        for version in versions::<DescribeGroupsRequest>() {
            let request = DescribeGroupsRequest {
                groups: vec![group.clone()],
                ..Default::default()
            };
            self.bad("a group of the consumer protocol", version, &request);
        }
        for version in versions::<JoinGroupRequest>() {
            let request = JoinGroupRequest {
                group_id: group.clone(),
                session_timeout_ms: 30_000,
                rebalance_timeout_ms: if version >= 1 { REBALANCE_MS } else { -1 },
                member_id: text("stranger"),
                protocol_type: text("connect"),
                protocols: vec![JoinGroupRequestProtocol {
                    name: text("range"),
                    metadata: Default::default(),
                }],
                ..Default::default()
            };
            self.bad("a group of the consumer protocol", version, &request);
        }
        for version in versions::<SyncGroupRequest>() {
            let request = SyncGroupRequest {
                group_id: group.clone(),
                generation_id: 1,
                member_id: text("a"),
                ..Default::default()
            };
            self.bad("a group of the consumer protocol", version, &request);
        }
        for version in versions::<HeartbeatRequest>() {
            let request = HeartbeatRequest {
                group_id: group.clone(),
                generation_id: 1,
                member_id: text("a"),
                group_instance_id: None,
            };
            self.bad("a group of the consumer protocol", version, &request);
        }
        for version in versions::<DeleteGroupsRequest>() {
            let request = DeleteGroupsRequest {
                groups_names: vec![group.clone()],
            };
            self.bad("consumers with members", version, &request);
        }
        self.prepare(1, &beat(&group, "a", -1));
    }
}

fn join(group: &Text, member: &'static str, topic: &Text) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![topic.clone()]),
        topic_partitions: Some(Vec::new()),
        ..beat(group, member, 0)
    }
}

fn beat(group: &Text, member: &'static str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.clone(),
        member_id: text(member),
        member_epoch: epoch,
        ..Default::default()
    }
}
