//! A host without a disk: it keeps the records in memory, as bytes, and delivers replies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::{Offset, Refusal, Text, Uuid};

use crate::group::{GroupDecision, GroupLedger, GroupReply, GroupSettings, Topics};
use crate::ledger::{Answer, Now, Origin, Ticket, When};

/// Who gets a reply: the asker of this moment, or a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Asker,
    Ticket(Ticket),
}

pub(super) struct Host {
    pub(super) ledger: GroupLedger,
    pub(super) settings: GroupSettings,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    /// Whose each record of the log is.
    origins: Vec<Origin>,
    pub(super) now: Now,
    /// The next append fails like this.
    pub(super) fail: Option<Refusal>,
    fresh: u128,
    owed: BTreeSet<Ticket>,
    answered: BTreeSet<Ticket>,
}

/// What one step has brought about.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) records: Vec<(Bytes, Option<Bytes>)>,
    pub(super) replies: Vec<(To, GroupReply)>,
    pub(super) waits: Option<Ticket>,
}

impl Host {
    pub(super) fn new(settings: GroupSettings) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_ms: 1_000_000,
        };
        let mut host = Self {
            ledger: GroupLedger::new(settings.clone()),
            settings,
            log: Vec::new(),
            origins: Vec::new(),
            now,
            fail: None,
            fresh: 0,
            owed: BTreeSet::new(),
            answered: BTreeSet::new(),
        };
        host.step(|ledger, now, _| ledger.loaded(now));
        host
    }

    /// Decide, append, replay, deliver.
    pub(super) fn step(
        &mut self,
        decide: impl FnOnce(&mut GroupLedger, Now, Uuid) -> GroupDecision,
    ) -> Step {
        self.fresh += 1;
        let mut decision = decide(&mut self.ledger, self.now, Uuid::from_u128(self.fresh));
        let mut step = Step::default();
        if let Some(refusal) = self.fail.take_if(|_| !decision.writes_nothing()) {
            decision = self.ledger.abandoned(decision, refusal, self.now);
            assert!(
                decision.writes_nothing(),
                "what comes of a failure appends nothing"
            );
        }
        self.append(&decision, &mut step);
        if let Answer::Later(ticket) = decision.reply {
            assert!(!self.answered.contains(&ticket) && self.owed.insert(ticket));
            step.waits = Some(ticket);
        }
        for freed in decision.released {
            assert!(
                self.owed.remove(&freed.ticket),
                "a reply is owed once: {:?}",
                freed.ticket
            );
            self.answered.insert(freed.ticket);
            step.replies.push((To::Ticket(freed.ticket), freed.reply));
        }
        if let Answer::Now(reply, when) = decision.reply {
            let rests_on_append = when == When::AfterAppend;
            assert!(
                !rests_on_append || !step.records.is_empty(),
                "nothing to wait for"
            );
            step.replies.push((To::Asker, reply));
        }
        self.ledger.committed(self.log.len() as Offset);
        self.ledger.validate();
        // Replay may stop timers, so the ledger may be woken for nothing, but never too late.
        let next = self.ledger.next_timeout();
        assert!(next.is_none_or(|next| decision.deadline.is_some_and(|at| at <= next)));
        step
    }

    fn append(&mut self, decision: &GroupDecision, step: &mut Step) {
        for batch in &decision.batches {
            for record in &batch.records {
                let (key, value) = record.encode();
                self.ledger
                    .replay(self.log.len() as Offset, batch.origin, record);
                self.log.push((key.clone(), value.clone()));
                self.origins.push(batch.origin);
                step.records.push((key, value));
            }
        }
    }

    /// A marker stands in the log.
    pub(super) fn end_transaction(&mut self, producer: i64, committed: bool) {
        let offset = self.log.len() as Offset;
        self.log.push((Bytes::new(), None));
        self.origins.push(Origin::Marker {
            producer,
            committed,
        });
        self.ledger.end_transaction(offset, producer, committed);
        self.ledger.committed(self.log.len() as Offset);
        self.ledger.validate();
    }

    /// Lets time pass, and every timer on the way fire at its moment.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Step> {
        let end = self.now.monotonic + Duration::from_millis(ms);
        let start_ms = self.now.wall_ms - self.now.monotonic.as_millis() as i64;
        let mut steps = Vec::new();
        while let Some(deadline) = self.ledger.next_timeout().filter(|at| at.0 <= end) {
            let monotonic = deadline.0.max(self.now.monotonic);
            self.now = Now {
                monotonic,
                wall_ms: start_ms + monotonic.as_millis() as i64,
            };
            steps.push(self.step(|ledger, now, _| {
                ledger
                    .handle_timeout(now)
                    .unwrap_or_else(|| panic!("{deadline:?} is due"))
            }));
        }
        self.now = Now {
            monotonic: end,
            wall_ms: start_ms + end.as_millis() as i64,
        };
        steps
    }

    /// The broker dies; another reads the log.
    pub(super) fn restart(&mut self) -> Step {
        let ledger = self.reload();
        let old = std::mem::replace(&mut self.ledger, ledger);
        for freed in old.unload(Refusal::NotCoordinator) {
            assert!(
                self.owed.remove(&freed.ticket),
                "a reply is owed once: {:?}",
                freed.ticket
            );
            self.answered.insert(freed.ticket);
        }
        assert!(self.owed.is_empty(), "everybody is told: {:?}", self.owed);
        self.answered.clear();
        self.step(|ledger, now, _| ledger.loaded(now))
    }

    /// A ledger that has read this log.
    pub(super) fn reload(&self) -> GroupLedger {
        let mut ledger = GroupLedger::new(self.settings.clone());
        for (offset, (key, value)) in self.log.iter().enumerate() {
            let origin = self.origins[offset];
            let loaded = ledger.load(offset as Offset, origin, Some(key), value.as_ref());
            assert_eq!(loaded, Ok(()), "what we wrote can be loaded");
        }
        ledger
    }

    pub(super) fn is_owed(&self, ticket: Ticket) -> bool {
        self.owed.contains(&ticket)
    }
}

/// Topics `t1`, `t2`, ... exist with 10 partitions each; their ids are their numbers.
pub(super) struct SomeTopics(pub(super) BTreeMap<&'static str, u128>);

impl Default for SomeTopics {
    fn default() -> Self {
        Self(BTreeMap::from([("t1", 101), ("t2", 102), ("t3", 103)]))
    }
}

impl Topics for SomeTopics {
    fn id(&self, name: &str) -> Option<Uuid> {
        self.0.get(name).map(|id| Uuid::from_u128(*id))
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        let found = self.0.iter().find(|(_, known)| **known == id.as_u128());
        found.map(|(name, _)| Text::from_static(name))
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        self.0.contains_key(name) && (0..10).contains(&partition)
    }
}
