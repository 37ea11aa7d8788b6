//! What happens: who acts, what changes around them, and the coordinator in the middle.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla_protocol::messages::MemberIdentity;
use ottla_protocol::{Refusal, Text, Uuid};

use super::chance::Chance;
use super::client::{Client, Speaks, Stage};
use super::offsets::Granted;
use super::totals::Totals;
use crate::group::tests::host::{Host, Step, To};
use crate::group::{GroupReply, GroupSettings, MigrationPolicy, Topics};

pub(super) const GROUP: &str = "g";
const TOPICS: [&str; 4] = ["t1", "t2", "t3", "t4"];
const POLICIES: [MigrationPolicy; 8] = [
    MigrationPolicy::Bidirectional,
    MigrationPolicy::Bidirectional,
    MigrationPolicy::Bidirectional,
    MigrationPolicy::Bidirectional,
    MigrationPolicy::Bidirectional,
    MigrationPolicy::Upgrade,
    MigrationPolicy::Downgrade,
    MigrationPolicy::Disabled,
];
const FAILURES: [Refusal; 3] = [
    Refusal::NotEnoughReplicas,
    Refusal::NotLeaderOrFollower,
    Refusal::KafkaStorageError,
];
/// Every so often the log is read again and compared.
const LOG_EVERY: u64 = 100;
const OFFSETS_EVERY: u64 = 25;
const RELOADS_MIN: u64 = 5;
const EIGHT_DAYS_MS: u64 = 8 * 24 * 3600 * 1000;

pub(super) struct World {
    pub(super) host: Host,
    pub(super) clients: Vec<Client>,
    pub(super) chance: Chance,
    pub(super) totals: Totals,
    pub(super) granted: Granted,
    /// What the group was after the last step.
    pub(super) shape: String,
    pub(super) epochs: Option<(i32, i32)>,
    pub(super) owned_since: BTreeMap<(Uuid, i32, i32), Arc<str>>,
    pub(super) traces: bool,
    /// A static member of a stable classic group has come back, and may want something else than
    /// its former self: nobody joins again for that, as with Kafka.
    pub(super) is_behind_wishes: bool,
    is_cooperative: bool,
    /// How many of a hundred new processes speak the consumer protocol.
    mood: usize,
    n_processes: usize,
}

impl World {
    pub(super) fn new(seed: u64, traces: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mut settings = GroupSettings {
            initial_rebalance_delay_ms: chance.one_of(&[0, 500, 3_000]),
            ..GroupSettings::default()
        };
        settings.consumer.default.assignment_interval_ms = chance.one_of(&[0, 0, 1_000]);
        settings.consumer.migration = chance.one_of(&POLICIES);
        let mut world = Self {
            host: Host::new(settings),
            clients: Vec::new(),
            is_cooperative: chance.percent(50),
            mood: chance.one_of(&[0, 50, 100]),
            totals: Totals::default(),
            granted: Granted::default(),
            shape: "none".into(),
            epochs: None,
            owned_since: BTreeMap::new(),
            traces,
            is_behind_wishes: false,
            n_processes: 0,
            chance,
        };
        for at in 0..2 + world.chance.below(6) {
            let client = world.process(at);
            world.clients.push(client);
        }
        world
    }

    /// A new process for a place.
    fn process(&mut self, at: usize) -> Client {
        self.n_processes += 1;
        let speaks = match self.chance.percent(self.mood) {
            true => Speaks::Consumer,
            false => Speaks::Classic,
        };
        let topics = match self.clients.get(at) {
            Some(former) if !former.topics.is_empty() => former.topics.clone(),
            _ => vec!["t1", "t2"],
        };
        let mut client = Client::new(self.n_processes, speaks, topics);
        client.instance = Self::instance_of(at);
        client.is_cooperative = self.is_cooperative;
        client
    }

    pub(super) fn step(&mut self) {
        self.totals.count("operations");
        let n = self.totals.n("operations");
        let at = self.chance.below(self.clients.len());
        let is_to_fail = self.host.fail.is_some();
        match self.chance.below(1000) {
            0..520 => self.act_or_start(at),
            520..620 => self.commit(at),
            620..645 => self.commit_in_transaction(at),
            645..660 => self.end_transaction(),
            660..670 => self.commit_alone(),
            670..678 => self.delete_offset(),
            678..710 => self.act_unheard(at),
            710..725 => self.crash(at),
            725..735 => self.die(at),
            735..755 => self.leave(at),
            755..775 => self.change_protocol(at),
            775..800 => self.subscribe(at),
            800..806 => self.make_topic(),
            806..818 => self.grow_topic(),
            818..823 => self.delete_topic(),
            823..829 => self.delete_group(),
            829..834 => self.remove_by_operator(at),
            834..885 => self.run_errands(),
            885..960 => self.let_time_pass(),
            960..975 => self.host.fail = Some(self.chance.one_of(&FAILURES)),
            975..984 => self.reload(),
            984..989 => self.compact(),
            989..993 => self.change_settings(),
            993..999 => self.mood = self.chance.one_of(&[0, 0, 50, 100, 100]),
            _ if self.chance.once_in(2) => self.stay_away_for_long(),
            _ => {}
        }
        let ms = self.chance.below(150) as u64;
        self.pass(ms);
        if is_to_fail && self.host.fail.is_none() {
            self.totals.count("append failed");
        }
        self.check();
        if n.is_multiple_of(LOG_EVERY) {
            self.check_log();
        }
        if n.is_multiple_of(OFFSETS_EVERY) {
            self.check_offsets();
        }
    }

