//! Who reads committed records only, as Kafka's consumer does: up to the last stable offset, and
//! without what the answer's list of aborted transactions names.

use std::collections::BTreeSet;

use ottla_protocol::Offset;
use ottla_protocol::batch::{Batch, OPENED_BYTES_MAX, batches};
use ottla_protocol::batch_builder::EndMarker;
use ottla_storage::{AbortedTransaction, Fault, Isolation, Log, NotDone, ReadFrom};

use super::place::bytes_of;

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) place: usize,
    pub(super) position: Offset,
    /// All that it was given, in order.
    pub(super) values: Vec<(Offset, String)>,
    pub(super) n_skipped: u64,
}

impl Reader {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            position: 0,
            values: Vec::new(),
            n_skipped: 0,
        }
    }

    /// One Fetch; whether there was anything.
    pub(super) fn read(&mut self, log: &Log, max_bytes: usize) -> bool {
        let view = log.view();
        self.position = self.position.max(view.start());
        assert!(
            self.position <= view.end(),
            "place {}: {} was read, and the log ends at {}",
            self.place,
            self.position,
            view.end()
        );
        let from = ReadFrom {
            offset: self.position,
            isolation: Isolation::LastStable,
            max_bytes,
            at_least_one: true,
            with_aborted: true,
        };
        let fetched = match view.read(from) {
            Ok(fetched) => fetched,
            // The disk's affair; another Fetch may succeed.
            Err(NotDone::Fault(Fault::Io { .. })) => return false,
            Err(other) => panic!("place {}: {other}", self.place),
        };
        let Some(slice) = fetched.slice else {
            return false;
        };
        let bytes = bytes_of(&slice);
        let mut aborted = Aborted::new(fetched.aborted);
        let before = self.position;
        for batch in batches(&bytes) {
            let batch = batch.expect("a sound log has sound batches");
            assert!(
                batch.last_offset() < view.last_stable(),
                "place {}: {} is beyond the last stable offset",
                self.place,
                batch.last_offset()
            );
            self.take(batch, &mut aborted);
        }
        self.position > before
    }

    fn take(&mut self, batch: Batch<'_>, aborted: &mut Aborted) {
        let is_skipped = aborted.covers(batch);
        self.n_skipped += u64::from(is_skipped);
        if !is_skipped && !batch.is_control() {
            let payload = batch.payload(OPENED_BYTES_MAX).expect("it can be opened");
            for record in payload.records() {
                let record = record.expect("a sound batch has sound records");
                if record.offset >= self.position {
                    let value = record.value.unwrap_or_default();
                    let value = String::from_utf8_lossy(value).into_owned();
                    self.values.push((record.offset, value));
                }
            }
        }
        self.position = self.position.max(batch.next_offset());
    }
}

/// The aborted transactions of one answer.
struct Aborted {
    /// By their first offsets, the last one first.
    waiting: Vec<AbortedTransaction>,
    /// Producers in the midst of one.
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(mut waiting: Vec<AbortedTransaction>) -> Self {
        waiting.sort_by_key(|it| std::cmp::Reverse(it.first_offset));
        Self {
            waiting,
            open: BTreeSet::new(),
        }
    }

    /// Whether the batch belongs to an aborted transaction.
    fn covers(&mut self, batch: Batch<'_>) -> bool {
        if !batch.has_producer_id() {
            return false;
        }
        while let Some(next) = self.waiting.last()
            && next.first_offset <= batch.last_offset()
        {
            self.open.insert(next.producer_id);
            self.waiting.pop();
        }
        if is_abort(batch) {
            self.open.remove(&batch.producer_id());
            return false;
        }
        batch.is_transactional() && self.open.contains(&batch.producer_id())
    }
}

fn is_abort(batch: Batch<'_>) -> bool {
    if !batch.is_control() {
        return false;
    }
    let payload = batch.payload(OPENED_BYTES_MAX).expect("it can be opened");
    let first = payload.records().next();
    let marker = first.and_then(|record| {
        let record = record.expect("a sound batch has sound records");
        EndMarker::parse(record.key?, record.value?)
    });
    marker.is_some_and(|marker| !marker.is_commit)
}
