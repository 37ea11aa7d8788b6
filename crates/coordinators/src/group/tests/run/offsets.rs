//! What clients commit, and what must be there of it: the last commit that was granted, exactly.

use std::collections::BTreeMap;

use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
    OffsetFetchRequestGroup, TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
};
use ottla_protocol::{Refusal, Text, Uuid};

use super::client::Speaks;
use super::world::{GROUP, World};
use crate::group::{GroupReply, TopicImage, Topics};

/// By topic and partition.
type Committed = BTreeMap<(Text, i32), i64>;

/// The same of an open transaction, each with the place at which it was granted.
type Pending = BTreeMap<(Text, i32), (i64, u64)>;

/// The model: what was granted.
#[derive(Debug, Default)]
pub(super) struct Granted {
    committed: Committed,
    /// By producer.
    pending: BTreeMap<i64, Pending>,
    /// When each offset that counts was granted.
    since: BTreeMap<(Text, i32), u64>,
    last_offset: i64,
    place: u64,
}

impl Granted {
    fn grant(&mut self, key: (Text, i32), offset: i64) {
        self.place += 1;
        self.since.insert(key.clone(), self.place);
        self.committed.insert(key, offset);
    }

    pub(super) fn end(&mut self, producer: i64, is_committed: bool) {
        for (key, (offset, place)) in self.pending.remove(&producer).unwrap_or_default() {
            let is_newer = self.since.get(&key).is_none_or(|since| *since < place);
            if is_committed && is_newer {
                self.since.insert(key.clone(), place);
                self.committed.insert(key, offset);
            }
        }
    }

    fn forget(&mut self, is_gone: impl Fn(&(Text, i32)) -> bool) {
        self.committed.retain(|key, _| !is_gone(key));
        self.since.retain(|key, _| !is_gone(key));
        for pending in self.pending.values_mut() {
            pending.retain(|key, _| !is_gone(key));
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.forget(|_| true);
    }

    pub(super) fn forget_topic(&mut self, name: &str) {
        self.forget(|(topic, _)| **topic == *name);
    }
}

impl World {
    /// A client commits something that it reads.
    pub(super) fn commit(&mut self, at: usize) {
        let client = &self.clients[at];
        let reads: Vec<(Uuid, i32)> = client.reads().collect();
        if reads.is_empty() {
            return;
        }
        let (topic_id, mut partition) = self.chance.one_of(&reads);
        let Some(name) = self.host.topics.name(topic_id) else {
            return;
        };
        // Now and then it is late, or wrong.
        let is_late = self.chance.once_in(10);
        if self.chance.once_in(10) {
            let n = self.host.topics.n_partitions(&name);
            partition = self.chance.below(n as usize) as i32;
        }
        let client = &self.clients[at];
        let is_of_consumer = client.speaks == Speaks::Consumer;
        let (member, instance) = (client.id.clone(), client.instance.clone());
        let epoch = client.epoch - i32::from(is_late);
        let is_known = self.knows(&member);
        self.granted.last_offset += 1;
        let offset = self.granted.last_offset;
        let topic = commit_of(&name, partition, offset);
        let request = OffsetCommitRequest {
            group_id: Text::from_static(GROUP),
            generation_id_or_member_epoch: epoch,
            member_id: member.clone(),
            group_instance_id: instance,
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        let is_behind = self.epoch_of(&member).is_some_and(|now| epoch < now);
        let topics = self.host.topics.clone();
        let version = if is_of_consumer { 9 } else { 8 };
        let step = self
            .host
            .step(|ledger, now, _| ledger.commit_offsets(&request, version, &topics, now));
        let refusal = self.committed(at, step);
        match refusal {
            None => {
                assert!(is_known, "{member:?} commits and is no member");
                if is_behind {
                    self.totals.count("commit of an older epoch");
                }
                self.granted.grant((name, partition), offset);
                self.totals.count("commit");
            }
            Some(refusal) => {
                self.totals.count("commit refused");
                self.totals.count(refusal.name());
            }
        }
    }

    fn committed(&mut self, at: usize, step: crate::group::tests::host::Step) -> Option<Refusal> {
        let code = match self.asked(at, step) {
            Some(GroupReply::CommitOffsets(it)) => it.topics[0].partitions[0].error_code,
            Some(GroupReply::CommitOffsetsInTransaction(it)) => {
                it.topics[0].partitions[0].error_code
            }
            other => panic!("a commit is answered: {other:?}"),
        };
        Refusal::from_code(code)
    }

    /// Somebody who is no member commits, which counts while nobody else is in.
    pub(super) fn commit_alone(&mut self) {
        let partition = self.chance.below(3) as i32;
        if !self.host.topics.has_partition("t1", partition) {
            return;
        }
        self.granted.last_offset += 1;
        let offset = self.granted.last_offset;
        let name = Text::from_static("t1");
        let request = OffsetCommitRequest {
            group_id: Text::from_static(GROUP),
            generation_id_or_member_epoch: -1,
            topics: vec![commit_of(&name, partition, offset)],
            ..OffsetCommitRequest::default()
        };
        let has_members = self.has_members();
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.commit_offsets(&request, 9, &topics, now));
        match self.committed(0, step) {
            None => {
                assert!(!has_members, "only members commit where there are any");
                self.granted.grant((name, partition), offset);
                self.totals.count("commit without members");
            }
            Some(refusal) => self.totals.count(refusal.name()),
        }
    }

