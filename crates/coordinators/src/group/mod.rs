//! All groups of one `__consumer_offsets` partition.
//!
//! Durable state (`saved`, `consumers`, `others`, `offsets`) changes in `replay` only, or a little
//! before, if that was `foreseen`. Who is joining, what is being agreed on and which timers run is
//! soft state (`live`, `timers`): `loaded` builds it from the durable state, and losing it costs
//! members no more than a rebalance.

pub mod records;
mod settings;
mod timers;
mod turn;
mod reply;
mod log;
mod foreseen;
mod requests;
mod classic;
mod assign;
mod embedded;
mod topic_hash;
mod consumer;
mod offsets;
mod others;
mod describe;
mod counts;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_protocol::{Text, Uuid};

pub use assign::Assignor;
pub use classic::ClassicState;
pub use consumer::{ConsumerState, PatternErrand, ResolvedPatterns};
pub use counts::{Counts, Sizes};
pub use describe::GroupFilter;
pub use offsets::{
    offset_fetch_groups, offset_fetch_refused, offset_fetch_response, txn_offset_commit_response,
};
pub use reply::{GroupReply, OtherReply};
pub use settings::{ConsumerSettings, GroupSettings, MigrationPolicy, OneGroup, OwnSettings};

use crate::ledger::{Answer, Batch, Deadline, Decision, Now, Origin, When};
use crate::uncommitted::Uncommitted;
use classic::ClassicGroup;
use consumer::ConsumerGroup;
use foreseen::Foreseen;
use offsets::{GroupOffsets, OffsetStore};
use others::OtherGroup;
use records::{GroupMetadataValue, GroupRecord};
use reply::GroupReply as Reply;
use timers::Timers;
use topic_hash::TopicHashes;
use turn::{Outcome, Turn};

/// What the group ledger decides.
pub type GroupDecision = Decision<GroupRecord, GroupReply>;

/// Who sent a request, as far as groups remember it.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// From the request header.
    pub id: &'a str,
    /// Its address as Java prints it: a slash, then the IP address.
    pub host: &'a str,
}

/// What the caller knows about topics; the ledger itself sees none.
pub trait Topics {
    /// The id of a topic that exists.
    fn id(&self, name: &str) -> Option<Uuid>;
    /// The name of a topic that exists.
    fn name(&self, id: Uuid) -> Option<Text>;
    /// Whether the topic has this partition.
    fn has_partition(&self, name: &str, partition: i32) -> bool;
}

/// What groups that share out partitions know about topics, of one moment.
pub trait TopicImage: Topics {
    /// How many partitions a topic that exists has.
    fn n_partitions(&self, name: &str) -> i32;
    /// Where the replicas of a partition are, as far as that is known.
    fn racks(&self, name: &str, partition: i32) -> Vec<Text>;
    /// Another number whenever topics, their partitions or racks have changed.
    fn topics_version(&self) -> i64;
    /// The version of the metadata in which a topic was made last.
    fn created_version(&self) -> i64;
}

/// All groups of one `__consumer_offsets` partition.
///
/// * once loaded, a group is in `live` if and only if it is in `saved`, except between the decision
///   that makes it and the replay of its first record
/// * a group is in one of `saved`, `consumers` and `others`
#[derive(Debug)]
pub struct GroupLedger {
    settings: GroupSettings,
    // Durable: what the records say.
    saved: BTreeMap<Arc<str>, Saved>,
    consumers: BTreeMap<Arc<str>, ConsumerGroup>,
    others: BTreeMap<Arc<str>, OtherGroup>,
    offsets: OffsetStore,
    /// Groups that are ahead of the log.
    foreseen: BTreeMap<Arc<str>, Foreseen>,
    // Soft: what is going on.
    live: BTreeMap<Arc<str>, ClassicGroup>,
    hashes: TopicHashes,
    /// Groups whose patterns are being resolved, and those whose turn it is.
    resolving: BTreeSet<Arc<str>>,
    errands: VecDeque<PatternErrand>,
    timers: Timers,
    tickets: u64,
    uncommitted: Uncommitted,
    is_loading: bool,
    counts: Counts,
}

/// A classic group as its last record has it.
#[derive(Debug, Clone, PartialEq)]
enum Saved {
    /// It has offsets and has never had members: nothing but the offsets says that it exists.
    Simple,
    Generation(GroupMetadataValue),
}

