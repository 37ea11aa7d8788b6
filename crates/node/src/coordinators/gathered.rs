//! Decisions that wait for nothing but their append, and may share it: each is about something else,
//! so that none can rest on another's records, or those records are foreseen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::shard::{DecisionOf, Op};

/// Decisions that are written together at most: timers, and who stands behind them, wait for all.
const GATHERED_MAX: usize = 128;

/// Records after which no decision is added: they are all in memory, as they are and as bytes.
const RECORDS_MAX: usize = 10_000;

/// After this no decision is added: whoever is answered without an append waits as long.
const TIME_MAX: Duration = Duration::from_millis(10);

pub(super) struct Gathered<L: Ledger> {
    /// What they write about.
    about: HashMap<Box<str>, Last>,
    n_records: usize,
    since: Instant,
    pub(super) decisions: Vec<DecisionOf<L>>,
    /// Of each decision the last one before it about the same.
    pub(super) rests_on: Vec<Option<usize>>,
    /// Of each decision the way back to the caller.
    pub(super) replies: Vec<Option<oneshot::Sender<L::Reply>>>,
}

/// The last decision that writes about something.
#[derive(Clone, Copy)]
struct Last {
    place: usize,
    is_foreseen: bool,
}

impl<L: Ledger> Default for Gathered<L> {
    fn default() -> Self {
        Self {
            about: HashMap::new(),
            n_records: 0,
            since: Instant::now(),
            decisions: Vec::new(),
            rests_on: Vec::new(),
            replies: Vec::new(),
        }
    }
}

