//! Between the ledger and its log: load, replay, and what to do when an append fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::{Offset, Refusal, Text};

use super::classic::ClassicGroup;
use super::consumer::ConsumerGroup;
use super::records::{ConsumerRecord, Corrupt, GroupMetadataValue, GroupRecord, MemberMetadata};
use super::timers::Timer;
use super::turn::Turn;
use super::{GroupDecision, GroupLedger, GroupReply, Saved, others};
use crate::ledger::{Answer, Freed, Now, Origin, When};
use crate::refused_append::append_refusal;

impl GroupLedger {
    /// One record of the log while loading, from its start to its end. For a control batch, one
    /// call with `Origin::Marker`; its key and value are not looked at.
    pub fn load(
        &mut self,
        offset: Offset,
        origin: Origin,
        key: Option<&Bytes>,
        value: Option<&Bytes>,
    ) -> Result<(), Corrupt> {
        if let Origin::Marker {
            producer,
            committed,
        } = origin
        {
            self.offsets.end_transaction(producer, committed);
            return Ok(());
        }
        let key = key.ok_or(Corrupt::Truncated { what: "record key" })?;
        match GroupRecord::decode(key, value)? {
            Ok(record) => self.apply(offset, origin, &record),
            Err(_unknown_type) => self.counts.skipped_records += 1,
        }
        Ok(())
    }

    /// The log has been read to its end. Members get a session each; a group that is larger than
    /// `group.max.size` allows is asked to rebalance.
    pub fn loaded(&mut self, now: Now) -> GroupDecision {
        self.is_loading = false;
        for (id, saved) in &self.saved {
            let group = match saved {
                Saved::Simple => ClassicGroup::simple(id.clone()),
                Saved::Generation(value) => ClassicGroup::from_record(id.clone(), value, now),
            };
            self.live.insert(id.clone(), group);
        }
        let interval_ms = self.settings.offsets_retention_check_interval_ms;
        self.timers.set(Timer::Retention, now, interval_ms);
        let Self {
            live,
            consumers,
            settings,
            timers,
            tickets,
            ..
        } = self;
        let mut turn = Turn::new(now, settings, timers, tickets, When::AtOnce);
        live.values_mut().for_each(|group| group.loaded(&mut turn));
        consumers
            .values()
            .for_each(|group| group.start_clocks(&mut turn));
        let outcome = turn.done();
        self.decision(outcome, Answer::Nobody)
    }

    /// A record of a decision has been appended at `offset`. For a marker, see `end_transaction`.
    pub fn replay(&mut self, offset: Offset, origin: Origin, record: &GroupRecord) {
        self.uncommitted.appended(record.group(), offset);
        if !self.was_foreseen(record.group()) {
            self.apply(offset, origin, record);
        }
    }

    /// Everything before `end` is committed.
    pub fn committed(&mut self, end: Offset) {
        self.uncommitted.committed(end);
    }

