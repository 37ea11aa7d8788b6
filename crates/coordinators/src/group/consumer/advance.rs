//! What a member's request makes of its group, whichever protocol it speaks: its word is written
//! down, the group's epoch follows, and the member goes one step towards its target.

use super::check::UnfitRequest;
use super::pattern::{PatternChange, PatternErrand};
use super::reconcile::Step;
use super::{ConsumerGroup, LookedAt, Member, MemberState};
use crate::group::TopicImage;
use crate::group::timers::Timer;
use crate::group::topic_hash::TopicHashes;
use crate::group::turn::Turn;

/// What a decision looks at besides the group.
pub(in crate::group) struct Around<'a> {
    pub(in crate::group) topics: &'a dyn TopicImage,
    pub(in crate::group) hashes: &'a mut TopicHashes,
    /// The group's patterns are being resolved elsewhere.
    pub(in crate::group) is_resolving: bool,
}

/// A member's word that has been written down.
pub(super) struct Taken {
    /// The group's, from now on.
    pub(super) epoch: i32,
    pub(super) looked_at: Option<LookedAt>,
    pub(super) errand: Option<PatternErrand>,
    /// The member wants something else than before.
    pub(super) wants_other: bool,
}

impl ConsumerGroup {
    /// The member was `before` and is `after`: writes that down, and the group's new epoch if what
    /// its members want, or the topics, have changed.
    pub(super) fn take_word(
        &self,
        before: &Member,
        after: &Member,
        around: &mut Around<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Taken, UnfitRequest> {
        let names_changed = after.topics != before.topics;
        if after != before {
            turn.write(self.member_record(after));
        }
        let (pattern, errand) = self.change_pattern(before, after, around, turn)?;
        let bumps = names_changed
            || match pattern {
                PatternChange::None => false,
                // A classic member has none: nothing has to be resolved first.
                PatternChange::Changed => after.speaks_classic(),
                PatternChange::Resolved => true,
            };
        let mut epoch = self.epoch;
        let mut looked_at = None;
        let topics_version = around.topics.topics_version();
        if bumps || self.should_look(topics_version) {
            epoch = self.look(bumps, before, after, around, turn);
            looked_at = Some(LookedAt {
                topics_version,
                epoch,
            });
        }
        Ok(Taken {
            epoch,
            looked_at,
            errand,
            wants_other: names_changed || pattern != PatternChange::None,
        })
    }

    /// The member one step further, if it has further to go.
    pub(super) fn advance(
        &self,
        member: Member,
        step: &Step<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<Member, UnfitRequest> {
        if !step.wants_other && member.is_reconciled_to(step.target.epoch) {
            return Ok(member);
        }
        let next = self.step(&member, step)?;
        self.keep_reconciled(&member, &next, turn);
        Ok(next)
    }

    /// Whether topics have changed since they were looked at, or nobody knows.
    pub(super) fn should_look(&self, topics_version: i64) -> bool {
        let Some(looked_at) = self.looked_at else {
            return true;
        };
        looked_at.topics_version != topics_version || self.epoch < looked_at.epoch
    }

    /// Compares the topics with those that the group's epoch stands for. The epoch to go on with.
    fn look(
        &self,
        bumps: bool,
        before: &Member,
        after: &Member,
        around: &mut Around<'_>,
        turn: &mut Turn<'_>,
    ) -> i32 {
        let subscriptions = self.subscriptions_after(before, after);
        let names = subscriptions.topics.keys();
        let hash = around.hashes.of_group(names, around.topics);
        let bumps = bumps || hash != self.metadata_hash;
        let epoch = self.epoch.saturating_add(i32::from(bumps));
        if bumps {
            turn.write(self.epoch_record(epoch, hash));
        }
        if self.has_topics_record {
            turn.write(self.topics_tombstone());
        }
        epoch
    }

    fn keep_reconciled(&self, before: &Member, after: &Member, turn: &mut Turn<'_>) {
        if before == after {
            return;
        }
        turn.write(self.current_record(after));
        let timer = Timer::Rebalance(self.id.clone(), after.id.clone());
        match after.state {
            // A member that speaks the classic protocol is asked to join again, and has its time
            // for that.
            MemberState::UnrevokedPartitions if after.speaks_classic() => {}
            MemberState::UnrevokedPartitions => {
                let ms = after.rebalance_timeout_ms.into();
                turn.timers.set(timer, turn.now, ms);
            }
            _ => turn.timers.cancel(&timer),
        }
    }
}