impl<L: Ledger> Gathered<L> {
    /// A decision that nobody shares an append with.
    pub(super) fn alone(decision: DecisionOf<L>, reply: Option<oneshot::Sender<L::Reply>>) -> Self {
        Self {
            decisions: vec![decision],
            rests_on: vec![None],
            replies: vec![reply],
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// Whether what stands next in line is to be decided now.
    pub(super) fn takes(&mut self, next: Option<&Op<L>>, ledger: &mut L) -> bool {
        match next {
            None => false,
            Some(_) if self.is_empty() => true,
            Some(Op::Decide {
                about: Some(key), ..
            }) => !self.is_full() && self.is_open(key, ledger),
            Some(_) => false,
        }
    }

    fn is_full(&self) -> bool {
        self.decisions.len() >= GATHERED_MAX
            || self.n_records >= RECORDS_MAX
            || self.since.elapsed() >= TIME_MAX
    }

    /// Whether another decision about this can be made: all that is written about it is foreseen.
    fn is_open(&mut self, key: &str, ledger: &mut L) -> bool {
        let Some(last) = self.about.get_mut(key) else {
            return true;
        };
        if !last.is_foreseen {
            let decision = self.decisions.get(last.place);
            last.is_foreseen = decision.is_some_and(|decision| ledger.foresee(decision));
        }
        last.is_foreseen
    }

    /// Whether a decision has to wait for the append: it writes, or rests on what is written.
    pub(super) fn holds(&self, key: &str, decision: &DecisionOf<L>) -> bool {
        !decision.writes_nothing() || self.about.contains_key(key)
    }

    pub(super) fn push(
        &mut self,
        key: Box<str>,
        decision: DecisionOf<L>,
        reply: oneshot::Sender<L::Reply>,
    ) {
        let last = self.about.get(&key).map(|last| last.place);
        if !decision.writes_nothing() {
            let newest = Last {
                place: self.decisions.len(),
                is_foreseen: false,
            };
            self.about.insert(key, newest);
        }
        self.n_records += decision.records().count();
        self.decisions.push(decision);
        self.rests_on.push(last);
        self.replies.push(Some(reply));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_coordinators::{
        Answer, Batch, Corrupt, Deadline, Decision, Freed, Now, Origin, When,
    };
    use ottla_protocol::{LeaderEpoch, Offset, ProducerId, Refusal};
    use ottla_storage::producer::Verified;

    use super::*;
    use crate::coordinators::Pace;
    use crate::partitions::Partition;

    /// It foresees what is below a number, and remembers what that was.
    struct Numbers {
        foresees_below: u8,
        foreseen: Vec<u8>,
    }

    impl Ledger for Numbers {
        type Record = u8;
        type Reply = ();
        type Settings = ();
        type Around = ();
        type Errand = ();
        type Counts = ();

        const WHAT: &'static str = "numbers";
        const TOPIC: &'static str = "numbers";
        const CHECKS_SUMS: bool = false;
        const UNAVAILABLE: Refusal = Refusal::NotCoordinator;

        fn foresee(&mut self, decision: &Decision<u8, ()>) -> bool {
            let below = decision.records().all(|it| *it < self.foresees_below);
            if below {
                self.foreseen.extend(decision.records());
            }
            below
        }

        fn partition_for(_: &str, _: i32) -> i32 {
            0
        }

        fn new((): (), (): &(), _: LeaderEpoch) -> Self {
            Self {
                foresees_below: 0,
                foreseen: Vec::new(),
            }
        }

        fn load(
            &mut self,
            _: Offset,
            _: Origin,
            _: Option<&Bytes>,
            _: Option<&Bytes>,
        ) -> Result<(), Corrupt> {
            Ok(())
        }

        fn loaded(&mut self, _: Now) -> Decision<u8, ()> {
            writes(&[])
        }

        fn note_loaded(&self, _: &Partition) {}

        fn encode(record: &u8) -> (Bytes, Option<Bytes>) {
            (Bytes::copy_from_slice(&[*record]), None)
        }

        fn replay(&mut self, _: Offset, _: Origin, _: &u8) {}

        fn end_transaction(&mut self, _: Offset, _: ProducerId, _: bool) {}

        fn committed(&mut self, _: Offset) {}

        fn awaits_commit(&self) -> bool {
            false
        }

        fn next_errand(&mut self) -> Option<()> {
            None
        }

        fn next_timeout(&self) -> Option<Deadline> {
            None
        }

        fn handle_timeout(&mut self, _: Now) -> Option<Decision<u8, ()>> {
            None
        }

        fn abandoned(&mut self, it: Decision<u8, ()>, _: Refusal, _: Now) -> Decision<u8, ()> {
            it
        }

        fn unload(self, _: Refusal) -> Vec<Freed<()>> {
            Vec::new()
        }

        fn change_settings(&mut self, (): ()) {}

        fn refused((): (), _: Refusal) {}

        fn count(&self, (): &mut (), _: bool) {}
    }

    fn writes(records: &[u8]) -> Decision<u8, ()> {
        let batch = Batch {
            records: records.to_vec(),
            origin: Origin::Plain,
        };
        Decision {
            batches: vec![batch],
            reply: Answer::Nobody,
            released: Vec::new(),
            deadline: None,
        }
    }

    fn op(about: Option<&str>) -> Op<Numbers> {
        let (op, _) = Op::decide(Pace::InLine, Verified::NotAsked, |_: &mut Numbers, _| {
            writes(&[])
        });
        match about {
            Some(key) => op.only_about(key),
            None => op,
        }
    }

    fn push(gathered: &mut Gathered<Numbers>, key: &str, records: &[u8]) {
        gathered.push(key.into(), writes(records), oneshot::channel().0);
    }

    /// Whatever this machine does meanwhile, no time has passed.
    fn gathered() -> Gathered<Numbers> {
        Gathered {
            since: Instant::now() + Duration::from_secs(3600),
            ..Gathered::default()
        }
    }

    #[test]
    fn others_about_the_same_follow_what_is_foreseen() {
        let mut ledger = Numbers {
            foresees_below: 10,
            foreseen: Vec::new(),
        };
        let mut gathered = gathered();
        let mut takes = |gathered: &mut Gathered<Numbers>, about| {
            let takes = gathered.takes(Some(&op(about)), &mut ledger);
            (takes, ledger.foreseen.clone())
        };
        assert_eq!(
            takes(&mut gathered, None),
            (true, vec![]),
            "it is the first"
        );
        push(&mut gathered, "a", &[1, 2]);
        assert_eq!(takes(&mut gathered, None), (false, vec![]));
        assert_eq!(takes(&mut gathered, Some("b")), (true, vec![]));
        push(&mut gathered, "b", &[10]);
        assert_eq!(takes(&mut gathered, Some("a")), (true, vec![1, 2]));
        // Once is enough, also if the next one writes nothing.
        assert!(gathered.holds("a", &writes(&[])) && !gathered.holds("c", &writes(&[])));
        push(&mut gathered, "a", &[]);
        assert_eq!(takes(&mut gathered, Some("a")), (true, vec![1, 2]));
        push(&mut gathered, "a", &[3]);
        assert_eq!(takes(&mut gathered, Some("a")), (true, vec![1, 2, 3]));
        assert_eq!(takes(&mut gathered, Some("b")), (false, vec![1, 2, 3]));
        assert_eq!(gathered.rests_on, [None, None, Some(0), Some(0)]);
        assert!(!gathered.takes(None, &mut ledger));
    }

    #[test]
    fn what_may_rest_on_records_that_are_not_written_waits() {
        let mut ledger = Numbers::new((), &(), 0);
        let mut gathered = gathered();
        let look = Op::look(|_: &Numbers, _| (When::AtOnce, Box::new(|_| ())));
        let (one, other, all) = (op(Some("a")), op(Some("b")), op(None));
        for first in [&one, &all, &look] {
            let takes = gathered.takes(Some(first), &mut ledger);
            assert!(takes, "there is nothing to wait for");
        }
        push(&mut gathered, "a", &[1]);
        assert!(gathered.takes(Some(&other), &mut ledger));
        for waits in [&one, &all, &look] {
            assert!(!gathered.takes(Some(waits), &mut ledger));
        }
    }

    #[test]
    fn there_are_not_too_many() {
        let mut ledger = Numbers::new((), &(), 0);
        let mut takes =
            |gathered: &mut Gathered<Numbers>| gathered.takes(Some(&op(Some("x"))), &mut ledger);
        let mut many = gathered();
        for n in 0..GATHERED_MAX {
            assert!(takes(&mut many));
            push(&mut many, &n.to_string(), &[1]);
        }
        assert!(!takes(&mut many));
        let mut large = gathered();
        push(&mut large, "a", &[0; RECORDS_MAX - 1]);
        assert!(takes(&mut large));
        push(&mut large, "b", &[1]);
        assert!(!takes(&mut large));
        let mut slow = gathered();
        push(&mut slow, "a", &[1]);
        slow.since = Instant::now() - TIME_MAX;
        assert!(!takes(&mut slow));
        slow.decisions.clear();
        assert!(takes(&mut slow), "the first is always taken");
    }
}
