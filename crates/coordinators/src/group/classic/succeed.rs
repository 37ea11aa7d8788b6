//! A classic group that takes the place of one of the consumer protocol (`consumer/downgrade`).

use std::sync::Arc;

use bytes::Bytes;

use super::{CONSUMER, ClassicGroup, ClassicState, Member};
use crate::group::TopicImage;
use crate::group::assign::Partitions;
use crate::group::embedded;
use crate::group::records::GroupRecord;
use crate::group::records::consumer::{ClassicMemberMetadata, ClassicProtocol};
use crate::group::turn::Turn;
use crate::ledger::Now;

/// A member of the former group.
pub(in crate::group) struct Heir<'a> {
    pub(in crate::group) id: &'a Arc<str>,
    pub(in crate::group) instance: Option<&'a Arc<str>>,
    pub(in crate::group) client_id: &'a Arc<str>,
    pub(in crate::group) client_host: &'a Arc<str>,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) classic: Option<&'a ClassicMemberMetadata>,
    /// What it was to have.
    pub(in crate::group) target: &'a Partitions,
}

impl ClassicGroup {
    /// A stable group of these members at this generation, each with its target as its assignment.
    /// `None`: one of them does not speak the classic protocol, or not so that it can be read.
    pub(in crate::group) fn of_consumers(
        id: &Arc<str>,
        generation: i32,
        heirs: Vec<Heir<'_>>,
        topics: &dyn TopicImage,
        now: Now,
    ) -> Option<Self> {
        let mut group = Self::new(id.clone(), now);
        group.state = ClassicState::Stable;
        group.generation = generation;
        for heir in &heirs {
            let mut member = heir.member()?;
            let statics = &group.static_members;
            // Nobody writes an instance id twice, but a file may say anything.
            member.instance.take_if(|it| statics.contains_key(&**it));
            group.insert(member, CONSUMER);
        }
        let protocol = group.next_protocol()?;
        for heir in &heirs {
            let member = group.members.get_mut(heir.id)?;
            let metadata = member.metadata(Some(&protocol));
            member.assignment = embedded::assignment_bytes(&metadata, heir.target, topics)?;
        }
        group.protocol = Some(protocol);
        group.subscribed = group.subscribed_topics();
        Some(group)
    }

    /// Its record, as it stands.
    pub(in crate::group) fn written(&self) -> GroupRecord {
        self.record(|member| member.assignment.clone())
    }

    /// Members are watched from now on, and asked to join again if that is needed.
    pub(in crate::group) fn succeed(&mut self, rebalances: bool, turn: &mut Turn<'_>) {
        self.members
            .values()
            .for_each(|member| self.restart_session(member, turn));
        if rebalances {
            self.prepare_rebalance(turn);
        }
    }
}

impl Heir<'_> {
    fn member(&self) -> Option<Member> {
        let classic = self.classic?;
        let protocol = |it: &ClassicProtocol| -> (Arc<str>, Bytes) {
            ((*it.name).into(), it.metadata.clone())
        };
        Some(Member {
            id: self.id.clone(),
            instance: self.instance.cloned(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic.supported_protocols.iter().map(protocol).collect(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: false,
        })
    }
}