    /// The only place where durable state changes.
    fn apply(&mut self, offset: Offset, origin: Origin, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetCommit { key, value: None } => self.offsets.forget(key),
            GroupRecord::OffsetCommit {
                key,
                value: Some(value),
            } => {
                self.make_room_for_offsets_of(&key.group_id);
                match origin {
                    Origin::Transactional { producer, .. } => {
                        self.offsets.commit_later(offset, producer, key, value);
                    }
                    _ => self.offsets.commit(offset, key, value),
                }
            }
            GroupRecord::GroupMetadata { key, value: None } => self.forget_group(&key.group_id),
            GroupRecord::GroupMetadata {
                key,
                value: Some(value),
            } => {
                self.save_generation(&key.group_id, value);
            }
            GroupRecord::Consumer(record) => self.replay_consumer(record),
            GroupRecord::Other(record) => {
                // A group that was only known by its offsets turns out to be of another kind.
                if record.value.is_some()
                    && let Some(Saved::Simple) = self.saved.get(&*record.group)
                {
                    self.forget_group(&record.group);
                }
                others::replay(&mut self.others, record);
            }
        }
    }

    pub(super) fn replay_consumer(&mut self, record: &ConsumerRecord) {
        let group_id = &**record.group();
        if let ConsumerRecord::Group { value: None, .. } = record {
            self.consumers.remove(group_id);
            return;
        }
        if record.is_tombstone() {
            if let Some(group) = self.consumers.get_mut(group_id) {
                group.replay(record);
            }
            return;
        }
        if !self.consumers.contains_key(group_id) {
            // A group that was only known by its offsets turns out to be of another kind.
            self.forget_group(group_id);
            self.others.remove(group_id);
        }
        let id: Arc<str> = group_id.into();
        let group = self.consumers.entry(id.clone());
        let group = group.or_insert_with(|| ConsumerGroup::new(id));
        group.replay(record);
    }

    fn make_room_for_offsets_of(&mut self, group_id: &str) {
        if self.saved.contains_key(group_id)
            || self.consumers.contains_key(group_id)
            || self.others.contains_key(group_id)
        {
            return;
        }
        let id: Arc<str> = group_id.into();
        self.saved.insert(id.clone(), Saved::Simple);
        if !self.is_loading && !self.live.contains_key(group_id) {
            self.live.insert(id.clone(), ClassicGroup::simple(id));
        }
    }

    fn save_generation(&mut self, group_id: &str, value: &GroupMetadataValue) {
        self.others.remove(group_id);
        self.consumers.remove(group_id);
        if let Some(group) = self.live.get_mut(group_id) {
            self.counts.completed_rebalances += u64::from(group.replayed(value));
        }
        let value = detached(value);
        match self.saved.get_mut(group_id) {
            Some(saved) => *saved = Saved::Generation(value),
            None => {
                self.saved.insert(group_id.into(), Saved::Generation(value));
            }
        }
    }

    fn forget_group(&mut self, group_id: &str) {
        self.saved.remove(group_id);
        if let Some(group) = self.live.remove(group_id) {
            group.stop_timers(&mut self.timers);
        }
    }

    /// The append of this decision failed. What comes out takes its place: nothing to append,
    /// every reply that rested on the append refused, groups as if it had not been decided.
    pub fn abandoned(
        &mut self,
        decision: GroupDecision,
        cause: Refusal,
        now: Now,
    ) -> GroupDecision {
        let refusal = append_refusal(cause);
        let mut released = Vec::new();
        for group_id in groups_of(&decision) {
            let is_unborn = !self.saved.contains_key(&*group_id);
            let undone = self.on_group(&group_id, now, |group, turn| {
                if is_unborn {
                    group.refuse_all(refusal, turn)
                } else {
                    group.abandoned(turn)
                }
            });
            released.extend(undone.into_iter().flat_map(|(_, outcome)| outcome.released));
            if is_unborn {
                self.forget_group(&group_id);
            }
        }
        self.consumers_abandoned(&decision, now);
        let reply = match decision.reply {
            Answer::Now(reply, When::AfterAppend) => {
                Answer::Now(reply.refused(refusal), When::AtOnce)
            }
            other => other,
        };
        let mut replaced = self.plain_decision(Vec::new(), reply);
        replaced.released = decision
            .released
            .into_iter()
            .map(|freed| refuse(freed, refusal))
            .collect();
        replaced.released.append(&mut released);
        replaced
    }

    /// What was decided of their groups is looked at again; whoever was to be fenced has a session
    /// more.
    fn consumers_abandoned(&mut self, decision: &GroupDecision, now: Now) {
        let Self {
            consumers,
            settings,
            timers,
            tickets,
            ..
        } = self;
        let of_consumers = |record: &GroupRecord| match record {
            GroupRecord::Consumer(record) => Some(record.group().clone()),
            _ => None,
        };
        let ids: BTreeSet<Text> = decision.records().filter_map(of_consumers).collect();
        let mut turn = Turn::new(now, settings, timers, tickets, When::AtOnce);
        for id in ids {
            if let Some(group) = consumers.get_mut(&*id) {
                group.abandoned();
                group.start_clocks(&mut turn);
            }
        }
    }

    /// The partition moves away or stops: everyone who waits is told so.
    pub fn unload(mut self, refusal: Refusal) -> Vec<Freed<GroupReply>> {
        let now = Now {
            monotonic: std::time::Duration::ZERO,
            wall_ms: 0,
        };
        let Self {
            live,
            settings,
            timers,
            tickets,
            ..
        } = &mut self;
        let mut turn = Turn::new(now, settings, timers, tickets, When::AtOnce);
        live.values_mut()
            .for_each(|group| group.refuse_all(refusal, &mut turn));
        turn.done().released
    }
}

/// The groups whose generation the decision was to store.
fn groups_of(decision: &GroupDecision) -> Vec<Text> {
    let generation_of = |record: &GroupRecord| match record {
        GroupRecord::GroupMetadata {
            key,
            value: Some(_),
        } => Some(key.group_id.clone()),
        _ => None,
    };
    decision.records().filter_map(generation_of).collect()
}

fn refuse(freed: Freed<GroupReply>, refusal: Refusal) -> Freed<GroupReply> {
    match freed.when {
        When::AfterAppend => Freed {
            reply: freed.reply.refused(refusal),
            when: When::AtOnce,
            ..freed
        },
        _ => freed,
    }
}

/// A copy that does not keep the log's batch, or a request, alive.
fn detached(value: &GroupMetadataValue) -> GroupMetadataValue {
    let text = |text: &Text| Text::from(&**text);
    let member = |member: &MemberMetadata| MemberMetadata {
        member_id: text(&member.member_id),
        group_instance_id: member.group_instance_id.as_ref().map(text),
        client_id: text(&member.client_id),
        client_host: text(&member.client_host),
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
        ..*member
    };
    GroupMetadataValue {
        protocol_type: text(&value.protocol_type),
        protocol: value.protocol.as_ref().map(text),
        leader: value.leader.as_ref().map(text),
        members: value.members.iter().map(member).collect(),
        ..*value
    }
}
