//! A ledger as its host sees it: the one shape that groups and transactions share.

use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinators::{Corrupt, Deadline, Decision, Freed, Now, Origin};
use ottla_protocol::{LeaderEpoch, Offset, ProducerId, Refusal};

use crate::partitions::Partition;

/// Where the errands of a host's ledgers go.
pub(super) type Errands<L> = Arc<dyn Fn(<L as Ledger>::Errand) + Send + Sync>;

/// See the head of this file. What is not said here is said in `ottla_coordinators`.
///
/// A decision about one key rests on no records of another.
pub(crate) trait Ledger: Sized + Send + 'static {
    type Record: Send + 'static;
    type Reply: Send + 'static;
    type Settings: Clone + PartialEq + Send + Sync + 'static;
    /// What the ledger is lent by its host.
    type Around: Clone + Send + Sync + 'static;
    /// What the host is to do elsewhere.
    type Errand: Send + 'static;
    /// What metrics show of one partition.
    type Counts: Clone + Default + Send + Sync + 'static;

    /// What it keeps, for log lines.
    const WHAT: &'static str;
    const TOPIC: &'static str;
    /// Whether a batch whose checksum is wrong makes its log unreadable, though it parses.
    const CHECKS_SUMS: bool;
    /// What is said about a partition whose log cannot be read, or is to be read again.
    const UNAVAILABLE: Refusal;

    /// Lets others be decided about the same key before this one is written, as if it were. `false`
    /// if that cannot be. What is foreseen is replayed, or taken back.
    fn foresee(&mut self, _: &Decision<Self::Record, Self::Reply>) -> bool {
        false
    }

    /// Not all that is foreseen has been written: none of it counts as replayed any more.
    fn take_back(&mut self) {}

    fn partition_for(key: &str, n_partitions: i32) -> i32;
    fn new(settings: Self::Settings, around: &Self::Around, epoch: LeaderEpoch) -> Self;
    fn load(
        &mut self,
        offset: Offset,
        origin: Origin,
        key: Option<&Bytes>,
        value: Option<&Bytes>,
    ) -> Result<(), Corrupt>;
    fn loaded(&mut self, now: Now) -> Decision<Self::Record, Self::Reply>;
    fn note_loaded(&self, partition: &Partition);
    fn encode(record: &Self::Record) -> (Bytes, Option<Bytes>);
    fn replay(&mut self, offset: Offset, origin: Origin, record: &Self::Record);
    fn end_transaction(&mut self, offset: Offset, producer: ProducerId, committed: bool);
    fn committed(&mut self, end: Offset);
    /// Whether an errand waits for its record to be committed.
    fn awaits_commit(&self) -> bool;
    fn next_errand(&mut self) -> Option<Self::Errand>;
    fn next_timeout(&self) -> Option<Deadline>;
    fn handle_timeout(&mut self, now: Now) -> Option<Decision<Self::Record, Self::Reply>>;
    fn abandoned(
        &mut self,
        decision: Decision<Self::Record, Self::Reply>,
        cause: Refusal,
        now: Now,
    ) -> Decision<Self::Record, Self::Reply>;
    fn unload(self, refusal: Refusal) -> Vec<Freed<Self::Reply>>;
    fn change_settings(&mut self, settings: Self::Settings);
    fn refused(reply: Self::Reply, refusal: Refusal) -> Self::Reply;
    /// `walk`: what costs a walk over all of it is due, too.
    fn count(&self, counts: &mut Self::Counts, walk: bool);
}
