//! One thread for each log directory that looks after the page cache (`ottla_storage::HotTail`) and
//! the room that is reserved ahead (`room`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ottla_storage::{HotTail, Window};

use crate::partitions::Partition;
use crate::room::{LOOK_INTERVAL, Room};

/// Windows that may wait: a disk that is behind by more has other troubles, and what finds no
/// place is left to the kernel.
const WAITING_MAX: usize = 64;

enum Word {
    Written(Window),
    WantsRoom(Arc<Partition>),
    Stop,
}

/// Where the logs of a directory leave what they have written.
pub(crate) struct PageCache {
    thread: SyncSender<Word>,
    room: Arc<Room>,
}

impl PageCache {
    /// Starts the thread, which keeps `n_bytes_hot` of the newest bytes in memory; it ends after
    /// [`Self::stop`].
    pub(crate) fn start(
        name: &str,
        n_bytes_hot: u64,
        room: Room,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, words) = sync_channel(WAITING_MAX);
        let room = Arc::new(room);
        let given = room.clone();
        let thread = std::thread::Builder::new()
            .name(format!("pages-{name}"))
            .spawn(move || run(&words, HotTail::new(n_bytes_hot), &given))?;
        let pages = Self {
            thread: sender,
            room,
        };
        Ok((pages, thread))
    }

    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// Never waits.
    pub(crate) fn written(&self, window: Window) {
        self.try_send(Word::Written(window));
    }

    /// Never waits. Whether the thread will come to it.
    pub(crate) fn wants_room(&self, partition: &Arc<Partition>) -> bool {
        self.try_send(Word::WantsRoom(partition.clone()))
    }

    fn try_send(&self, word: Word) -> bool {
        match self.thread.try_send(word) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    pub(crate) fn stop(&self) {
        // A thread that is gone already has stopped.
        let _ = self.thread.send(Word::Stop);
    }
}

fn run(words: &Receiver<Word>, mut tail: HotTail, room: &Room) {
    let mut look_at = std::time::Instant::now();
    loop {
        if room.needs_look() && look_at.elapsed() >= LOOK_INTERVAL {
            room.look();
            look_at = std::time::Instant::now();
        }
        let word = if room.needs_look() {
            words.recv_timeout(LOOK_INTERVAL)
        } else {
            words.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match word {
            Ok(Word::Written(window)) => {
                window.begin_write_out();
                tail.push(window);
                while let Some(old) = tail.pop_surplus() {
                    if !old.is_awaited() {
                        old.give_back();
                    }
                }
            }
            Ok(Word::WantsRoom(partition)) => {
                partition.room_is_coming();
                room.serve(&partition);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Word::Stop) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_when_it_is_told() {
        let (pages, thread) = PageCache::start("test", 0, Room::new(0, || 0)).unwrap();
        pages.stop();
        thread.join().unwrap();
        pages.stop();
    }
}
