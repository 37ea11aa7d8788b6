//! What must be true after each step, and in the end.

use std::collections::BTreeMap;

use ottla_protocol::{Refusal, Text, Uuid};

use super::client::{Client, Speaks, Stage};
use super::world::{GROUP, World};
use crate::group::classic::ClassicState;
use crate::group::consumer::{ConsumerGroup, Member, MemberState};
use crate::group::{MigrationPolicy, Topics};

/// Seconds until everything is shared out, when nothing happens any more: the longest that a dead
/// member of each kind is waited for, one after the other, and a few rounds more.
const ROUNDS_MAX: u64 = 400;
/// So long nothing may change for it to be at rest: longer than any clock of a member.
const ROUNDS_AT_REST: u64 = 30;

impl World {
    pub(super) fn consumers(&self) -> Option<&ConsumerGroup> {
        self.host.ledger.consumers.get(GROUP)
    }

    fn member(&self, id: &str) -> Option<&Member> {
        self.consumers()?.members().find(|member| *member.id == *id)
    }

    /// Whether the coordinator knows a member of this id.
    pub(super) fn knows(&self, id: &str) -> bool {
        let live = self.host.ledger.live.get(GROUP);
        self.member(id).is_some()
            || live.is_some_and(|group| group.members().any(|member| *member.id == *id))
    }

    pub(super) fn epoch_of(&self, id: &str) -> Option<i32> {
        self.member(id).map(|member| member.epoch)
    }

    pub(super) fn has_members(&self) -> bool {
        let live = self.host.ledger.live.get(GROUP);
        self.consumers().is_some_and(|group| !group.is_empty())
            || live.is_some_and(|group| group.state() != ClassicState::Empty)
    }

    /// What the group is, and where it stands.
    pub(super) fn shape(&self) -> String {
        let live = self.host.ledger.live.get(GROUP);
        match (self.consumers(), live) {
            (Some(group), None) => format!("consumer {}", group.state().name()),
            (None, Some(group)) => format!("classic {}", group.state().name()),
            (None, None) => "none".into(),
            (Some(_), Some(_)) => panic!("a group has one protocol"),
        }
    }

    /// After each step of the coordinator.
    pub(super) fn observe(&mut self) {
        let now = self.shape();
        if !now.starts_with("consumer") || now == "consumer Empty" {
            // Whatever comes next of this name is another group.
            self.epochs = None;
            self.owned_since.clear();
        }
        if now == "classic CompletingRebalance" {
            self.is_behind_wishes = false;
        }
        if now != self.shape {
            self.totals.count(&format!("{} > {now}", self.shape));
            if now.starts_with("consumer") && self.shape.starts_with("classic") {
                self.mark_unsettled();
            }
        }
        self.shape = now;
    }

    /// Where a classic group was agreed upon, the coordinator knows what everybody reads who has
    /// its assignment. In the midst of a rebalance it does not (nor does Kafka's).
    fn mark_unsettled(&mut self) {
        let was_stable = self.shape == "classic Stable";
        for at in 0..self.clients.len() {
            let client = &self.clients[at];
            let epoch = self.epoch_of(&client.id);
            let has_synced = matches!(client.stage, Stage::In | Stage::Out);
            let is_settled = was_stable && has_synced && epoch == Some(client.epoch);
            let is_classic = client.speaks == Speaks::Classic && !client.using.is_empty();
            self.clients[at].is_unsettled |= is_classic && !is_settled;
        }
    }

    /// After each operation.
    pub(super) fn check(&mut self) {
        let shape = self.shape.clone();
        self.totals.count(&shape);
        self.count_members();
        self.check_epochs();
        self.check_owners();
        self.check_readers();
    }

    fn count_members(&mut self) {
        let mut seen = Vec::new();
        for member in self
            .consumers()
            .into_iter()
            .flat_map(ConsumerGroup::members)
        {
            let state = match member.state {
                MemberState::Stable => "Stable",
                MemberState::UnrevokedPartitions => "UnrevokedPartitions",
                MemberState::UnreleasedPartitions => "UnreleasedPartitions",
                MemberState::Unknown(_) => panic!("nobody writes that: {member:?}"),
            };
            seen.push(match member.speaks_classic() {
                true => format!("classic member {state}"),
                false => format!("member {state}"),
            });
        }
        seen.iter().for_each(|what| self.totals.count(what));
    }

