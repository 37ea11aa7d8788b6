//! The only member of a group, which commits offsets, each time at its moment, and leaves.

use anyhow::ensure;
use bytes::Bytes;
use ottla_client::ClientError;
use ottla_protocol::messages::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use ottla_protocol::{NONE, Text};

use super::broker_cpu::CpuWatch;
use super::classic_member::ClassicMember;
use super::dialogue::{Dialogue, framed, read};
use super::member::Member;
use super::schedule::{Nanos, Pace};
use super::tally::{Amount, Tally};
use super::turns::{Next, Scene, Speaker};
use super::wire::Wire;

/// Every Kafka from 2.5 on serves it, and it names topics.
pub(super) const COMMIT_VERSION: i16 = 8;

#[derive(Debug)]
pub(super) struct Committer {
    /// It has joined.
    member: ClassicMember,
    dialogue: Dialogue,
    /// Partitions of one commit, from 0.
    n_partitions: i32,
    pace: Pace,
    cpu: CpuWatch,
    is_leaving: bool,
    /// Of the commit under way.
    due: Nanos,
    next_offset: i64,
}

impl Committer {
    pub(super) fn new(member: ClassicMember, n_partitions: i32, pace: Pace, cpu: CpuWatch) -> Self {
        Self {
            member,
            dialogue: Dialogue::default(),
            n_partitions,
            pace,
            cpu,
            is_leaving: false,
            due: 0,
            next_offset: 0,
        }
    }

    fn listen(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        let Some(frame) = self.dialogue.hear(wire)? else {
            return Ok(());
        };
        let now = scene.clock.now();
        if self.is_leaving {
            self.member.answer(frame, now)?;
            return Ok(());
        }
        self.committed(frame)?;
        let one = Amount {
            requests: 1,
            ..Amount::default()
        };
        scene.tally.done(now, one);
        scene.tally.answered(self.due, now);
        Ok(())
    }

    fn committed(&self, frame: Bytes) -> anyhow::Result<()> {
        let answer: OffsetCommitResponse = read(frame, COMMIT_VERSION)?;
        let mut answered = answer.topics.iter().flat_map(|topic| &topic.partitions);
        ensure!(
            answered.clone().count() == usize::try_from(self.n_partitions).unwrap_or_default(),
            "the broker did not answer for all partitions of a commit"
        );
        let refused = answered.find(|partition| partition.error_code != NONE);
        if let Some(refused) = refused {
            let group = &self.member.terms().group;
            let what = format!(
                "a commit of group {group} for partition {}",
                refused.partition_index
            );
            ClientError::from_code(&what, refused.error_code, None)?;
        }
        Ok(())
    }

    fn request(&self) -> OffsetCommitRequest {
        let partitions = (0..self.n_partitions).map(|number| OffsetCommitRequestPartition {
            partition_index: number,
            committed_offset: self.next_offset,
            committed_metadata: Some(Text::new()),
            ..OffsetCommitRequestPartition::default()
        });
        OffsetCommitRequest {
            group_id: self.member.terms().group.clone(),
            generation_id_or_member_epoch: self.member.generation(),
            member_id: self.member.id().clone(),
            topics: vec![OffsetCommitRequestTopic {
                name: self.member.terms().topic.clone(),
                partitions: partitions.collect(),
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        }
    }

    fn commit(&mut self, wire: &Wire, due: Nanos, scene: &mut Scene<'_>) -> anyhow::Result<()> {
        scene.tally.sent(due, scene.clock.now());
        self.due = due;
        self.pace.sent();
        self.next_offset += 1;
        let request = self.request();
        self.dialogue
            .ask(wire, |id| framed(&request, COMMIT_VERSION, id))
    }

    fn speak_as_member(&mut self, wire: &Wire, now: Nanos) -> anyhow::Result<Next> {
        if self.member.has_left() {
            return Ok(Next::Finished);
        }
        let due = self.member.due();
        if due > now {
            return Ok(Next::At(due));
        }
        let member = &mut self.member;
        self.dialogue.ask(wire, |id| member.question(id, now))?;
        Ok(Next::News)
    }
}

impl Speaker for Committer {
    fn turn(&mut self, wire: &mut Wire, scene: &mut Scene<'_>) -> anyhow::Result<Next> {
        self.listen(wire, scene)?;
        let now = scene.clock.now();
        self.cpu.look(now)?;
        if self.dialogue.is_waiting() {
            return Ok(Next::News);
        }
        if !self.is_leaving {
            match self.pace.due(now) {
                Some(due) if due > now => return Ok(Next::At(due)),
                Some(due) => {
                    self.commit(wire, due, scene)?;
                    return Ok(Next::News);
                }
                // A schedule ends with its last moment, and the others have theirs still to come.
                None if now < scene.tally.window().until => {
                    return Ok(Next::At(scene.tally.window().until));
                }
                None => {
                    self.is_leaving = true;
                    self.member.leave();
                }
            }
        }
        self.speak_as_member(wire, now)
    }

    fn give_up(&mut self, now: Nanos, tally: &mut Tally) {
        if self.is_leaving {
            tally.n_unanswered += u64::from(self.dialogue.is_waiting());
            return;
        }
        if self.dialogue.is_waiting() {
            tally.unanswered(self.due, now);
        }
        let overdue = self.pace.overdue(now);
        overdue.for_each(|due| tally.unanswered(due, now));
    }
}
