//! Classic groups, from the coordinator's address to their removal.

use bytes::{BufMut, Bytes, BytesMut};
use ottla_protocol::messages::*;
use ottla_protocol::{Text, encode_body};

use super::offsets::{offset_commit, offset_delete};
use super::{Story, settle, versions};

const GROUP: i8 = FindCoordinatorRequest::GROUP;
const TRANSACTION: i8 = FindCoordinatorRequest::TRANSACTION;
const SHARE: i8 = FindCoordinatorRequest::SHARE;
const NO_KIND: i8 = 9;
const CONSUMER: &str = "consumer";
const PROTOCOL: &str = "range";

/// Who a member is to its coordinator.
#[derive(Clone)]
struct Member {
    group: Text,
    instance: Option<Text>,
    id: Text,
    generation: i32,
    /// The version of JoinGroup; the other APIs go as far along as they can.
    version: i16,
}

impl Story<'_> {
    pub fn groups(&mut self) {
        self.find_coordinators();
        let topic = self.name("grouped");
        self.make_topic(&topic, 2);
        for version in versions::<JoinGroupRequest>() {
            self.life_of_a_member(version, &topic);
            if version >= 5 {
                self.life_of_a_static_member(version, &topic);
            }
        }
        self.groups_from_outside(&topic);
    }

    fn find_coordinators(&mut self) {
        let group = self.name("found");
        let wait = FindCoordinatorRequest {
            coordinator_keys: vec![group.clone()],
            ..Default::default()
        };
        self.prepare_until(4, &wait, |answer| answer.coordinators[0].error_code);
        for version in versions::<FindCoordinatorRequest>() {
            let share = Text::from(format!("{group}:AAAAAAAAAAAAAAAAAAAAZQ:0"));
            for (label, kind, key, since) in [
                ("group", GROUP, group.clone(), 0),
                ("transaction", TRANSACTION, self.name("found-txn"), 1),
                ("unknown kind", NO_KIND, group.clone(), 1),
                ("share partition", SHARE, share, 1),
                ("bad share partition", SHARE, Text::from("no colons"), 1),
            ] {
                if version < since {
                    continue;
                }
                let mut request = FindCoordinatorRequest {
                    key_type: kind,
                    ..Default::default()
                };
                match version {
                    4.. => request.coordinator_keys = vec![key.clone(), Text::from("another")],
                    _ => request.key = key,
                }
                self.ask(label, version, &request);
            }
        }
    }

    fn life_of_a_member(&mut self, version: i16, topic: &Text) {
        let group = self.name(&format!("dynamic-{version}"));
        let mut member = Member {
            group,
            instance: None,
            id: Text::new(),
            generation: -1,
            version,
        };
        self.ask("bad session timeout", version, &{
            let mut request = join(&member, topic);
            request.session_timeout_ms = 1;
            request
        });
        let mut joined = self.ask("join", version, &join(&member, topic));
        if let Some(answer) = &joined
            && answer.error_code != 0
        {
            // Since v4 the first answer only gives the id.
            member.id = answer.member_id.clone();
            joined = self.ask("join with the id", version, &join(&member, topic));
        }
        let Some(joined) = joined else { return };
        member.id = joined.member_id;
        member.generation = joined.generation_id;
        self.sync(&member);
        self.heartbeat(&member);
        let mut stranger = join(&member, topic);
        stranger.member_id = Text::from("stranger");
        self.ask("join as a stranger", version, &stranger);
        stranger = join(&member, topic);
        stranger.member_id = Text::new();
        stranger.protocol_type = Text::from("connect");
        self.ask("join with another kind of protocol", version, &stranger);
        self.commit_as(&member, topic);
        self.leave(&member);
    }

    fn life_of_a_static_member(&mut self, version: i16, topic: &Text) {
        let Some(member) = self.join_static("static", version, topic) else {
            return;
        };
        self.sync(&member);
        self.heartbeat(&member);
        self.commit_as(&member, topic);
        // The same instance again, without its id: it takes its own place, and the old id is fenced.
        let mut again = member.clone();
        again.id = Text::new();
        if let Some(answer) = self.ask("come back", version, &join(&again, topic)) {
            self.heartbeat(&member);
            self.sync(&member);
            again.id = answer.member_id;
            again.generation = answer.generation_id;
        }
        self.leave(&again);
    }

    fn join_static(&mut self, name: &str, version: i16, topic: &Text) -> Option<Member> {
        let group = self.name(&format!("{name}-{version}"));
        let instance = Some(Text::from("instance-1"));
        let mut member = Member {
            group,
            instance,
            id: Text::new(),
            generation: -1,
            version,
        };
        let joined = self.ask("join, static", version, &join(&member, topic))?;
        member.id = joined.member_id;
        member.generation = joined.generation_id;
        Some(member)
    }

    fn sync(&mut self, member: &Member) {
        let version = member.alongside::<SyncGroupRequest>();
        self.ask("sync", version, &sync(member, version));
        let mut request = sync(member, version);
        request.generation_id += 7;
        self.ask("sync, wrong generation", version, &request);
        request = sync(member, version);
        request.member_id = Text::from("stranger");
        request.group_instance_id = None;
        self.ask("sync as a stranger", version, &request);
        if version >= 5 {
            request = sync(member, version);
            request.protocol_name = Some(Text::from("roundrobin"));
            self.ask("sync, wrong protocol", version, &request);
        }
    }

    fn heartbeat(&mut self, member: &Member) {
        let version = member.alongside::<HeartbeatRequest>();
        let mut request = HeartbeatRequest {
            group_id: member.group.clone(),
            generation_id: member.generation,
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone().filter(|_| version >= 3),
        };
        self.ask("heartbeat", version, &request);
        request.generation_id += 7;
        self.ask("heartbeat, wrong generation", version, &request);
        request.member_id = Text::from("stranger");
        self.ask("heartbeat of a stranger", version, &request);
        request.group_id = Text::new();
        self.ask("heartbeat, no group", version, &request);
    }

    fn commit_as(&mut self, member: &Member, topic: &Text) {
        // Two more, so that all versions by name are used: a group is joined in 0 to 9.
        let version = (member.version + 2).min(9);
        let mut request = offset_commit(version, &member.group, topic, Default::default());
        request.generation_id_or_member_epoch = member.generation;
        request.member_id = member.id.clone();
        request.group_instance_id = member.instance.clone().filter(|_| version >= 7);
        self.ask("as a member", version, &request);
        request.generation_id_or_member_epoch += 7;
        self.ask("as a member, wrong generation", version, &request);
    }

    fn leave(&mut self, member: &Member) {
        let version = member.alongside::<LeaveGroupRequest>();
        let mut request = LeaveGroupRequest {
            group_id: member.group.clone(),
            ..Default::default()
        };
        if version >= 3 {
            let reason = (version >= 5).then(|| Text::from("done"));
            let leaver = |id: &Text, instance: Option<Text>| MemberIdentity {
                member_id: id.clone(),
                group_instance_id: instance,
                reason: reason.clone(),
            };
            request.members = vec![
                leaver(&member.id, member.instance.clone()),
                leaver(&Text::from("stranger"), None),
                leaver(&Text::new(), Some(Text::from("strange-instance"))),
            ];
        } else {
            request.member_id = member.id.clone();
        }
        self.ask("leave", version, &request);
        self.ask("leave again", version, &request);
        request.group_id = Text::new();
        self.ask("leave, no group", version, &request);
    }

    /// Listed, described, its offsets and then itself removed.
    fn groups_from_outside(&mut self, topic: &Text) {
        let Some(member) = self.join_static("watched", 9, topic) else {
            return;
        };
        self.ask("sync", 5, &sync(&member, 5));
        self.commit_as(&member, topic);
        self.list_groups();
        let empty = self.name("empty");
        self.commit_alone(&empty, topic);
        let groups = vec![
            member.group.clone(),
            empty,
            self.name("nobody"),
            Text::new(),
        ];
        for version in versions::<DescribeGroupsRequest>() {
            let request = DescribeGroupsRequest {
                groups: groups.clone(),
                include_authorized_operations: version >= 3,
            };
            self.ask("describe", version, &request);
        }
        self.ask(
            "offsets of a topic that is read",
            0,
            &offset_delete(&member.group, topic),
        );
        for version in versions::<DeleteGroupsRequest>() {
            let gone = self.name(&format!("gone-{version}"));
            self.commit_alone(&gone, topic);
            let groups_names = vec![gone, member.group.clone(), self.name("nobody"), Text::new()];
            self.ask("delete", version, &DeleteGroupsRequest { groups_names });
        }
        self.leave(&member);
    }

    fn commit_alone(&mut self, group: &Text, topic: &Text) {
        self.prepare(8, &offset_commit(8, group, topic, Default::default()));
    }

    fn list_groups(&mut self) {
        for version in versions::<ListGroupsRequest>() {
            self.prove("all", version, &ListGroupsRequest::default());
            // Groups of other stories stand here too.
            for (state, kind) in [
                ("Stable", "classic"),
                ("stable", "Classic"),
                ("Dead", "consumer"),
            ] {
                if version >= 4 {
                    let types = (version >= 5).then(|| Text::from(kind));
                    let request = ListGroupsRequest {
                        states_filter: vec![Text::from(state)],
                        types_filter: types.into_iter().collect(),
                    };
                    self.ask(&format!("{state} {kind}"), version, &request);
                }
            }
            if version >= 4 {
                let request = ListGroupsRequest {
                    states_filter: vec![Text::from("NoSuchState")],
                    ..Default::default()
                };
                self.ask("unknown state", version, &request);
            }
        }
        settle();
    }
}

