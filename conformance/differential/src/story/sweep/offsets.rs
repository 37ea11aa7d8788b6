//! OffsetCommit, OffsetFetch and OffsetDelete.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::super::TIMEOUT_MS;
use super::super::offsets::{offset_commit, offset_delete, offset_fetch};
use super::{
    ENORMOUS_LIST, ENORMOUS_TEXT, GROWN, NO_TOPIC, Story, Swept, TOO_LONG_FOR_A_TOPIC, long, many,
    settle, text, twice, versions,
};

impl Story<'_> {
    pub(super) fn sweep_offsets(&mut self, swept: &Swept) {
        let vanished = self.make_a_topic_vanish();
        self.sweep_offset_commit(swept, &vanished);
        self.sweep_offset_fetch(swept, &vanished);
        self.sweep_offset_delete(swept, &vanished);
    }

    /// A topic that was there, and offsets that were committed for it.
    fn make_a_topic_vanish(&mut self) -> Swept {
        let topic = self.name("sweep-vanished");
        let id = self.make_topic(&topic, 2);
        let vanished = Swept { topic, id };
        let group = self.name("sweep-left-behind");
        self.prepare(8, &offset_commit(8, &group, &vanished.topic, vanished.id));
        let delete = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(vanished.topic.clone()),
                ..Default::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        self.prepare(6, &delete);
        settle();
        vanished
    }

    fn sweep_offset_commit(&mut self, swept: &Swept, vanished: &Swept) {
        let inhabited = self.name("sweep-described");
        let absent = self.name("absent");
        for version in versions::<OffsetCommitRequest>() {
            let group = self.name(&format!("sweep-commits-{version}"));
            let good = offset_commit(version, &group, &swept.topic, swept.id);
            // Up to v9 by name, then by id.
            let to = |name: &Text, id: Uuid| {
                let topics = offset_commit(version, &group, name, id).topics;
                move |it: &mut OffsetCommitRequest| it.topics = topics.clone()
            };
            let part = |spoil: fn(&mut OffsetCommitRequestPartition)| {
                move |it: &mut OffsetCommitRequest| spoil(&mut it.topics[0].partitions[0])
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("enormous group", &|it| it.group_id = long(ENORMOUS_TEXT)),
                    ("generation 3 of nobody", &|it| {
                        it.generation_id_or_member_epoch = 3
                    }),
                    ("generation -2", &|it| it.generation_id_or_member_epoch = -2),
                    ("a member that is not there", &|it| {
                        it.member_id = text("nobody");
                        it.generation_id_or_member_epoch = 3;
                    }),
                    ("a member without a generation", &|it| {
                        it.member_id = text("nobody")
                    }),
                    ("an instance that is not there", &|it| {
                        it.group_instance_id = Some(text("nobody"));
                    }),
                    ("an instance without a name", &|it| {
                        it.group_instance_id = Some(Text::new())
                    }),
                    ("from outside of a group with members", &|it| {
                        it.group_id = inhabited.clone()
                    }),
                    ("stranger in a group with members", &|it| {
                        it.group_id = inhabited.clone();
                        it.member_id = text("nobody");
                        it.generation_id_or_member_epoch = 1;
                    }),
                    ("offset -1", &part(|it| it.committed_offset = -1)),
                    ("offset -2", &part(|it| it.committed_offset = -2)),
                    ("least offset", &part(|it| it.committed_offset = i64::MIN)),
                    ("above the end", &part(|it| it.committed_offset = i64::MAX)),
                    ("epoch -5", &part(|it| it.committed_leader_epoch = -5)),
                    (
                        "epoch from the future",
                        &part(|it| it.committed_leader_epoch = 99),
                    ),
                    ("absent partition", &part(|it| it.partition_index = 44)),
                    ("negative partition", &part(|it| it.partition_index = -1)),
                    ("null note", &part(|it| it.committed_metadata = None)),
                    (
                        "longest note",
                        &part(|it| it.committed_metadata = Some(long(4_096))),
                    ),
                    (
                        "too long a note",
                        &part(|it| it.committed_metadata = Some(long(4_097))),
                    ),
                    ("absent topic", &to(&absent, NO_TOPIC)),
                    ("vanished topic", &to(&vanished.topic, vanished.id)),
                    ("bad name", &to(&text("no/name"), NO_TOPIC)),
                    ("empty name", &to(&Text::new(), Uuid::ZERO)),
                    ("too long", &to(&long(TOO_LONG_FOR_A_TOPIC), NO_TOPIC)),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| {
                        let bad = offset_commit(version, &group, &absent, NO_TOPIC).topics;
                        it.topics.extend(bad);
                    }),
                    ("kept for 0 ms", &|it| it.retention_time_ms = 0),
                    ("kept for -5 ms", &|it| it.retention_time_ms = -5),
                    ("many partitions", &|it| {
                        let one = it.topics[0].partitions[0].clone();
                        let other = |partition_index| OffsetCommitRequestPartition {
                            partition_index,
                            ..one.clone()
                        };
                        it.topics[0].partitions = (0..ENORMOUS_LIST as i32).map(other).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_offset_fetch(&mut self, swept: &Swept, vanished: &Swept) {
        let inhabited = self.name("sweep-described");
        let absent = self.name("absent");
        let left_behind = self.name("sweep-left-behind");
        for version in versions::<OffsetFetchRequest>() {
            // Versions before the first of OffsetCommit read what that wrote.
            let group = self.name(&format!("sweep-commits-{}", version.max(2)));
            self.prepare(8, &offset_commit(8, &group, &swept.topic, swept.id));
            let good = offset_fetch(version, &group, &swept.topic, swept.id);
            // Up to v7 one group, then several.
            let of = |group: &Text| {
                let asked = offset_fetch(version, group, &swept.topic, swept.id);
                move |it: &mut OffsetFetchRequest| *it = asked.clone()
            };
            let from = |group: &Text, name: &Text, id: Uuid| {
                let asked = offset_fetch(version, group, name, id);
                move |it: &mut OffsetFetchRequest| *it = asked.clone()
            };
            let partitions = |indexes: Vec<i32>| {
                move |it: &mut OffsetFetchRequest| {
                    let old = it.topics.iter_mut().flatten();
                    old.for_each(|topic| topic.partition_indexes = indexes.clone());
                    let new = it.groups.iter_mut().flat_map(|group| &mut group.topics);
                    new.flatten()
                        .for_each(|topic| topic.partition_indexes = indexes.clone());
                }
            };
            let member = |id: Option<&'static str>, epoch| {
                move |it: &mut OffsetFetchRequest| {
                    for group in &mut it.groups {
                        group.member_id = id.map(text);
                        group.member_epoch = epoch;
                    }
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| {
                        it.topics.iter_mut().for_each(twice);
                        twice(&mut it.groups);
                    }),
                    ("no group", &of(&Text::new())),
                    ("unknown group", &of(&text("nobodys-group"))),
                    ("enormous group", &of(&long(ENORMOUS_TEXT))),
                    ("a group with members", &of(&inhabited)),
                    ("absent partition", &partitions(vec![44])),
                    ("negative partition", &partitions(vec![-1])),
                    ("no partitions", &partitions(Vec::new())),
                    ("partition twice", &partitions(vec![0, 0])),
                    (
                        "many partitions",
                        &partitions((0..ENORMOUS_LIST as i32).collect()),
                    ),
                    ("absent topic", &from(&group, &absent, NO_TOPIC)),
                    (
                        "vanished topic",
                        &from(&left_behind, &vanished.topic, vanished.id),
                    ),
                    ("bad name", &from(&group, &text("no/name"), NO_TOPIC)),
                    ("empty name", &from(&group, &Text::new(), Uuid::ZERO)),
                    ("no topics", &|it| {
                        it.topics.iter_mut().for_each(Vec::clear);
                        for group in &mut it.groups {
                            group.topics = Some(Vec::new());
                        }
                    }),
                    ("all topics of a vanished one's group", &|it| {
                        *it = offset_fetch(version, &left_behind, &vanished.topic, vanished.id);
                        if version < 8 {
                            it.topics = None;
                        }
                        it.groups.iter_mut().for_each(|group| group.topics = None);
                    }),
                    ("topic twice", &|it| {
                        it.topics.iter_mut().for_each(twice);
                        let topics = it.groups.iter_mut().flat_map(|group| &mut group.topics);
                        topics.for_each(twice);
                    }),
                    ("no groups", &|it| it.groups.clear()),
                    ("group twice", &|it| twice(&mut it.groups)),
                    ("good and bad", &|it| {
                        let bad = offset_fetch(version, &Text::new(), &absent, NO_TOPIC);
                        it.groups.extend(bad.groups);
                    }),
                    ("many groups", &|it| {
                        let one = it.groups.first().cloned().unwrap_or_default();
                        let other = |group_id| OffsetFetchRequestGroup {
                            group_id,
                            ..one.clone()
                        };
                        if version >= 8 {
                            it.groups = many().map(other).collect();
                        }
                    }),
                    ("a member that is not there", &member(Some("nobody"), 4)),
                    ("a member without an epoch", &member(Some("nobody"), -1)),
                    ("an epoch without a member", &member(None, 4)),
                    ("a member without a name", &member(Some(""), 0)),
                    ("epoch -5", &member(Some("nobody"), -5)),
                ],
            );
        }
    }

    fn sweep_offset_delete(&mut self, swept: &Swept, vanished: &Swept) {
        let inhabited = self.name("sweep-described");
        let absent = self.name("absent");
        for version in versions::<OffsetDeleteRequest>() {
            let group = self.name("sweep-deletes");
            self.prepare(8, &offset_commit(8, &group, &swept.topic, swept.id));
            let good = offset_delete(&group, &swept.topic);
            let part = |index| {
                move |it: &mut OffsetDeleteRequest| {
                    it.topics[0].partitions[0].partition_index = index;
                }
            };
            let named = |name: &Text| {
                let name = name.clone();
                move |it: &mut OffsetDeleteRequest| it.topics[0].name = name.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.topics)),
                    (GROWN, &|it| twice(&mut it.topics[0].partitions)),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("unknown group", &|it| it.group_id = text("nobodys-group")),
                    ("enormous group", &|it| it.group_id = long(ENORMOUS_TEXT)),
                    ("of a topic that members read", &|it| {
                        it.group_id = inhabited.clone()
                    }),
                    ("absent partition", &part(44)),
                    ("negative partition", &part(-1)),
                    ("absent topic", &named(&absent)),
                    ("vanished topic", &named(&vanished.topic)),
                    ("bad name", &named(&text("no/name"))),
                    ("empty name", &named(&Text::new())),
                    ("too long", &named(&long(TOO_LONG_FOR_A_TOPIC))),
                    ("nothing", &|it| it.topics.clear()),
                    ("no partitions", &|it| it.topics[0].partitions.clear()),
                    ("partition twice", &|it| twice(&mut it.topics[0].partitions)),
                    ("topic twice", &|it| twice(&mut it.topics)),
                    ("good and bad", &|it| {
                        it.topics.extend(offset_delete(&group, &absent).topics);
                    }),
                ],
            );
        }
    }
}
