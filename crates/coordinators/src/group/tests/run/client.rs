//! One client: what it wants, what it reads from, and how far it is in its protocol.

use std::collections::{BTreeMap, BTreeSet};

use ottla_protocol::{Refusal, Text, Uuid};

use crate::ledger::Ticket;

/// What a client reads from.
pub(super) type Using = BTreeMap<Uuid, BTreeSet<i32>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Classic,
    Consumer,
}

/// How far a classic client is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stage {
    /// It is to join, or to join again.
    Out,
    Joining(Ticket),
    /// In a generation, without an assignment yet; a leader knows who else is.
    Joined(Vec<Fellow>),
    Syncing(Ticket),
    /// It reads.
    In,
}

/// A member, as a leader sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fellow {
    pub(super) id: Text,
    pub(super) metadata: bytes::Bytes,
}

#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The number of its process.
    pub(super) number: usize,
    pub(super) speaks: Speaks,
    pub(super) id: Text,
    pub(super) instance: Option<Text>,
    pub(super) topics: Vec<&'static str>,
    pub(super) pattern: Option<&'static str>,
    pub(super) is_up: bool,
    pub(super) using: Using,
    /// The epoch or generation that it knows of.
    pub(super) epoch: i32,
    /// A consumer says everything the next time.
    pub(super) says_all: bool,
    pub(super) stage: Stage,
    /// What a classic client wanted when it joined last.
    pub(super) joined_for: Vec<&'static str>,
    /// A classic leader has assigned topics of this version, and watches them.
    pub(super) leads_at: Option<i64>,
    /// The generation in which it has asked to assign anew, until it is answered.
    pub(super) asks_anew_in: Option<i32>,
    /// A classic client gives nothing up before it must.
    pub(super) is_cooperative: bool,
    /// It may read something that its coordinator does not know of: the group changed its protocol
    /// in the midst of a rebalance.
    pub(super) is_unsettled: bool,
    pub(super) last_refusal: Option<Refusal>,
}

impl Client {
    pub(super) fn new(number: usize, speaks: Speaks, topics: Vec<&'static str>) -> Self {
        let id = match speaks {
            Speaks::Consumer => Text::from(format!("m{number}")),
            Speaks::Classic => Text::default(),
        };
        Self {
            number,
            speaks,
            id,
            instance: None,
            topics,
            pattern: None,
            is_up: true,
            using: Using::new(),
            epoch: if speaks == Speaks::Consumer { 0 } else { -1 },
            says_all: true,
            stage: Stage::Out,
            joined_for: Vec::new(),
            leads_at: None,
            asks_anew_in: None,
            is_cooperative: false,
            is_unsettled: false,
            last_refusal: None,
        }
    }

    /// It gives everything up, and joins again under its id.
    pub(super) fn start_over(&mut self) {
        self.using.clear();
        self.is_unsettled = false;
        self.says_all = true;
        self.stage = Stage::Out;
        self.leads_at = None;
        self.asks_anew_in = None;
        self.epoch = if self.speaks == Speaks::Consumer {
            0
        } else {
            -1
        };
    }

    /// It is gone, and reads nothing.
    pub(super) fn stop(&mut self) {
        self.start_over();
        self.is_up = false;
    }

    pub(super) fn wants(&self, topic: &str) -> bool {
        let by_pattern = match self.pattern {
            Some("t[13]") => topic == "t1" || topic == "t3",
            Some("t.*") => true,
            _ => false,
        };
        by_pattern || self.topics.contains(&topic)
    }

    pub(super) fn reads(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let topics = self.using.iter();
        topics.flat_map(|(topic, partitions)| partitions.iter().map(move |it| (*topic, *it)))
    }
}