impl Member {
    /// The version of another API that goes with this member's. Static members exist since v5 of
    /// JoinGroup and v3 of the others: theirs start there.
    fn alongside<R: ottla_protocol::Versioned>(&self) -> i16 {
        let version = if self.instance.is_some() {
            self.version - 2
        } else {
            self.version
        };
        version.min(R::VERSIONS.1)
    }
}

fn join(member: &Member, topic: &Text) -> JoinGroupRequest {
    let version = member.version;
    let subscription = ConsumerProtocolSubscription {
        topics: vec![topic.clone()],
        user_data: Some(Bytes::from_static(b"user data")),
        ..Default::default()
    };
    let protocol = JoinGroupRequestProtocol {
        name: Text::from(PROTOCOL),
        metadata: with_version(1, &subscription),
    };
    JoinGroupRequest {
        group_id: member.group.clone(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: if version >= 1 { 40_000 } else { -1 },
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone(),
        protocol_type: Text::from(CONSUMER),
        protocols: vec![protocol],
        reason: (version >= 8).then(|| Text::from("because")),
    }
}

fn sync(member: &Member, version: i16) -> SyncGroupRequest {
    let assignment = ConsumerProtocolAssignment {
        user_data: Some(Bytes::from_static(b"user data")),
        ..Default::default()
    };
    let assignment = SyncGroupRequestAssignment {
        member_id: member.id.clone(),
        assignment: with_version(1, &assignment),
    };
    SyncGroupRequest {
        group_id: member.group.clone(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        group_instance_id: member.instance.clone().filter(|_| version >= 3),
        protocol_type: (version >= 5).then(|| Text::from(CONSUMER)),
        protocol_name: (version >= 5).then(|| Text::from(PROTOCOL)),
        assignments: vec![assignment],
    }
}

/// A value of the consumer protocol: its version, then itself.
pub(super) fn with_version<M: ottla_protocol::Versioned>(version: i16, message: &M) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    bytes.put_slice(&encode_body(message, version).unwrap_or_default());
    bytes.freeze()
}
