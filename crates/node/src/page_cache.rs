//! One thread for each log directory that looks after the page cache: see `ottla_storage::HotTail`.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ottla_storage::{HotTail, Window};

/// Windows that may wait: a disk that is behind by more has other troubles, and what finds no
/// place is left to the kernel.
const WAITING_MAX: usize = 64;

enum Word {
    Written(Window),
    Stop,
}

/// Where the logs of a directory leave what they have written.
pub(crate) struct PageCache {
    thread: SyncSender<Word>,
}

impl PageCache {
    /// Starts the thread, which keeps `n_bytes_hot` of the newest bytes in memory; it ends after
    /// [`Self::stop`].
    pub(crate) fn start(name: &str, n_bytes_hot: u64) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, words) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name(format!("pages-{name}"))
            .spawn(move || run(&words, HotTail::new(n_bytes_hot)))?;
        Ok((Self { thread: sender }, thread))
    }

    /// Never waits.
    pub(crate) fn written(&self, window: Window) {
        match self.thread.try_send(Word::Written(window)) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    pub(crate) fn stop(&self) {
        // A thread that is gone already has stopped.
        let _ = self.thread.send(Word::Stop);
    }
}

fn run(words: &Receiver<Word>, mut tail: HotTail) {
    while let Ok(Word::Written(window)) = words.recv() {
        window.begin_write_out();
        tail.push(window);
        while let Some(old) = tail.pop_surplus() {
            if !old.is_awaited() {
                old.give_back();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_ends_when_it_is_told() {
        let (pages, thread) = PageCache::start("test", 0).unwrap();
        pages.stop();
        thread.join().unwrap();
        pages.stop();
    }
}