impl GroupLedger {
    /// Empty. `load` its records next, then say `loaded`.
    pub fn new(settings: GroupSettings) -> Self {
        Self {
            settings,
            saved: BTreeMap::new(),
            consumers: BTreeMap::new(),
            others: BTreeMap::new(),
            offsets: OffsetStore::default(),
            foreseen: BTreeMap::new(),
            live: BTreeMap::new(),
            hashes: TopicHashes::default(),
            resolving: BTreeSet::new(),
            errands: VecDeque::new(),
            timers: Timers::default(),
            tickets: 0,
            uncommitted: Uncommitted::default(),
            is_loading: true,
            counts: Counts::default(),
        }
    }

    /// Settings changed while running. Members keep the sessions they have.
    pub fn change_settings(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// When `handle_timeout` is due.
    pub fn next_timeout(&self) -> Option<Deadline> {
        self.timers.next()
    }

    /// What must be committed before a reply may leave that rests on this group's records.
    fn seen(&self, group_id: &str) -> When {
        match self.foreseen.contains_key(group_id) {
            true => When::AfterAppend,
            false => self.uncommitted.when(group_id),
        }
    }

    /// What a group has committed. Offsets that are left of a deleted group count for nothing.
    fn offsets_of(&self, group_id: &str) -> Option<&GroupOffsets> {
        let exists = self.live.contains_key(group_id)
            || self.consumers.contains_key(group_id)
            || self.others.contains_key(group_id);
        exists.then(|| self.offsets.of_group(group_id)).flatten()
    }

    /// Lets `decide` loose on one group, if it exists.
    fn on_group<T>(
        &mut self,
        group_id: &str,
        now: Now,
        decide: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>) -> T,
    ) -> Option<(T, Outcome)> {
        self.live
            .contains_key(group_id)
            .then(|| self.on_group_or_new(group_id, now, decide))
    }

    /// Lets `decide` loose on one group, which is made if it does not exist.
    fn on_group_or_new<T>(
        &mut self,
        group_id: &str,
        now: Now,
        decide: impl FnOnce(&mut ClassicGroup, &mut Turn<'_>) -> T,
    ) -> (T, Outcome) {
        let seen = self.seen(group_id);
        let known = self.live.get_key_value(group_id).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| group_id.into());
        let new = || ClassicGroup::new(id.clone(), now);
        let group = self.live.entry(id.clone()).or_insert_with(new);
        let mut turn = Turn::new(
            now,
            &self.settings,
            &mut self.timers,
            &mut self.tickets,
            seen,
        );
        let verdict = decide(group, &mut turn);
        (verdict, turn.done())
    }

    fn decision(&self, outcome: Outcome, reply: Answer<Reply>) -> GroupDecision {
        let mut decision = self.plain_decision(outcome.records, reply);
        decision.released = outcome.released;
        decision
    }

    fn plain_decision(&self, records: Vec<GroupRecord>, reply: Answer<Reply>) -> GroupDecision {
        let batch = Batch {
            records,
            origin: Origin::Plain,
        };
        Decision {
            batches: if batch.records.is_empty() {
                Vec::new()
            } else {
                vec![batch]
            },
            reply,
            released: Vec::new(),
            deadline: self.timers.next(),
        }
    }

    fn at_once(&self, reply: Reply) -> GroupDecision {
        self.plain_decision(Vec::new(), Answer::Now(reply, When::AtOnce))
    }
}

#[cfg(test)]
impl GroupLedger {
    /// The invariants of the struct and of everything in it.
    fn validate(&self) {
        assert!(self.saved.keys().eq(self.live.keys()), "live mirrors saved");
        assert!(self.saved.keys().all(|id| !self.others.contains_key(id)));
        let is_alone = |id| !self.saved.contains_key(id) && !self.others.contains_key(id);
        assert!(self.consumers.keys().all(is_alone));
        self.live.values().for_each(ClassicGroup::validate);
        self.consumers.values().for_each(ConsumerGroup::validate);
        self.offsets.validate();
    }

    /// What the records say.
    fn durable(&self) -> impl PartialEq + std::fmt::Debug + '_ {
        let consumers = self.consumers.iter();
        let consumers: Vec<_> = consumers.map(|(id, group)| (id, group.durable())).collect();
        // What was known by its offsets only, and has none any more, is on its way out.
        let is_there = |(id, saved): &(&Arc<str>, &Saved)| {
            let has_offsets = self.offsets.of_group(id).is_some() || self.offsets.has_pending(id);
            has_offsets || **saved != Saved::Simple
        };
        let saved: Vec<_> = self.saved.iter().filter(is_there).collect();
        (saved, consumers, &self.others, &self.offsets)
    }
}
