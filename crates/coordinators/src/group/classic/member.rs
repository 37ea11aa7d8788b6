//! One member of a classic group.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla_protocol::{Refusal, Text};

use super::{join_refused, sync_refused};
use crate::group::Client;
use crate::group::records::MemberMetadata;
use crate::group::turn::Turn;
use crate::ledger::{Ticket, When};

/// A JoinGroup that waits, and the version in which it must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parked {
    pub(super) ticket: Ticket,
    pub(super) version: i16,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    pub(crate) instance: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the order of its preference. After a load only the chosen one is known.
    pub(crate) protocols: Vec<(Arc<str>, Bytes)>,
    pub(crate) assignment: Bytes,
    pub(super) joining: Option<Parked>,
    pub(super) syncing: Option<Ticket>,
    /// Has never had an answer: it cannot send heartbeats, so even while it waits it may expire.
    pub(super) is_new: bool,
}

impl Member {
    pub(super) fn newcomer(id: Arc<str>, request: &JoinGroupRequest, client: Client<'_>) -> Self {
        Self {
            id,
            instance: request.group_instance_id.as_deref().map(Into::into),
            client_id: client.id.into(),
            client_host: client.host.into(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: kept(&request.protocols),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            is_new: true,
        }
    }

    pub(super) fn from_record(saved: &MemberMetadata, protocol: Option<&Arc<str>>) -> Self {
        let rebalance_timeout_ms = match saved.rebalance_timeout {
            -1 => saved.session_timeout,
            timeout => timeout,
        };
        let subscription = saved.subscription.clone();
        Self {
            id: (*saved.member_id).into(),
            instance: saved.group_instance_id.as_deref().map(Into::into),
            client_id: (*saved.client_id).into(),
            client_host: (*saved.client_host).into(),
            rebalance_timeout_ms,
            session_timeout_ms: saved.session_timeout,
            protocols: protocol
                .map(|name| (name.clone(), subscription))
                .into_iter()
                .collect(),
            assignment: saved.assignment.clone(),
            joining: None,
            syncing: None,
            is_new: false,
        }
    }

    /// It has asked again: its newest words count.
    pub(super) fn update(&mut self, request: &JoinGroupRequest) {
        self.protocols = kept(&request.protocols);
        self.rebalance_timeout_ms = request.rebalance_timeout_ms;
        self.session_timeout_ms = request.session_timeout_ms;
    }

    /// Its metadata for a protocol; empty if it has none.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self
            .protocols
            .iter()
            .find(|(name, _)| Some(&**name) == protocol);
        found
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// Whether a request repeats exactly what is known.
    pub(super) fn matches(&self, protocols: &[JoinGroupRequestProtocol]) -> bool {
        let known = self.protocols.iter().map(|(name, bytes)| (&**name, bytes));
        known.eq(distinct(protocols).map(|asked| (&*asked.name, &asked.metadata)))
    }

    /// Waiting in a rebalance counts as a heartbeat, except for a member that is new.
    pub(super) fn counts_as_alive(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub(super) fn refuse_waiting(&mut self, refusal: Refusal, turn: &mut Turn<'_>) {
        if let Some(parked) = self.joining.take() {
            // Kafka names the fenced or moved member, and nobody where it wants a fresh start.
            let id = if refusal == Refusal::UnknownMemberId {
                ""
            } else {
                &*self.id
            };
            let reply = join_refused(parked.version, id, refusal);
            turn.release(parked.ticket, reply, When::AtOnce);
        }
        if let Some(ticket) = self.syncing.take() {
            turn.release(ticket, sync_refused(refusal), When::AtOnce);
        }
    }

    /// A second request of the same member takes the place of the first, which would otherwise be
    /// owed an answer for ever.
    pub(super) fn park_join(&mut self, parked: Parked, turn: &mut Turn<'_>) {
        if let Some(before) = self.joining.replace(parked) {
            let reply = join_refused(before.version, &self.id, Refusal::RebalanceInProgress);
            turn.release(before.ticket, reply, When::AtOnce);
        }
    }

    /// As `park_join`.
    pub(super) fn park_sync(&mut self, ticket: Ticket, turn: &mut Turn<'_>) {
        if let Some(before) = self.syncing.replace(ticket) {
            let reply = sync_refused(Refusal::RebalanceInProgress);
            turn.release(before, reply, When::AtOnce);
        }
    }
}

/// Each protocol once: one that is named twice would have two votes, and would count for two
/// members that support it.
pub(crate) fn distinct(
    protocols: &[JoinGroupRequestProtocol],
) -> impl Iterator<Item = &JoinGroupRequestProtocol> {
    let mut seen = HashSet::new();
    protocols
        .iter()
        .filter(move |asked| seen.insert(&*asked.name))
}

/// Copied: the slices would keep the whole request alive.
fn kept(protocols: &[JoinGroupRequestProtocol]) -> Vec<(Arc<str>, Bytes)> {
    let copy = |asked: &JoinGroupRequestProtocol| {
        (
            (*asked.name).into(),
            Bytes::copy_from_slice(&asked.metadata),
        )
    };
    distinct(protocols).map(copy).collect()
}

/// A name in a reply.
pub(super) fn text(name: Option<&Arc<str>>) -> Option<Text> {
    name.map(|name| Text::from(&**name))
}