    /// A client's producer commits what the client has read, in its transaction.
    pub(super) fn commit_in_transaction(&mut self, at: usize) {
        let client = &self.clients[at];
        let reads: Vec<(Uuid, i32)> = client.reads().collect();
        if reads.is_empty() {
            return;
        }
        let (topic_id, partition) = self.chance.one_of(&reads);
        let Some(name) = self.host.topics.name(topic_id) else {
            return;
        };
        let producer = self.chance.below(2) as i64;
        self.granted.last_offset += 1;
        let offset = self.granted.last_offset;
        let client = &self.clients[at];
        let request = TxnOffsetCommitRequest {
            group_id: Text::from_static(GROUP),
            producer_id: producer,
            generation_id: client.epoch,
            member_id: client.id.clone(),
            group_instance_id: client.instance.clone(),
            topics: vec![TxnOffsetCommitRequestTopic {
                name: name.clone(),
                partitions: vec![TxnOffsetCommitRequestPartition {
                    partition_index: partition,
                    committed_offset: offset,
                    ..TxnOffsetCommitRequestPartition::default()
                }],
            }],
            ..TxnOffsetCommitRequest::default()
        };
        let topics = self.host.topics.clone();
        let step = self
            .host
            .step(|ledger, now, _| ledger.commit_offsets_in_transaction(&request, &topics, now));
        if self.committed(at, step).is_none() {
            self.granted.place += 1;
            let place = self.granted.place;
            let pending = self.granted.pending.entry(producer).or_default();
            pending.insert((name, partition), (offset, place));
            self.totals.count("commit in a transaction");
        }
    }

    pub(super) fn end_transaction(&mut self) {
        let producer = self.chance.below(2) as i64;
        let is_committed = self.chance.percent(70);
        self.host.end_transaction(producer, is_committed);
        self.granted.end(producer, is_committed);
        self.totals.count(match is_committed {
            true => "transaction committed",
            false => "transaction aborted",
        });
    }

    pub(super) fn delete_offset(&mut self) {
        let name = self.chance.one_of(&["t1", "t2", "t3", "t4"]);
        let partition_index = self.chance.below(4) as i32;
        let request = OffsetDeleteRequest {
            group_id: Text::from_static(GROUP),
            topics: vec![OffsetDeleteRequestTopic {
                name: Text::from_static(name),
                partitions: vec![OffsetDeleteRequestPartition { partition_index }],
            }],
        };
        let step = self
            .host
            .step(|ledger, now, _| ledger.delete_offsets(&request, now));
        let Some(GroupReply::DeleteOffsets(response)) = self.asked(0, step) else {
            panic!("OffsetDelete is answered");
        };
        let of_partition = response
            .topics
            .first()
            .map(|it| it.partitions[0].error_code);
        let refusal = Refusal::from_code(response.error_code)
            .or_else(|| Refusal::from_code(of_partition.unwrap_or_default()));
        match refusal {
            None => {
                let gone = (Text::from_static(name), partition_index);
                self.granted.forget(|key| *key == gone);
                self.totals.count("offsets deleted");
            }
            Some(refusal) => self.totals.count(refusal.name()),
        }
    }

    /// Every commit that was granted is there, and nothing else.
    pub(super) fn check_offsets(&self) {
        let request = OffsetFetchRequestGroup {
            group_id: Text::from_static(GROUP),
            topics: None,
            ..OffsetFetchRequestGroup::default()
        };
        let topics = &self.host.topics;
        let fetched = self.host.ledger.fetch_offsets(&request, 9, false, topics);
        let mut there = Committed::new();
        for topic in &fetched.reply.topics {
            for partition in &topic.partitions {
                let key = (topic.name.clone(), partition.partition_index);
                there.insert(key, partition.committed_offset);
            }
        }
        assert_eq!(there, self.granted.committed, "commits are as granted");
    }
}

fn commit_of(name: &Text, partition_index: i32, offset: i64) -> OffsetCommitRequestTopic {
    OffsetCommitRequestTopic {
        name: name.clone(),
        partitions: vec![OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            ..OffsetCommitRequestPartition::default()
        }],
        ..OffsetCommitRequestTopic::default()
    }
}
