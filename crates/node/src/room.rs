//! Room that is reserved on one log directory's disk ahead of what its partitions write: see
//! `ottla_storage`'s `ahead`. Partitions ask; the directory's page thread reserves and gives back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ottla_storage::{NoRoom, StepBytes, room_allowed, room_granted};
use parking_lot::Mutex;

use crate::partitions::Partition;

/// Less is not worth a call: the file system finds so much together by itself.
const STEP_MIN: u64 = 1 << 20;
/// How often those that hold something are looked at: a log that rests gives back, and others may
/// have filled the disk.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// See the head of this file.
pub(crate) struct Room {
    /// Bytes that are free on the disk; none, if that cannot be told.
    usable: Box<dyn Fn() -> u64 + Send + Sync>,
    bytes: StepBytes,
    /// Nothing is given until the next look: there was less than was wanted.
    is_short: AtomicBool,
    /// The file system does not do it.
    is_off: AtomicBool,
    /// Reserved in all files together and not written yet, as of the last look.
    n_bytes_held: AtomicU64,
    holders: Mutex<Vec<Weak<Partition>>>,
}

impl Room {
    /// At most `n_bytes_max` for each partition; zero: none at all.
    pub(crate) fn new(n_bytes_max: u64, usable: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            usable: Box::new(usable),
            bytes: StepBytes::new(STEP_MIN, n_bytes_max),
            is_short: AtomicBool::new(false),
            is_off: AtomicBool::new(n_bytes_max < STEP_MIN),
            n_bytes_held: AtomicU64::new(0),
            holders: Mutex::default(),
        }
    }

    /// How much one partition may be given, if any is given now.
    pub(crate) fn open(&self) -> Option<&StepBytes> {
        let is_closed =
            self.is_off.load(Ordering::Relaxed) || self.is_short.load(Ordering::Relaxed);
        (!is_closed).then_some(&self.bytes)
    }

    pub(crate) fn n_bytes_held(&self) -> u64 {
        self.n_bytes_held.load(Ordering::Relaxed)
    }

    /// Whether `look` has something to look at.
    pub(crate) fn needs_look(&self) -> bool {
        self.is_short.load(Ordering::Relaxed) || !self.holders.lock().is_empty()
    }

    /// Reserves what the partition wants. On the page thread, since it may wait for the disk.
    pub(crate) fn serve(&self, partition: &Arc<Partition>) {
        if self.open().is_none() {
            return;
        }
        let now_ms = partition.wall_ms();
        let planned = partition.with_log(|log| {
            log.tidy_room(now_ms, &self.bytes);
            Ok(log.plan_room(now_ms, &self.bytes))
        });
        let Some(Ok(Some(stretch))) = planned else {
            return;
        };
        let (wanted, held) = (stretch.n_bytes(), self.n_bytes_held());
        let Some(granted) = room_granted(wanted, held, (self.usable)(), &self.bytes) else {
            self.is_short.store(true, Ordering::Relaxed);
            return;
        };
        if granted < wanted {
            self.is_short.store(true, Ordering::Relaxed);
        }
        let stretch = stretch.shortened(granted);
        let started = Instant::now();
        let outcome = stretch.reserve();
        partition.reserving_took(started.elapsed());
        partition.with_log(|log| {
            log.took_room(&stretch, outcome);
            Ok(())
        });
        self.hold(partition);
        match outcome {
            Ok(()) => {
                self.n_bytes_held.fetch_add(granted, Ordering::Relaxed);
            }
            Err(NoRoom::Full) => {
                self.give_back_all();
            }
            Err(NoRoom::Unsupported) => {
                tracing::debug!(partition = %partition.id(), "its file system reserves no room ahead");
                self.is_off.store(true, Ordering::Relaxed);
            }
        }
    }

    fn hold(&self, partition: &Arc<Partition>) {
        let mut holders = self.holders.lock();
        let one = Arc::downgrade(partition);
        if !holders.iter().any(|holder| holder.ptr_eq(&one)) {
            holders.push(one);
        }
    }

    /// Looks after all that hold something.
    pub(crate) fn look(&self) {
        let mut held = 0;
        for partition in self.holding() {
            let now_ms = partition.wall_ms();
            let ahead = partition.with_log(|log| {
                log.tidy_room(now_ms, &self.bytes);
                Ok(log.n_bytes_ahead())
            });
            match ahead {
                Some(Ok(n_bytes @ 1..)) => held += n_bytes,
                _ => self.release(&partition),
            }
        }
        self.n_bytes_held.store(held, Ordering::Relaxed);
        self.is_short.store(false, Ordering::Relaxed);
        if held > room_allowed((self.usable)(), held) {
            self.give_back_all();
        }
    }

    /// Gives back all that is held, because room is short; whether there was something. For the
    /// page thread, and for who has met the end of the disk.
    ///
    /// IMPORTANT: not with a partition's lock held, since each is taken in turn.
    pub(crate) fn give_back_all(&self) -> bool {
        self.is_short.store(true, Ordering::Relaxed);
        let mut given = 0;
        for partition in self.holding() {
            // IMPORTANT: first. What the page thread reserves behind it puts the partition back.
            self.release(&partition);
            if let Some(Ok(n_bytes)) = partition.with_log(|log| Ok(log.give_back_room())) {
                given += n_bytes;
            }
        }
        self.n_bytes_held.store(0, Ordering::Relaxed);
        given > 0
    }

    fn holding(&self) -> Vec<Arc<Partition>> {
        let mut holders = self.holders.lock();
        holders.retain(|holder| holder.strong_count() > 0);
        holders.iter().filter_map(Weak::upgrade).collect()
    }

    fn release(&self, partition: &Arc<Partition>) {
        let one = Arc::downgrade(partition);
        self.holders.lock().retain(|holder| !holder.ptr_eq(&one));
    }
}
