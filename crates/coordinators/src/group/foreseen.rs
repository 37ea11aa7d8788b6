//! Several decisions about one group share an append: each but the last is *foreseen*, that is, its
//! records count as replayed while they are on their way to the log.
//!
//! Until they stand there nobody hears of them: whoever is answered meanwhile by what they say waits
//! for the same append. Replayed later, in the same order, they are known already; if the append
//! fails they are taken back, all of them, and the group is what it was.

use std::sync::Arc;

use super::consumer::Former;
use super::records::{ConsumerRecord, GroupRecord};
use super::{GroupDecision, GroupLedger};
use crate::ledger::Origin;

/// What is foreseen of one group.
#[derive(Debug)]
pub(super) struct Foreseen {
    /// What the group was; `None` if there was none.
    former: Option<Former>,
    /// Records that have not been replayed yet; never 0.
    n_records: usize,
}

impl GroupLedger {
    /// Lets other decisions about the same group be made although this one is not written yet.
    /// `false`: that cannot be, and nothing has changed. Groups of the consumer protocol can while
    /// they stay groups, and while nobody in them speaks the classic one: its heartbeats are
    /// answered without waiting for anything.
    pub fn foresee(&mut self, decision: &GroupDecision) -> bool {
        let Some(group_id) = foreseeable(decision) else {
            return false;
        };
        let known = self.foreseen.remove_entry(group_id);
        let Some((id, mut foreseen)) = known.or_else(|| self.nothing_foreseen(group_id)) else {
            return false;
        };
        for record in decision.records() {
            let GroupRecord::Consumer(record) = record else {
                continue;
            };
            foreseen.n_records += 1;
            let group = self.consumers.get_mut(group_id);
            match foreseen.former.as_mut().zip(group) {
                Some((former, group)) => group.foresee(record, former),
                None => self.replay_consumer(record),
            }
        }
        self.foreseen.insert(id, foreseen);
        true
    }

    fn nothing_foreseen(&self, group_id: &str) -> Option<(Arc<str>, Foreseen)> {
        let known = self.consumers.get(group_id);
        let is_other = self.live.contains_key(group_id)
            || self.saved.contains_key(group_id)
            || self.others.contains_key(group_id);
        if is_other || known.is_some_and(|group| group.has_classic_members()) {
            return None;
        }
        let foreseen = Foreseen {
            former: known.map(|group| group.former()),
            n_records: 0,
        };
        Some((group_id.into(), foreseen))
    }

    /// The append failed, all of it or from some record on: nothing is foreseen any more. Records
    /// that stand in the log are to be replayed after that.
    pub fn take_back(&mut self) {
        for (id, foreseen) in std::mem::take(&mut self.foreseen) {
            let Some(former) = foreseen.former else {
                self.consumers.remove(&id);
                continue;
            };
            if let Some(group) = self.consumers.get_mut(&id) {
                group.restore(former);
            }
        }
    }

    /// Whether a record of this group that is replayed now has been foreseen.
    pub(super) fn was_foreseen(&mut self, group_id: &str) -> bool {
        let Some(foreseen) = self.foreseen.get_mut(group_id) else {
            return false;
        };
        foreseen.n_records -= 1;
        if foreseen.n_records == 0 {
            self.foreseen.remove(group_id);
        }
        true
    }
}

/// The group that a decision writes about, if that may be foreseen.
fn foreseeable(decision: &GroupDecision) -> Option<&str> {
    let group_id = decision.records().next()?.group();
    let fits = |record: &GroupRecord| match record {
        GroupRecord::Consumer(record) => record.group() == group_id && stays_modern(record),
        _ => false,
    };
    let mut batches = decision.batches.iter();
    let is_plain = batches.all(|batch| batch.origin == Origin::Plain);
    (is_plain && decision.records().all(fits)).then_some(&**group_id)
}

/// The group is not deleted, and no member of the classic protocol comes.
fn stays_modern(record: &ConsumerRecord) -> bool {
    match record {
        ConsumerRecord::Group { value, .. } => value.is_some(),
        ConsumerRecord::Member { value, .. } => value
            .as_ref()
            .is_none_or(|member| member.classic_member_metadata.is_none()),
        _ => true,
    }
}
