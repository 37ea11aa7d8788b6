//! A host without a disk: it keeps the records in memory, as bytes, and lets replies go at once.

use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::{Offset, ProducerId, Refusal};

use crate::ledger::{Answer, Now, When};
use crate::txn::{
    Markers, TransactionVersion, TxnDecision, TxnLedger, TxnRecord, TxnReply, TxnSettings,
};

pub(super) struct Host {
    pub(super) ledger: TxnLedger,
    pub(super) settings: TxnSettings,
    pub(super) level: TransactionVersion,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    pub(super) now: Now,
    /// The next append fails like this.
    pub(super) fail: Option<Refusal>,
    /// Nothing that is appended is committed.
    pub(super) is_stalled: bool,
    /// What the controller gives next; `None` while it does not answer.
    pub(super) next_id: Option<ProducerId>,
    pub(super) coordinator_epoch: i32,
    /// Every demand there was, in order.
    pub(super) demands: Vec<Markers>,
}

/// What one step has brought about.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) records: Vec<TxnRecord>,
    pub(super) reply: Option<TxnReply>,
    /// Before the host says what is committed.
    pub(super) when: Option<When>,
    /// How many demands are new.
    pub(super) n_demands: usize,
}

impl Host {
    pub(super) fn new(settings: TxnSettings) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            wall_ms: 1_000_000,
        };
        let mut host = Self {
            ledger: TxnLedger::new(settings.clone(), 0),
            settings,
            level: TransactionVersion::V2,
            log: Vec::new(),
            now,
            fail: None,
            is_stalled: false,
            next_id: Some(1),
            coordinator_epoch: 0,
            demands: Vec::new(),
        };
        host.step(|ledger, level, _, now| ledger.loaded(level, now));
        host
    }

    /// Decide, append, replay, ask for markers.
    pub(super) fn step(
        &mut self,
        decide: impl FnOnce(
            &mut TxnLedger,
            TransactionVersion,
            &mut Option<ProducerId>,
            Now,
        ) -> TxnDecision,
    ) -> Step {
        let mut hand = self.next_id;
        let before = self.ledger.saved.clone();
        let mut decision = decide(&mut self.ledger, self.level, &mut hand, self.now);
        assert!(before == self.ledger.saved, "deciding changes nothing");
        if hand.is_none() {
            self.next_id = self.next_id.map(|id| id + 1);
        }
        if let Some(refusal) = self.fail.take_if(|_| !decision.writes_nothing()) {
            decision = self.ledger.abandoned(decision, refusal, self.now);
            assert!(decision.writes_nothing(), "nothing comes of a failure");
            assert!(before == self.ledger.saved, "a failure changes nothing");
        }
        let mut step = Step::default();
        for record in decision.records() {
            let (key, value) = record.encode();
            self.ledger.replay(self.log.len() as Offset, record);
            self.log.push((key, value));
            step.records.push(record.clone());
        }
        if let Answer::Now(reply, when) = decision.reply {
            let rests_on_append = when == When::AfterAppend;
            assert!(!rests_on_append || !step.records.is_empty());
            step.reply = Some(reply);
            step.when = Some(when);
        }
        step.n_demands = self.commit();
        self.ledger.validate();
        let next = self.ledger.next_timeout();
        // What only lacks its Complete is tried again soon.
        if self.ledger.owed.values().any(|owed| owed.left.is_empty()) {
            let soon = self.now.monotonic + Duration::from_millis(100);
            assert!(
                next.is_some_and(|next| next.0 <= soon),
                "Complete is forgotten"
            );
        }
        assert!(next.is_none_or(|next| decision.deadline.is_some_and(|at| at <= next)));
        step
    }

    /// Everything is committed, unless that is stalled; how many demands come of it.
    pub(super) fn commit(&mut self) -> usize {
        if !self.is_stalled {
            self.ledger.committed(self.log.len() as Offset);
        }
        let before = self.demands.len();
        while let Some(markers) = self.ledger.next_markers() {
            assert!(!markers.partitions.is_empty(), "somewhere to go");
            self.demands.push(markers);
        }
        assert!(
            self.is_stalled || !self.ledger.awaits_commit(),
            "nothing is left to wait for"
        );
        self.demands.len() - before
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
            steps.push(self.step(|ledger, level, fresh, now| {
                ledger
                    .handle_timeout(level, fresh, now)
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
        self.coordinator_epoch += 1;
        self.ledger = self.reload();
        self.step(|ledger, level, _, now| ledger.loaded(level, now))
    }

    /// A ledger that has read this log.
    pub(super) fn reload(&self) -> TxnLedger {
        let mut ledger = TxnLedger::new(self.settings.clone(), self.coordinator_epoch);
        for (offset, (key, value)) in self.log.iter().enumerate() {
            let loaded = ledger.load(offset as Offset, Some(key), value.as_ref());
            assert_eq!(loaded, Ok(()), "what we wrote can be loaded");
        }
        ledger
    }
}
