//! Opening the logs that were found at the start, while clients are served: whoever asks for a
//! partition whose log is not open yet is told to come back.

use std::sync::Arc;

use std::thread::JoinHandle;
use std::time::Duration;

use ottla_protocol::TopicPartition;
use ottla_storage::{Directories, Found, LoadedLog, Progress};
use tokio::sync::watch;

/// Between two lines that say how far it is.
const TELL_INTERVAL: Duration = Duration::from_secs(2);

/// How far the logs of a node are open.
pub(crate) struct Opening {
    progress: Arc<Progress>,
    is_done: watch::Sender<bool>,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            progress: Arc::default(),
            is_done: watch::channel(false).0,
        }
    }
}

impl Opening {
    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn is_done(&self) -> bool {
        *self.is_done.borrow()
    }

    /// Resolves when every log is open, or cannot be.
    pub(crate) async fn done(&self) {
        let mut is_done = self.is_done.subscribe();
        // The sender lives as long as `self`.
        let _ = is_done.wait_for(|is_done| *is_done).await;
    }

    /// Opens what was found on threads of its own, and hands each log over as soon as it is open.
    pub(crate) fn begin(
        self: &Arc<Self>,
        directories: Arc<Directories>,
        found: Found,
        n_threads: usize,
        admit: impl Fn(Result<LoadedLog, TopicPartition>) + Send + Sync + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let opening = self.clone();
        std::thread::Builder::new()
            .name("open-logs".into())
            .spawn(move || {
                opening.run(&directories, found, n_threads, &admit);
                opening.is_done.send_replace(true);
            })
    }

    fn run(
        &self,
        directories: &Directories,
        found: Found,
        n_threads: usize,
        admit: &(dyn Fn(Result<LoadedLog, TopicPartition>) + Sync),
    ) {
        let started = std::time::Instant::now();
        let told = parking_lot::Mutex::new(started);
        directories.open_found(found, n_threads, &self.progress, &|opened| {
            admit(opened);
            if let Some(mut told) = told.try_lock()
                && told.elapsed() >= TELL_INTERVAL
            {
                *told = std::time::Instant::now();
                let progress = &self.progress;
                tracing::info!(
                    done = progress.n_done(),
                    total = progress.n_logs(),
                    bytes_left = progress.n_bytes_left(),
                    "opening logs"
                );
            }
        });
        let (done, total) = (self.progress.n_done(), self.progress.n_logs());
        if total > 0 {
            let took_ms = started.elapsed().as_millis();
            tracing::info!(done, total, took_ms, "logs opened");
        }
    }

    /// Ends it before all is open. The thread is the caller's to join.
    pub(crate) fn stop(&self) {
        self.progress.stop();
    }
}