    /// Epochs only rise while the group has members.
    fn check_epochs(&mut self) {
        let Some(group) = self.consumers() else {
            return;
        };
        let now = group.epochs();
        if let Some(before) = self.epochs {
            assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?} {now:?}");
        }
        assert!(now.1 <= now.0, "the target is of an epoch of the group");
        self.epochs = Some(now);
    }

    /// One owner per partition, and per partition and epoch.
    fn check_owners(&mut self) {
        let Some(group) = self.host.ledger.consumers.get(GROUP) else {
            return;
        };
        let mut owners: BTreeMap<(Uuid, i32), &str> = BTreeMap::new();
        for member in group.members() {
            for partition in member.held() {
                let other = owners.insert(partition, &member.id);
                assert_eq!(other, None, "{partition:?} is also {}'s", member.id);
                let (topic, number) = partition;
                let since = member.assignment_epoch(topic, number).unwrap_or(0);
                if since == 0 {
                    continue;
                }
                // A static member keeps what it has under another id.
                let who = member.instance.as_ref().unwrap_or(&member.id);
                let known = self
                    .owned_since
                    .entry((topic, number, since))
                    .or_insert_with(|| who.clone());
                assert_eq!(known, who, "{partition:?} was given twice at epoch {since}");
            }
        }
    }

    /// Nobody reads what another reads, nor what the coordinator does not know it to have. Who has
    /// been thrown out and has not heard of it does not count.
    fn check_readers(&self) {
        let mut readers: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for client in &self.clients {
            let counts = client.is_up && !client.is_unsettled && self.knows(&client.id);
            if !counts || self.was_passed_over(client) {
                continue;
            }
            let member = self.member(&client.id);
            for (topic, partition) in client.reads() {
                if self.host.topics.name(topic).is_none() {
                    continue;
                }
                if let Some(member) = member {
                    assert!(
                        member.assignment_epoch(topic, partition).is_some(),
                        "{topic:?}-{partition} is read by {client:?}, who is {member:?}"
                    );
                }
                let other = readers.insert((topic, partition), client.number);
                assert_eq!(other, None, "{topic:?}-{partition} is also {client:?}'s");
            }
        }
    }

    /// A static member of a classic group stays in though it has not joined the generation, and what
    /// it reads may be another's already: it hears of it with its next heartbeat, as with Kafka.
    pub(super) fn was_passed_over(&self, client: &Client) -> bool {
        let live = self.host.ledger.live.get(GROUP);
        let is_behind = live.is_some_and(|group| group.generation() != client.epoch);
        client.instance.is_some() && is_behind
    }

    /// The log, read again, says the same.
    pub(super) fn check_log(&self) {
        let again = self.host.reload();
        let now = self.host.ledger.durable();
        assert_eq!(format!("{:?}", again.durable()), format!("{now:?}"));
    }

    // ---- the end ----

    /// Nothing happens any more but that clients act: all is shared out within bounded time.
    pub(super) fn come_to_rest(&mut self) {
        self.host.fail = None;
        let mut n_at_rest = 0;
        let mut said = String::new();
        for round in 1..=ROUNDS_MAX {
            self.nudge();
            for at in 0..self.clients.len() {
                for _ in 0..2 {
                    if self.clients[at].is_up {
                        self.act(at, true);
                    }
                }
                self.run_errands();
            }
            self.pass(1_000);
            self.check();
            match self.is_shared_out() {
                Ok(()) => n_at_rest += 1,
                Err(why) => (n_at_rest, said) = (0, why),
            }
            if n_at_rest == ROUNDS_AT_REST {
                self.totals.took_rounds(round);
                self.check_offsets();
                return self.check_log();
            }
        }
        panic!("no rest: {said} {} {:#?}", self.shape, self.clients);
    }

    /// A group that was handed back to the classic protocol without a rebalance has nobody who takes
    /// itself for its leader and looks at topics, as with Kafka: any JoinGroup with other wishes mends
    /// that.
    fn nudge(&mut self) {
        let leads = |client: &Client| client.leads_at.is_some() && self.knows(&client.id);
        let is_led = self.clients.iter().any(leads);
        if self.shape != "classic Stable" || (is_led && !self.is_behind_wishes) {
            return;
        }
        let is_in = |client: &Client| client.is_up && client.stage == Stage::In;
        if let Some(at) = self.clients.iter().position(is_in) {
            self.totals.count("nudged");
            self.subscribe_to_more(at);
        }
    }

    fn is_shared_out(&self) -> Result<(), String> {
        let up: Vec<&Client> = self.clients.iter().filter(|client| client.is_up).collect();
        let is_in = |client: &&Client| self.knows(&client.id) && client.epoch > 0;
        let (members, out): (Vec<&Client>, Vec<&Client>) = up.into_iter().partition(is_in);
        if let Some(client) = out.iter().find(|client| !self.may_be_out(client)) {
            return Err(format!("{client:?} is not in"));
        }
        if !members.is_empty() && !self.shape.ends_with("Stable") {
            return Err(format!("the group is {}", self.shape));
        }
        for (name, id, n) in self.host.topics.all() {
            let is_wanted = members.iter().any(|client| client.wants(name));
            for partition in 0..n {
                let reads = |client: &&&Client| {
                    let using = client.using.get(&id);
                    using.is_some_and(|using| using.contains(&partition))
                };
                let n_readers = members.iter().filter(reads).count();
                let n_strangers = members.iter().filter(reads).filter(|it| !it.wants(name));
                if n_readers != usize::from(is_wanted) || n_strangers.count() > 0 {
                    return Err(format!("{name}-{partition} has {n_readers} readers"));
                }
            }
        }
        Ok(())
    }

    /// Only who is refused for a reason stays outside.
    fn may_be_out(&self, client: &Client) -> bool {
        let consumer = &self.host.settings.consumer;
        let is_full = self.host.settings.max_size.min(consumer.max_size) < self.clients.len();
        match client.last_refusal {
            Some(Refusal::GroupMaxSizeReached) => is_full,
            Some(Refusal::InconsistentGroupProtocol) => {
                client.speaks == Speaks::Classic && consumer.migration == MigrationPolicy::Disabled
            }
            Some(Refusal::GroupIdNotFound) => {
                client.speaks == Speaks::Consumer && (!consumer.migration.upgrades() || is_full)
            }
            _ => false,
        }
    }

    pub(super) fn trace(&self, what: &str) {
        if self.traces {
            eprintln!("{:>9} {:<32} {what}", self.host.now.wall_ms, self.shape);
        }
    }

    pub(super) fn instance_of(at: usize) -> Option<Text> {
        at.is_multiple_of(3).then(|| Text::from(format!("i{at}")))
    }
}