    // ---- the coordinator ----

    /// What a step has brought about: waiting clients hear of it; the asker's answer comes back.
    pub(super) fn asked(&mut self, at: usize, step: Step) -> Option<GroupReply> {
        self.observe();
        let mut mine = None;
        for (to, reply) in step.replies {
            match to {
                To::Asker => mine = Some(reply),
                To::Ticket(ticket) => {
                    let waits = |client: &Client| {
                        client.stage == Stage::Joining(ticket)
                            || client.stage == Stage::Syncing(ticket)
                    };
                    // Nobody may listen any more.
                    let Some(who) = self.clients.iter().position(waits) else {
                        continue;
                    };
                    if self.traces {
                        let number = self.clients[who].number;
                        self.trace(&format!("{number} hears {reply:?}"));
                    }
                    match reply {
                        GroupReply::Join(response) => self.hear_join(who, &response),
                        GroupReply::Sync(response) => self.hear_sync(who, &response),
                        other => panic!("nobody waits for {other:?}"),
                    }
                }
            }
        }
        if self.traces
            && let (Some(client), Some(reply)) = (self.clients.get(at), &mine)
        {
            self.trace(&format!("{} {reply:?}", client.number));
        }
        mine
    }

    pub(super) fn pass(&mut self, ms: u64) {
        for step in self.host.pass(ms) {
            self.asked(usize::MAX, step);
        }
    }

    fn reload(&mut self) {
        self.trace("reload");
        let before = format!("{:?}", self.host.ledger.durable());
        let fail = self.host.fail.take();
        let step = self.host.restart();
        assert_eq!(before, format!("{:?}", self.host.ledger.durable()));
        // A classic group in the midst of a rebalance is back in its last generation.
        self.shape = self.shape();
        for client in &mut self.clients {
            if matches!(client.stage, Stage::Joining(_) | Stage::Syncing(_)) {
                client.stage = Stage::Out;
            }
        }
        self.asked(usize::MAX, step);
        self.host.fail = fail;
        self.check_offsets();
        self.totals.count("reload");
    }

    pub(super) fn reload_often_enough(&mut self) {
        while self.totals.n("reload") < RELOADS_MIN {
            self.reload();
            for _ in 0..20 {
                self.step();
            }
        }
    }

    fn compact(&mut self) {
        let end = self.chance.below(self.host.log.len() + 1);
        let without_tombstones = self.chance.percent(50);
        self.host.compact(end, without_tombstones);
        self.check_log();
        self.totals.count("compaction");
    }

    fn change_settings(&mut self) {
        let settings = &mut self.host.settings;
        match self.chance.below(4) {
            0 => settings.max_size = self.chance.one_of(&[1, 2, 4, 1_000]),
            1 => settings.consumer.max_size = self.chance.one_of(&[1, 2, 4, 1_000]),
            2 => settings.consumer.migration = self.chance.one_of(&POLICIES),
            _ => {
                let interval_ms = self.chance.one_of(&[0, 1_000]);
                settings.consumer.default.assignment_interval_ms = interval_ms;
            }
        }
        self.host.ledger.change_settings(self.host.settings.clone());
        self.totals.count("settings changed");
    }

    pub(super) fn run_errands(&mut self) {
        while let Some(errand) = self.host.ledger.next_errand() {
            let topics = self.host.topics.clone();
            let names = topics.all().map(|(name, ..)| &**name);
            let resolved = errand.resolve(names, topics.version(), self.host.now.wall_ms);
            let step = self
                .host
                .step(|ledger, now, _| ledger.patterns_resolved(&resolved, &topics, now));
            self.asked(usize::MAX, step);
        }
    }

    // ---- clients ----

    pub(super) fn act(&mut self, at: usize, is_heard: bool) {
        match self.clients[at].speaks {
            Speaks::Consumer => self.beat(at, is_heard),
            Speaks::Classic => self.act_classic(at, is_heard),
        }
    }

    fn act_or_start(&mut self, at: usize) {
        if self.clients[at].is_up {
            self.act(at, true);
        } else if self.chance.percent(30) {
            self.clients[at] = self.process(at);
        }
    }

    fn act_unheard(&mut self, at: usize) {
        if self.clients[at].is_up {
            self.totals.count("answer lost");
            self.act(at, false);
        }
    }

