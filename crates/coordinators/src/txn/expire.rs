//! What time does: transactions that ran out of it, ids that nobody uses, and second attempts.

use std::sync::Arc;

use ottla_protocol::ProducerId;

use super::settings::TransactionVersion;
use super::{TxnDecision, TxnLedger, TxnRecord};
use crate::ledger::{Answer, Batch, Decision, Now, Origin};

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Timer {
    /// Look for transactions that are open for too long.
    TimedOut,
    /// Look for transactional ids that nobody uses.
    Expired,
    /// Try again to write this id's Complete.
    Complete(Arc<str>),
}

pub(super) type Timers = crate::timers::Timers<Timer>;

/// Until the next attempt to write a Complete. Its client does not wait for it, but its next
/// transaction does.
const COMPLETE_RETRY_MS: i64 = 100;

/// How many bytes of transactional ids go into one batch of tombstones: well below the smallest
/// sensible `max.message.bytes`, for a batch that is too large would never be written.
const TOMBSTONE_BATCH_BYTES: usize = 16 * 1024;

impl TxnLedger {
    /// Handles one thing that is due: a transaction is aborted, unused ids are forgotten, a Complete
    /// is tried again. Call it until it says `None`.
    pub fn handle_timeout(
        &mut self,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> Option<TxnDecision> {
        if let Some(id) = self.overdue.pop_front() {
            let records = self.abort_overdue(&id, level, fresh, now);
            return Some(self.decision(records.unwrap_or_default(), Answer::Nobody));
        }
        let records = match self.timers.pop_due(now)? {
            Timer::TimedOut => {
                self.look_for_overdue(now);
                Vec::new()
            }
            Timer::Expired => return Some(self.expire(level, now)),
            Timer::Complete(id) => self.complete(&id, level, now).into_iter().collect(),
        };
        Some(self.decision(records, Answer::Nobody))
    }

    /// Starts the clocks of a ledger that has been loaded.
    pub(super) fn start_timers(&mut self, now: Now) {
        let (timed_out, expired) = (
            self.settings.abort_timed_out_interval_ms,
            self.settings.remove_expired_interval_ms,
        );
        self.timers.set(Timer::TimedOut, now, timed_out);
        self.timers.set(Timer::Expired, now, expired);
    }

    pub(super) fn try_complete_later(&mut self, id: &Arc<str>, now: Now) {
        self.timers
            .set(Timer::Complete(id.clone()), now, COMPLETE_RETRY_MS);
    }

    pub(super) fn no_complete_later(&mut self, id: &Arc<str>) {
        self.timers.cancel(&Timer::Complete(id.clone()));
    }

    fn look_for_overdue(&mut self, now: Now) {
        let interval_ms = self.settings.abort_timed_out_interval_ms;
        self.timers.set(Timer::TimedOut, now, interval_ms);
        let overdue = self.open.iter();
        let overdue = overdue.take_while(|(deadline_ms, _)| *deadline_ms < now.wall_ms);
        self.overdue = overdue.map(|(_, id)| id.clone()).collect();
    }

    /// `None` if it has ended meanwhile. If it needs a producer id and there is none at hand, the
    /// next look finds it again.
    fn abort_overdue(
        &mut self,
        id: &str,
        level: TransactionVersion,
        fresh: &mut Option<ProducerId>,
        now: Now,
    ) -> Option<Vec<TxnRecord>> {
        let current = self.saved.get(id).filter(|one| one.is_timed_out(now))?;
        let aborted = current.fenced(level, fresh, now).ok()?;
        self.counts.timed_out += 1;
        Some(self.decided(id, aborted, level, now))
    }

    /// Tombstones for the ids that nobody has used for too long.
    fn expire(&mut self, level: TransactionVersion, now: Now) -> TxnDecision {
        let interval_ms = self.settings.remove_expired_interval_ms;
        self.timers.set(Timer::Expired, now, interval_ms);
        let unused_since = now.wall_ms.saturating_sub(self.settings.id_expiration_ms);
        let expired = self.saved.iter().filter(|(_, transaction)| {
            transaction.state.may_expire() && transaction.update_ms <= unused_since
        });
        let mut batches: Vec<Batch<TxnRecord>> = Vec::new();
        let mut room = 0;
        for (id, _) in expired {
            if room < id.len() {
                room = TOMBSTONE_BATCH_BYTES;
                batches.push(Batch {
                    records: Vec::new(),
                    origin: Origin::Plain,
                });
            }
            room = room.saturating_sub(id.len().max(1));
            if let Some(batch) = batches.last_mut() {
                batch.records.push(TxnRecord {
                    transactional_id: id.clone(),
                    transaction: None,
                    value_version: level.value_version(),
                });
            }
        }
        Decision {
            batches,
            ..self.decision(Vec::new(), Answer::Nobody)
        }
    }
}
