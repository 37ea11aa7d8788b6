//! A host without a disk: it keeps the records in memory, as bytes, and delivers replies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::{Offset, Refusal, Text, Uuid};

use crate::group::{GroupDecision, GroupLedger, GroupReply, GroupSettings, TopicImage, Topics};
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
    pub(super) topics: SomeTopics,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    /// Whose each record of the log is.
    origins: Vec<Origin>,
    /// What has been compacted away.
    removed: BTreeSet<usize>,
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
            topics: SomeTopics::default(),
            log: Vec::new(),
            origins: Vec::new(),
            removed: BTreeSet::new(),
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
        if !decision.writes_nothing() {
            self.look_ahead(&decision);
        }
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

    /// Half of what can be is foreseen, and some of that taken back before anything is appended, as
    /// it is when that fails: nobody may see a difference.
    fn look_ahead(&mut self, decision: &GroupDecision) {
        if self.fresh.is_multiple_of(2) {
            return;
        }
        let takes_back = self.fail.is_some() || self.fresh.is_multiple_of(9);
        let before = takes_back.then(|| format!("{:?}", self.ledger.durable()));
        if !self.ledger.foresee(decision) {
            return;
        }
        self.ledger.validate();
        if let Some(before) = before {
            self.ledger.take_back();
            self.ledger.validate();
            assert_eq!(format!("{:?}", self.ledger.durable()), before);
        }
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
            let topics = self.topics.clone();
            steps.push(self.step(|ledger, now, _| {
                ledger
                    .handle_timeout(&topics, now)
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

    /// Of everything before `end` the last record of each key stays; a tombstone may go, too, if it
    /// has stood there for long enough. What belongs to transactions stays, and so does everything
    /// from the first open one on.
    pub(super) fn compact(&mut self, end: usize, without_tombstones: bool) {
        let end = end.min(self.first_open());
        let mut last: BTreeMap<&Bytes, usize> = BTreeMap::new();
        let mut in_transactions: BTreeSet<&Bytes> = BTreeSet::new();
        for (at, (key, _)) in self.log.iter().enumerate().take(end) {
            if self.origins[at] != Origin::Plain {
                in_transactions.insert(key);
            } else if let Some(before) = last.insert(key, at) {
                self.removed.insert(before);
            }
        }
        for (key, at) in last {
            let is_gone = self.log[at].1.is_none() && !in_transactions.contains(key);
            if is_gone && without_tombstones {
                self.removed.insert(at);
            }
        }
    }

    /// Where the first transaction begins that has not ended.
    fn first_open(&self) -> usize {
        let mut open: BTreeMap<i64, usize> = BTreeMap::new();
        for (at, origin) in self.origins.iter().enumerate() {
            match origin {
                Origin::Transactional { producer, .. } => {
                    open.entry(*producer).or_insert(at);
                }
                Origin::Marker { producer, .. } => {
                    open.remove(producer);
                }
                Origin::Plain => {}
            }
        }
        open.into_values().min().unwrap_or(self.log.len())
    }

    /// A ledger that has read this log.
    pub(super) fn reload(&self) -> GroupLedger {
        let mut ledger = GroupLedger::new(self.settings.clone());
        for (offset, (key, value)) in self.log.iter().enumerate() {
            if self.removed.contains(&offset) {
                continue;
            }
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

/// Topics `t1`, `t2`, `t3` exist with 10 partitions each; their ids are 101, 102, 103.
#[derive(Clone)]
pub(super) struct SomeTopics {
    by_name: BTreeMap<Text, (Uuid, i32)>,
    /// Names that were there before.
    former: BTreeSet<Text>,
    version: i64,
    created: i64,
}

impl Default for SomeTopics {
    fn default() -> Self {
        let mut topics = Self {
            by_name: BTreeMap::new(),
            former: BTreeSet::new(),
            version: 100,
            created: 0,
        };
        for name in ["t1", "t2", "t3"] {
            topics.create(name, 10);
        }
        topics
    }
}

impl SomeTopics {
    pub(super) fn create(&mut self, name: &str, n_partitions: i32) -> Uuid {
        self.version += 1;
        self.created = self.version;
        // t4 is 104, unless it is made a second time.
        let number: i64 = name
            .trim_start_matches(char::is_alphabetic)
            .parse()
            .unwrap_or(0);
        let again = if self.former.contains(name) {
            1_000 * self.version
        } else {
            0
        };
        let id = Uuid::from_u128(u128::from((100 + number + again).unsigned_abs()));
        self.by_name.insert(name.into(), (id, n_partitions));
        id
    }

    pub(super) fn grow(&mut self, name: &str, n_partitions: i32) {
        self.version += 1;
        if let Some((_, n)) = self.by_name.get_mut(name) {
            *n = n_partitions.max(*n);
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Uuid {
        self.version += 1;
        self.former.insert(name.into());
        self.by_name
            .remove(name)
            .map(|(id, _)| id)
            .unwrap_or_default()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Text, Uuid, i32)> {
        self.by_name.iter().map(|(name, (id, n))| (name, *id, *n))
    }

    pub(super) fn version(&self) -> i64 {
        self.version
    }
}

impl Topics for SomeTopics {
    fn id(&self, name: &str) -> Option<Uuid> {
        self.by_name.get(name).map(|(id, _)| *id)
    }

    fn name(&self, id: Uuid) -> Option<Text> {
        self.all()
            .find(|(_, known, _)| *known == id)
            .map(|(name, ..)| name.clone())
    }

    fn has_partition(&self, name: &str, partition: i32) -> bool {
        (0..self.n_partitions(name)).contains(&partition)
    }
}

impl TopicImage for SomeTopics {
    fn n_partitions(&self, name: &str) -> i32 {
        self.by_name.get(name).map_or(0, |(_, n)| *n)
    }

    fn racks(&self, _: &str, partition: i32) -> Vec<Text> {
        vec![Text::from(format!("rack{}", partition % 2))]
    }

    fn topics_version(&self) -> i64 {
        self.version
    }

    fn created_version(&self) -> i64 {
        self.created
    }
}