    /// It is gone without a word; another process takes its place.
    fn crash(&mut self, at: usize) {
        self.trace(&format!("{} crashes", self.clients[at].number));
        self.clients[at] = self.process(at);
        self.totals.count("crash");
    }

    fn die(&mut self, at: usize) {
        self.clients[at].stop();
        self.totals.count("died");
    }

    fn leave(&mut self, at: usize) {
        if !self.clients[at].is_up {
            return;
        }
        let is_static = self.clients[at].instance.is_some();
        match self.clients[at].speaks {
            Speaks::Consumer if is_static && self.chance.percent(70) => {
                self.leave_consumer(at, -2);
                self.totals.count("left for a while");
            }
            Speaks::Consumer => {
                self.leave_consumer(at, -1);
                self.totals.count("left");
            }
            // A static one only goes, and may be back in time.
            Speaks::Classic if is_static => self.clients[at].stop(),
            Speaks::Classic => {
                self.leave_classic(at);
                self.totals.count("left");
            }
        }
    }

    /// It is restarted in the other protocol.
    fn change_protocol(&mut self, at: usize) {
        let former = self.clients[at].speaks;
        self.leave(at);
        self.clients[at] = self.process(at);
        if self.clients[at].speaks != former {
            self.totals.count("other protocol");
        }
    }

    /// A member that wants more than before makes its group rebalance.
    pub(super) fn subscribe_to_more(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let more = TOPICS.iter().find(|topic| !client.topics.contains(topic));
        match more {
            Some(topic) => client.topics.push(topic),
            None => drop(client.topics.pop()),
        }
    }

    fn subscribe(&mut self, at: usize) {
        let chosen = self.chance.below(16);
        let pattern = self.chance.below(6);
        let client = &mut self.clients[at];
        client.topics = (0..TOPICS.len())
            .filter(|topic| chosen & (1 << topic) != 0)
            .map(|topic| TOPICS[topic])
            .collect();
        client.pattern = match pattern {
            0 if client.speaks == Speaks::Consumer => Some("t[13]"),
            1 if client.speaks == Speaks::Consumer => Some("t.*"),
            _ => None,
        };
        client.says_all = true;
        self.totals.count("other subscription");
    }

    // ---- around them ----

    fn make_topic(&mut self) {
        let name = self.chance.one_of(&TOPICS);
        if self.host.topics.id(name).is_none() {
            self.host
                .topics
                .create(name, 1 + self.chance.below(5) as i32);
            self.totals.count("topic made");
        }
    }

    fn grow_topic(&mut self) {
        let name = self.chance.one_of(&TOPICS);
        self.host
            .topics
            .grow(name, 1 + self.chance.below(12) as i32);
        self.totals.count("topic grown");
    }

    fn delete_topic(&mut self) {
        let name = self.chance.one_of(&TOPICS);
        if self.host.topics.id(name).is_none() {
            return;
        }
        self.host.fail = None;
        let id = self.host.topics.remove(name);
        let step = self
            .host
            .step(|ledger, _, _| ledger.topic_deleted(name, id));
        self.asked(usize::MAX, step);
        self.granted.forget_topic(name);
        self.totals.count("topic deleted");
    }

    fn delete_group(&mut self) {
        let groups = [Text::from_static(GROUP)];
        let step = self
            .host
            .step(|ledger, now, _| ledger.delete_groups(&groups, now));
        let Some(GroupReply::DeleteGroups(results)) = self.asked(usize::MAX, step) else {
            panic!("DeleteGroups is answered");
        };
        match Refusal::from_code(results[0].error_code) {
            None => {
                self.granted.forget_all();
                self.totals.count("group deleted");
            }
            Some(refusal) => self.totals.count(refusal.name()),
        }
    }

    fn remove_by_operator(&mut self, at: usize) {
        let Some(instance) = Self::instance_of(at) else {
            return;
        };
        let identity = MemberIdentity {
            group_instance_id: Some(instance),
            ..MemberIdentity::default()
        };
        self.remove(usize::MAX, identity);
        self.totals.count("member removed by an operator");
    }

    fn let_time_pass(&mut self) {
        let ms = self
            .chance
            .one_of(&[200, 200, 1_000, 1_000, 1_000, 3_000, 13_000, 21_000, 46_000]);
        // Those who live go on meanwhile, mostly.
        if ms < 10_000 || self.chance.percent(30) {
            return self.pass(ms);
        }
        for _ in 0..ms / 1_000 {
            let at = self.chance.below(self.clients.len());
            if self.clients[at].is_up {
                self.act(at, true);
            }
            self.pass(1_000);
        }
    }

    /// Nobody is heard of until everything is forgotten.
    fn stay_away_for_long(&mut self) {
        self.host.fail = None;
        for producer in 0..2 {
            self.host.end_transaction(producer, false);
            self.granted.end(producer, false);
        }
        self.pass(EIGHT_DAYS_MS);
        assert!(!self.has_members(), "nobody lives that long without a word");
        self.granted.forget_all();
        self.check_offsets();
        self.totals.count("offsets expired");
    }
}
