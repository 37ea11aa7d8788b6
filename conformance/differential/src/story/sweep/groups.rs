//! FindCoordinator, JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups and
//! DeleteGroups: classic groups, and what is asked of both kinds.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::super::groups::with_version;
use super::super::offsets::offset_commit;
use super::{
    ENORMOUS_TEXT, GROWN, REBALANCE_MS, SESSION_MS, Story, Swept, long, many, settle, text, twice,
    versions,
};

const CONSUMER: &str = "consumer";
const PROTOCOL: &str = "range";
/// The last version of JoinGroup in which a member gets in without asking for an id first.
const AT_ONCE: i16 = 3;
/// The first with static members.
const STATIC: i16 = 5;

/// A member as its coordinator knows it.
pub(super) struct Joined {
    pub(super) id: Text,
    pub(super) generation: i32,
}

impl Story<'_> {
    pub(super) fn sweep_groups(&mut self, swept: &Swept) {
        self.sweep_find_coordinator();
        self.sweep_join(swept);
        self.sweep_sync(swept);
        self.sweep_heartbeat(swept);
        self.heartbeats_in_every_state(swept);
        self.sweep_leave(swept);
        self.sweep_describe_groups(swept);
        self.sweep_list_groups();
        self.sweep_delete_groups(swept);
    }

    fn sweep_find_coordinator(&mut self) {
        let group = self.name("sweep-found");
        let wait = FindCoordinatorRequest {
            coordinator_keys: vec![group.clone()],
            ..Default::default()
        };
        self.prepare_until(4, &wait, |answer| answer.coordinators[0].error_code);
        let wait = FindCoordinatorRequest {
            key_type: FindCoordinatorRequest::TRANSACTION,
            ..wait
        };
        self.prepare_until(4, &wait, |answer| answer.coordinators[0].error_code);
        for version in versions::<FindCoordinatorRequest>() {
            let mut good = FindCoordinatorRequest::default();
            match version {
                4.. => good.coordinator_keys = vec![group.clone()],
                _ => good.key = group.clone(),
            }
            // Up to v3 one key, then several.
            let of = |kind: i8, key: Text| {
                move |it: &mut FindCoordinatorRequest| {
                    it.key_type = kind;
                    match version {
                        4.. => it.coordinator_keys = vec![key.clone()],
                        _ => it.key = key.clone(),
                    }
                }
            };
            let (share, transaction) = (
                FindCoordinatorRequest::SHARE,
                FindCoordinatorRequest::TRANSACTION,
            );
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.coordinator_keys)),
                    ("no key", &of(0, Text::new())),
                    ("a blank key", &of(0, text(" "))),
                    ("an enormous key", &of(0, long(ENORMOUS_TEXT))),
                    ("a bad name for a topic", &of(0, text("no/name"))),
                    ("a key beyond ASCII", &of(0, text("Käse"))),
                    ("a key with a zero in it", &of(0, text("a\0b"))),
                    ("kind 3", &of(3, group.clone())),
                    ("kind -1", &of(-1, group.clone())),
                    ("least kind", &of(i8::MIN, group.clone())),
                    (
                        "a transaction without a name",
                        &of(transaction, Text::new()),
                    ),
                    ("a group as a share", &of(share, group.clone())),
                    (
                        "a share without a partition",
                        &of(share, text("g:AAAAAAAAAAAAAAAAAAAAZQ")),
                    ),
                    ("a share of a bad id", &of(share, text("g:no id:0"))),
                    (
                        "a share of partition -1",
                        &of(share, text("g:AAAAAAAAAAAAAAAAAAAAZQ:-1")),
                    ),
                    (
                        "a share of no group",
                        &of(share, text(":AAAAAAAAAAAAAAAAAAAAZQ:0")),
                    ),
                    ("no keys", &|it| it.coordinator_keys.clear()),
                    ("key twice", &|it| twice(&mut it.coordinator_keys)),
                    ("good and bad", &|it| it.coordinator_keys.push(Text::new())),
                    ("many", &|it| it.coordinator_keys = many().collect()),
                ],
            );
        }
    }

    fn sweep_join(&mut self, swept: &Swept) {
        for version in versions::<JoinGroupRequest>() {
            let group = self.name(&format!("sweep-join-{version}"));
            let mut good = join(&group, &swept.topic, version);
            // It comes back under its own id, so that it need not wait for itself.
            let Some(joined) = self.join_at_once(&group, swept) else {
                continue;
            };
            good.member_id = joined.id;
            // Where nothing else is wrong, a stranger: nobody waits for a member that does not come.
            let strangely = |spoil: fn(&mut JoinGroupRequest)| {
                move |it: &mut JoinGroupRequest| {
                    it.member_id = text("stranger");
                    spoil(it);
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.protocols)),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("session of 0", &|it| it.session_timeout_ms = 0),
                    ("session of -1", &|it| it.session_timeout_ms = -1),
                    ("session too short", &|it| it.session_timeout_ms = 5_999),
                    ("session too long", &|it| it.session_timeout_ms = 1_800_001),
                    ("longest session", &|it| it.session_timeout_ms = i32::MAX),
                    ("no protocols", &|it| it.protocols.clear()),
                    ("no kind of protocol", &|it| it.protocol_type = Text::new()),
                    ("another kind of protocol", &|it| {
                        it.protocol_type = text("connect")
                    }),
                    ("a protocol that nobody has", &|it| {
                        it.protocols[0].name = text("other")
                    }),
                    ("a protocol without a name", &|it| {
                        it.protocols[0].name = Text::new()
                    }),
                    ("stranger", &strangely(|_| ())),
                    ("stranger of an enormous id", &|it| {
                        it.member_id = long(ENORMOUS_TEXT)
                    }),
                    ("stranger in no group", &|it| {
                        it.group_id = text("nobodys-group");
                        it.member_id = text("stranger");
                    }),
                    (
                        "stranger with a protocol twice",
                        &strangely(|it| twice(&mut it.protocols)),
                    ),
                    (
                        "stranger without metadata",
                        &strangely(|it| {
                            it.protocols[0].metadata = Bytes::new();
                        }),
                    ),
                    (
                        "stranger that rebalances -1",
                        &strangely(|it| it.rebalance_timeout_ms = -1),
                    ),
                    (
                        "unknown instance with an id",
                        &strangely(|it| {
                            it.group_instance_id = Some(text("nobody"));
                        }),
                    ),
                    (
                        "instance without a name, with an id",
                        &strangely(|it| {
                            it.group_instance_id = Some(Text::new());
                        }),
                    ),
                    (
                        "instance of two dots, with an id",
                        &strangely(|it| {
                            it.group_instance_id = Some(text(".."));
                        }),
                    ),
                    (
                        "stranger with an enormous reason",
                        &strangely(|it| {
                            it.reason = Some(long(ENORMOUS_TEXT));
                        }),
                    ),
                ],
            );
            let mut nameless = join(&group, &swept.topic, version);
            if version >= STATIC {
                nameless.group_instance_id = Some(Text::new());
                nameless.protocol_type = text("connect");
                self.bad("instance without a name or an id", version, &nameless);
                nameless = join(&group, &swept.topic, version);
            }
            if version > AT_ONCE {
                self.bad("no member id", version, &nameless);
            }
        }
    }

    fn sweep_sync(&mut self, swept: &Swept) {
        for version in versions::<SyncGroupRequest>() {
            let group = self.name(&format!("sweep-sync-{version}"));
            let Some(joined) = self.join_at_once(&group, swept) else {
                continue;
            };
            let mut good = sync(&group, &joined);
            if version >= 5 {
                good.protocol_type = Some(text(CONSUMER));
                good.protocol_name = Some(text(PROTOCOL));
            }
            let early = SyncGroupRequest {
                generation_id: joined.generation + 1,
                ..good.clone()
            };
            self.bad("before its generation", version, &early);
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.assignments)),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("unknown group", &|it| it.group_id = text("nobodys-group")),
                    ("generation ahead", &|it| it.generation_id += 7),
                    ("generation 0", &|it| it.generation_id = 0),
                    ("generation -1", &|it| it.generation_id = -1),
                    ("least generation", &|it| it.generation_id = i32::MIN),
                    ("stranger", &|it| it.member_id = text("stranger")),
                    ("no member", &|it| it.member_id = Text::new()),
                    ("unknown instance", &|it| {
                        it.group_instance_id = Some(text("nobody"))
                    }),
                    ("instance without a name", &|it| {
                        it.group_instance_id = Some(Text::new())
                    }),
                    ("another kind of protocol", &|it| {
                        it.protocol_type = Some(text("connect"))
                    }),
                    ("another protocol", &|it| {
                        it.protocol_name = Some(text("other"))
                    }),
                    ("protocol without a name", &|it| {
                        it.protocol_name = Some(Text::new())
                    }),
                    ("a kind without a protocol", &|it| it.protocol_name = None),
                    ("a protocol without a kind", &|it| it.protocol_type = None),
                    ("again, for a stranger", &|it| {
                        it.assignments[0].member_id = text("stranger");
                    }),
                    ("again, twice", &|it| twice(&mut it.assignments)),
                    ("again, for many", &|it| {
                        it.assignments = many().map(|member| assignment(&member)).collect();
                    }),
                ],
            );
        }
    }

    fn sweep_heartbeat(&mut self, swept: &Swept) {
        for version in versions::<HeartbeatRequest>() {
            let group = self.name(&format!("sweep-beat-{version}"));
            let Some(joined) = self.join_at_once(&group, swept) else {
                continue;
            };
            self.prepare(3, &sync(&group, &joined));
            self.questions(
                version,
                &beat(&group, &joined),
                &[
                    ("no group", &|it| it.group_id = Text::new()),
                    ("unknown group", &|it| it.group_id = text("nobodys-group")),
                    ("generation ahead", &|it| it.generation_id += 7),
                    ("generation 0", &|it| it.generation_id = 0),
                    ("generation -1", &|it| it.generation_id = -1),
                    ("least generation", &|it| it.generation_id = i32::MIN),
                    ("stranger", &|it| it.member_id = text("stranger")),
                    ("no member", &|it| it.member_id = Text::new()),
                    ("enormous member", &|it| it.member_id = long(ENORMOUS_TEXT)),
                    ("unknown instance", &|it| {
                        it.group_instance_id = Some(text("nobody"))
                    }),
                    ("instance without a name", &|it| {
                        it.group_instance_id = Some(Text::new())
                    }),
                ],
            );
        }
    }

    /// Of a group that only has offsets, while members come together, before the leader has spoken, and
    /// when the last one has gone.
    fn heartbeats_in_every_state(&mut self, swept: &Swept) {
        for version in versions::<HeartbeatRequest>() {
            let group = self.name(&format!("sweep-states-{version}"));
            self.prepare(8, &offset_commit(8, &group, &swept.topic, swept.id));
            let nobody = Joined {
                id: text("nobody"),
                generation: 0,
            };
            self.bad(
                "of a group without members",
                version,
                &beat(&group, &nobody),
            );
            let Some(joined) = self.join_at_once(&group, swept) else {
                continue;
            };
            self.bad("before the assignment", version, &beat(&group, &joined));
            self.bad_sync_and_commit(version, "before the assignment", &group, &joined, swept);
            self.prepare(3, &sync(&group, &joined));
            // Another member waits until the first comes back: nobody reads the answer.
            let other = join(&group, &swept.topic, AT_ONCE);
            let waiting = self.unthrottled.begin(AT_ONCE, &other);
            if let Err(why) = &waiting {
                println!("note: nobody else joined: {why}");
            }
            settle();
            self.bad("while another joins", version, &beat(&group, &joined));
            self.bad_sync_and_commit(version, "while another joins", &group, &joined, swept);
            let leave = LeaveGroupRequest {
                group_id: group.clone(),
                member_id: joined.id.clone(),
                ..Default::default()
            };
            self.prepare(0, &leave);
            self.bad("after it left", version, &beat(&group, &joined));
            self.bad_sync_and_commit(version, "after it left", &group, &joined, swept);
        }
    }

    fn bad_sync_and_commit(
        &mut self,
        version: i16,
        label: &str,
        group: &Text,
        joined: &Joined,
        swept: &Swept,
    ) {
        let mut former = sync(group, joined);
        former.generation_id -= 1;
        self.bad(label, version, &former);
        // One version of each more than of Heartbeat, so that all by name are asked.
        for version in [version + 2, version + 6] {
            let mut commit = offset_commit(version, group, &swept.topic, swept.id);
            commit.member_id = joined.id.clone();
            commit.generation_id_or_member_epoch = joined.generation;
            self.bad(label, version, &commit);
            commit.generation_id_or_member_epoch -= 1;
            self.bad(
                &format!("{label}, of the last generation"),
                version,
                &commit,
            );
        }
    }

    fn sweep_leave(&mut self, swept: &Swept) {
        for version in versions::<LeaveGroupRequest>() {
            let group = self.name(&format!("sweep-leave-{version}"));
            let Some(joined) = self.join_at_once(&group, swept) else {
                continue;
            };
            self.prepare(3, &sync(&group, &joined));
            let leaver = |id: &Text, instance: Option<&'static str>| MemberIdentity {
                member_id: id.clone(),
                group_instance_id: instance.map(text),
                reason: None,
            };
            let mut good = LeaveGroupRequest {
                group_id: group.clone(),
                ..Default::default()
            };
            match version {
                3.. => good.members = vec![leaver(&joined.id, None)],
                _ => good.member_id = joined.id.clone(),
            }
            // Up to v2 one member, then several.
            let of = |ids: Vec<Text>| {
                move |it: &mut LeaveGroupRequest| match version {
                    3.. => it.members = ids.iter().map(|id| leaver(id, None)).collect(),
                    _ => it.member_id = ids[0].clone(),
                }
            };
            let (nobody, nameless) = (text("stranger"), Text::new());
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.members)),
                    ("no group", &|it| it.group_id = Text::new()),
                    ("unknown group", &|it| it.group_id = text("nobodys-group")),
                    ("stranger", &of(vec![nobody.clone()])),
                    ("no member", &of(vec![nameless.clone()])),
                    ("enormous member", &of(vec![long(ENORMOUS_TEXT)])),
                    ("stranger in an unknown group", &|it| {
                        it.group_id = text("nobodys-group");
                        of(vec![nobody.clone()])(it);
                    }),
                    ("stranger in no group", &|it| {
                        it.group_id = Text::new();
                        of(vec![nobody.clone()])(it);
                    }),
                    ("two strangers", &of(vec![nobody.clone(), text("another")])),
                    (
                        "a stranger twice",
                        &of(vec![nobody.clone(), nobody.clone()]),
                    ),
                    ("nobody", &|it| it.members.clear()),
                    ("unknown instance", &|it| {
                        it.members = vec![leaver(&nameless, Some("nobody"))]
                    }),
                    ("unknown instance with an id", &|it| {
                        it.members = vec![leaver(&nobody, Some("nobody"))];
                    }),
                    ("instance without a name", &|it| {
                        it.members = vec![leaver(&nameless, Some(""))]
                    }),
                    ("many", &of(many().collect())),
                ],
            );
            self.bad("again", version, &good);
        }
    }

    fn sweep_describe_groups(&mut self, swept: &Swept) {
        let group = self.name("sweep-described");
        let Some(joined) = self.join_at_once(&group, swept) else {
            return;
        };
        self.prepare(3, &sync(&group, &joined));
        for version in versions::<DescribeGroupsRequest>() {
            let good = DescribeGroupsRequest {
                groups: vec![group.clone()],
                ..Default::default()
            };
            let of = |groups: Vec<Text>| {
                move |it: &mut DescribeGroupsRequest| it.groups = groups.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.groups)),
                    ("unknown group", &of(vec![text("nobodys-group")])),
                    ("unknown group, with rights", &|it| {
                        it.groups = vec![text("nobodys-group")];
                        it.include_authorized_operations = true;
                    }),
                    ("no name", &of(vec![Text::new()])),
                    ("enormous name", &of(vec![long(ENORMOUS_TEXT)])),
                    ("a bad name for a topic", &of(vec![text("no/name")])),
                    ("nothing", &of(Vec::new())),
                    ("group twice", &|it| twice(&mut it.groups)),
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
    }

    /// Every group that there is: two brokers that have heard the same have the same, once those who
    /// never asked for their assignment are given up.
    fn sweep_list_groups(&mut self) {
        std::thread::sleep(2 * Duration::from_millis(REBALANCE_MS as u64));
        for version in versions::<ListGroupsRequest>() {
            let states = |states: &'static [&'static str]| {
                move |it: &mut ListGroupsRequest| {
                    it.states_filter = states.iter().copied().map(text).collect();
                }
            };
            let kinds = |kinds: &'static [&'static str]| {
                move |it: &mut ListGroupsRequest| {
                    it.types_filter = kinds.iter().copied().map(text).collect();
                }
            };
            self.questions(
                version,
                &ListGroupsRequest::default(),
                &[
                    (GROWN, &|it| it.states_filter.push(text("x"))),
                    ("unknown state", &states(&["NoSuchState"])),
                    ("state without a name", &states(&[""])),
                    ("state of blanks", &states(&[" Stable"])),
                    ("state twice", &states(&["Stable", "Stable"])),
                    ("state in capitals", &states(&["STABLE"])),
                    ("state of another kind of group", &states(&["Reconciling"])),
                    (
                        "a state that exists and one that does not",
                        &states(&["Empty", "Full"]),
                    ),
                    ("dead ones", &states(&["Dead"])),
                    ("enormous state", &|it| {
                        it.states_filter = vec![long(ENORMOUS_TEXT)]
                    }),
                    ("many states", &|it| it.states_filter = many().collect()),
                    ("unknown kind", &kinds(&["no-such-kind"])),
                    ("kind without a name", &kinds(&[""])),
                    ("kind unknown", &kinds(&["unknown"])),
                    ("kind twice", &kinds(&["classic", "classic"])),
                    ("kind in capitals", &kinds(&["CLASSIC"])),
                    (
                        "kinds of groups that are not here",
                        &kinds(&["share", "streams"]),
                    ),
                    ("many kinds", &|it| it.types_filter = many().collect()),
                ],
            );
        }
    }

    fn sweep_delete_groups(&mut self, swept: &Swept) {
        let inhabited = self.name("sweep-described");
        for version in versions::<DeleteGroupsRequest>() {
            let group = self.name(&format!("sweep-deleted-{version}"));
            self.prepare(8, &offset_commit(8, &group, &swept.topic, swept.id));
            let good = DeleteGroupsRequest {
                groups_names: vec![group.clone()],
            };
            let of = |groups: Vec<Text>| {
                move |it: &mut DeleteGroupsRequest| it.groups_names = groups.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.groups_names)),
                    ("unknown group", &of(vec![text("nobodys-group")])),
                    ("no name", &of(vec![Text::new()])),
                    ("enormous name", &of(vec![long(ENORMOUS_TEXT)])),
                    ("with members", &of(vec![inhabited.clone()])),
                    (
                        "with members twice",
                        &of(vec![inhabited.clone(), inhabited.clone()]),
                    ),
                    ("nothing", &of(Vec::new())),
                    ("gone, twice", &|it| twice(&mut it.groups_names)),
                    (
                        "gone, inhabited and without a name",
                        &of(vec![group.clone(), inhabited.clone(), Text::new()]),
                    ),
                    ("many", &of(many().collect())),
                ],
            );
        }
    }

    /// The first and only member of a group, before anybody has assigned anything.
    pub(super) fn join_at_once(&mut self, group: &Text, swept: &Swept) -> Option<Joined> {
        let answer = self.prepare(AT_ONCE, &join(group, &swept.topic, AT_ONCE))?;
        if answer.error_code != 0 {
            println!("note: nobody joined {group}: error {}", answer.error_code);
        }
        Some(Joined {
            id: answer.member_id,
            generation: answer.generation_id,
        })
    }
}

fn join(group: &Text, topic: &Text, version: i16) -> JoinGroupRequest {
    let subscription = ConsumerProtocolSubscription {
        topics: vec![topic.clone()],
        ..Default::default()
    };
    JoinGroupRequest {
        group_id: group.clone(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: if version >= 1 { REBALANCE_MS } else { -1 },
        member_id: Text::new(),
        group_instance_id: None,
        protocol_type: text(CONSUMER),
        protocols: vec![JoinGroupRequestProtocol {
            name: text(PROTOCOL),
            metadata: with_version(1, &subscription),
        }],
        reason: None,
    }
}

fn sync(group: &Text, joined: &Joined) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.clone(),
        generation_id: joined.generation,
        member_id: joined.id.clone(),
        assignments: vec![assignment(&joined.id)],
        ..Default::default()
    }
}

fn assignment(member: &Text) -> SyncGroupRequestAssignment {
    SyncGroupRequestAssignment {
        member_id: member.clone(),
        assignment: with_version(1, &ConsumerProtocolAssignment::default()),
    }
}

fn beat(group: &Text, joined: &Joined) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id: group.clone(),
        generation_id: joined.generation,
        member_id: joined.id.clone(),
        group_instance_id: None,
    }
}
