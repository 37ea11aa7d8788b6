//! Groups of the consumer protocol: one heartbeat for everything, and what is shown of them.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::offsets::{offset_commit, offset_fetch};
use super::{Story, versions};

const INSTANCE: &str = "instance-1";

impl Story<'_> {
    pub fn consumers(&mut self) {
        let topic = self.name("shared-out");
        let id = self.make_topic(&topic, 2);
        for version in versions::<ConsumerGroupHeartbeatRequest>() {
            self.bad_heartbeats(version, &topic);
            self.life_of_a_consumer(version, &topic, id);
            self.life_of_a_static_consumer(version, &topic);
        }
        self.subscribe_by_pattern();
    }

    fn bad_heartbeats(&mut self, version: i16, topic: &Text) {
        let group = self.name(&format!("unfit-{version}"));
        let good = join(&group, "a", topic);
        let spoilt = |spoil: &dyn Fn(&mut ConsumerGroupHeartbeatRequest)| {
            let mut request = good.clone();
            spoil(&mut request);
            request
        };
        let owned = ConsumerGroupHeartbeatTopicPartitions {
            topic_id: Uuid::from_u128(1000),
            partitions: vec![0],
        };
        let bad = [
            ("no group id", spoilt(&|it| it.group_id = Text::new())),
            (
                "blank instance id",
                spoilt(&|it| it.instance_id = Some(Text::from(" "))),
            ),
            ("blank rack", spoilt(&|it| it.rack_id = Some(Text::new()))),
            (
                "no rebalance timeout",
                spoilt(&|it| it.rebalance_timeout_ms = -1),
            ),
            (
                "silent about partitions",
                spoilt(&|it| it.topic_partitions = None),
            ),
            (
                "joins with partitions",
                spoilt(&|it| it.topic_partitions = Some(vec![owned.clone()])),
            ),
            (
                "no subscription",
                spoilt(&|it| it.subscribed_topic_names = None),
            ),
            (
                "away without an instance",
                spoilt(&|it| it.member_epoch = -2),
            ),
            ("epoch -3", spoilt(&|it| it.member_epoch = -3)),
            (
                "unknown assignor",
                spoilt(&|it| it.server_assignor = Some(Text::from("mine"))),
            ),
            ("missing group", spoilt(&|it| it.member_epoch = 1)),
            ("leaves a missing group", spoilt(&|it| it.member_epoch = -1)),
        ];
        for (label, request) in &bad {
            self.ask(label, version, request);
        }
        let nameless = spoilt(&|it| it.member_id = Text::new());
        if version >= 1 {
            self.ask("no member id", version, &nameless);
            let pattern = spoilt(&|it| it.subscribed_topic_regex = Some(Text::from("(")));
            self.ask("bad pattern", version, &pattern);
        } else if let Some(given) = self.ask("an id is given", version, &nameless) {
            let mut leave = beat(&group, "", -1);
            leave.member_id = given.member_id.unwrap_or_default();
            self.ask("leave with it", version, &leave);
        }
    }

    fn life_of_a_consumer(&mut self, version: i16, topic: &Text, id: Uuid) {
        let group = self.name(&format!("consumers-{version}"));
        let mut first = join(&group, "a", topic);
        first.rack_id = Some(Text::from("rack"));
        first.server_assignor = Some(Text::from("range"));
        let Some(joined) = self.ask("join", version, &first) else {
            return;
        };
        let epoch = joined.member_epoch;
        self.ask("heartbeat", version, &beat(&group, "a", epoch));
        let mut full = first.clone();
        full.member_epoch = epoch;
        full.topic_partitions = joined
            .assignment
            .map(|assignment| assignment.topic_partitions);
        self.ask("heartbeat with everything", version, &full);
        self.ask("the same again", version, &full);
        self.ask("epoch ahead", version, &beat(&group, "a", epoch + 7));
        self.ask("epoch behind", version, &beat(&group, "a", epoch - 1));
        self.ask("stranger", version, &beat(&group, "x", epoch));
        self.ask("stranger leaves", version, &beat(&group, "x", -1));
        self.ask("join again", version, &first);
        self.describe_consumers(version, &group);
        self.commit_as_consumer(&group, epoch, topic, id);
        self.ask("leave", version, &beat(&group, "a", -1));
        self.ask("leave again", version, &beat(&group, "a", -1));
        self.describe_consumers(version, &group);
        let delete = DeleteGroupsRequest {
            groups_names: vec![group],
        };
        self.ask("of consumers", 2, &delete);
    }

    fn describe_consumers(&mut self, version: i16, group: &Text) {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.clone(), Text::new(), self.name("nobodys")],
            include_authorized_operations: true,
        };
        self.ask("consumers", version, &request);
        let classic = DescribeGroupsRequest {
            groups: vec![group.clone()],
            ..Default::default()
        };
        self.ask("of the consumer protocol", 6, &classic);
        let filter = ListGroupsRequest {
            types_filter: vec![Text::from("consumer")],
            ..Default::default()
        };
        self.prove("of the consumer protocol", 5, &filter);
    }

    fn commit_as_consumer(&mut self, group: &Text, epoch: i32, topic: &Text, id: Uuid) {
        for (label, member, epoch) in [
            ("as a consumer", "a", epoch),
            ("as a consumer, epoch ahead", "a", epoch + 7),
            ("as a consumer, epoch behind", "a", epoch - 1),
            ("as a strange consumer", "x", epoch),
            ("from outside of consumers", "", -1),
        ] {
            for version in [8, 9, 10] {
                let mut request = offset_commit(version, group, topic, id);
                request.member_id = Text::from(member);
                request.generation_id_or_member_epoch = epoch;
                self.ask(label, version, &request);
            }
            let mut request = offset_fetch(9, group, topic, id);
            for asked in &mut request.groups {
                asked.member_id = (!member.is_empty()).then(|| Text::from(member));
                asked.member_epoch = epoch;
            }
            self.ask(label, 9, &request);
        }
    }

    fn life_of_a_static_consumer(&mut self, version: i16, topic: &Text) {
        let group = self.name(&format!("static-consumers-{version}"));
        let instance = Some(Text::from(INSTANCE));
        let mut first = join(&group, "a", topic);
        first.instance_id = instance.clone();
        let Some(joined) = self.ask("join, static", version, &first) else {
            return;
        };
        let mut second = first.clone();
        second.member_id = Text::from("b");
        self.ask("the instance is taken", version, &second);
        let mut away = beat(&group, "a", -2);
        away.instance_id = instance.clone();
        self.ask("away", version, &away);
        self.describe_consumers(version, &group);
        self.ask("back under another id", version, &second);
        let mut former = beat(&group, "a", joined.member_epoch);
        former.instance_id = instance;
        self.ask("its former self", version, &former);
        former.instance_id = Some(Text::from("instance-2"));
        self.ask("unknown instance", version, &former);
        self.describe_consumers(version, &group);
        // An administrator names the instance alone.
        let leave = LeaveGroupRequest {
            group_id: group,
            members: vec![MemberIdentity {
                group_instance_id: Some(Text::from(INSTANCE)),
                ..Default::default()
            }],
            ..Default::default()
        };
        self.ask("a static consumer", 5, &leave);
    }

    /// When the pattern is resolved is each broker's affair: the answers behind are not compared.
    fn subscribe_by_pattern(&mut self) {
        let group = self.name("by-pattern");
        let mut request = join(&group, "a", &Text::new());
        request.subscribed_topic_names = Some(Vec::new());
        request.subscribed_topic_regex = Some(Text::from(format!("{}-shared.*", self.prefix)));
        let Some(joined) = self.ask("join by pattern", 1, &request) else {
            return;
        };
        self.prove("by pattern", 1, &beat(&group, "a", joined.member_epoch));
        let describe = ConsumerGroupDescribeRequest {
            group_ids: vec![group.clone()],
            ..Default::default()
        };
        self.prove("by pattern", 1, &describe);
        self.prove("leave by pattern", 1, &beat(&group, "a", -1));
    }
}

fn join(group: &Text, member: &str, topic: &Text) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![topic.clone()]),
        topic_partitions: Some(Vec::new()),
        ..beat(group, member, 0)
    }
}

fn beat(group: &Text, member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: group.clone(),
        member_id: Text::from(member),
        member_epoch: epoch,
        ..Default::default()
    }
}
