//! Decisions that wait for nothing but their append, and may share it: each is about something else,
//! so that none can rest on another's records.

use std::collections::HashSet;

use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::shard::{DecisionOf, Op};

/// Decisions that are written together at most: timers, and who stands behind them, wait for all.
const GATHERED_MAX: usize = 128;

pub(super) struct Gathered<L: Ledger> {
    about: HashSet<Box<str>>,
    pub(super) decisions: Vec<DecisionOf<L>>,
    /// Of each decision the way back to the caller.
    pub(super) replies: Vec<Option<oneshot::Sender<L::Reply>>>,
}

impl<L: Ledger> Default for Gathered<L> {
    fn default() -> Self {
        Self {
            about: HashSet::new(),
            decisions: Vec::new(),
            replies: Vec::new(),
        }
    }
}

impl<L: Ledger> Gathered<L> {
    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Whether what stands next in line is to be decided now.
    pub(super) fn takes(&self, next: Option<&Op<L>>) -> bool {
        match next {
            None => false,
            Some(_) if self.is_empty() => true,
            Some(Op::Decide {
                about: Some(key), ..
            }) => self.decisions.len() < GATHERED_MAX && !self.about.contains(key),
            Some(_) => false,
        }
    }

    pub(super) fn push(
        &mut self,
        key: Box<str>,
        decision: DecisionOf<L>,
        reply: oneshot::Sender<L::Reply>,
    ) {
        self.about.insert(key);
        self.decisions.push(decision);
        self.replies.push(Some(reply));
    }
}

#[cfg(test)]
mod tests {
    use ottla_coordinators::{Answer, GroupDecision, When};
    use ottla_storage::producer::Verified;

    use super::*;
    use crate::coordinators::{Groups, Pace};

    fn nothing() -> GroupDecision {
        GroupDecision {
            batches: Vec::new(),
            reply: Answer::Nobody,
            released: Vec::new(),
            deadline: None,
        }
    }

    fn op(about: Option<&str>) -> Op<Groups> {
        let run = |_: &mut Groups, _| nothing();
        let (op, _) = Op::decide(Pace::InLine, Verified::NotAsked, run);
        match about {
            Some(key) => op.only_about(key),
            None => op,
        }
    }

    #[test]
    fn what_may_rest_on_records_that_are_not_written_waits() {
        let mut gathered = Gathered::default();
        let takes = |gathered: &Gathered<Groups>, op: &Op<Groups>| gathered.takes(Some(op));
        let look = Op::look(|_: &Groups, _| (When::AtOnce, Box::new(|| ())));
        let (one, other, all) = (op(Some("a")), op(Some("b")), op(None));
        assert!(!gathered.takes(None));
        for first in [&one, &all, &look] {
            assert!(takes(&gathered, first), "there is nothing to wait for");
        }
        gathered.push("a".into(), nothing(), oneshot::channel().0);
        assert!(takes(&gathered, &other));
        for waits in [&one, &all, &look] {
            assert!(!takes(&gathered, waits));
        }
        for n in 1..GATHERED_MAX {
            assert!(takes(&gathered, &other));
            gathered.push(n.to_string().into(), nothing(), oneshot::channel().0);
        }
        assert!(!takes(&gathered, &other), "it is not to grow for ever");
    }
}
