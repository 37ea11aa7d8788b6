//! Where the newest image is, and who is told when it changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_metadata::image::{Image, Published};
use tokio::sync::Mutex;

/// Takes in what changed; may touch disks, so it runs on a blocking thread.
pub(crate) type Subscriber = Box<dyn Fn(&Published) + Send + Sync>;

/// The newest published image. Readers take it without waiting.
pub struct ImageFeed {
    image: ArcSwap<Image>,
    /// Held while they are told.
    subscribers: Mutex<Arc<Vec<Subscriber>>>,
}

impl ImageFeed {
    pub(crate) fn new(image: Arc<Image>) -> Arc<Self> {
        Arc::new(Self {
            image: ArcSwap::new(image),
            subscribers: Mutex::default(),
        })
    }

    pub fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    /// Who is told of every image from now on, in this order. When it returns, nobody who was told
    /// before is still at work.
    ///
    /// IMPORTANT: it waits for those who are. They wait for locks and disks, never for whoever calls
    /// this or for the controller, which itself waits for them.
    pub(crate) async fn subscribe(&self, subscribers: Vec<Subscriber>) {
        *self.subscribers.lock().await = Arc::new(subscribers);
    }

    /// Shows an image, and returns when everyone has taken it in.
    pub(crate) async fn publish(self: &Arc<Self>, published: Published) {
        let held = self.subscribers.lock().await;
        self.image.store(published.image.clone());
        if published.changes.is_empty() || held.is_empty() {
            return;
        }
        let subscribers = held.clone();
        let told = tokio::task::spawn_blocking(move || {
            for subscriber in subscribers.iter() {
                subscriber(&published);
            }
        });
        if let Err(panic) = told.await {
            tracing::error!(%panic, "a change of the metadata could not be taken in");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_metadata::image::Changes;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn nobody_is_still_at_work_once_others_subscribe() {
        let feed = ImageFeed::new(Arc::default());
        let (told, mut is_told) = tokio::sync::mpsc::channel(1);
        let (release, released) = mpsc::channel::<()>();
        let released = parking_lot::Mutex::new(released);
        let is_done = Arc::new(AtomicBool::new(false));
        let done = is_done.clone();
        let slow: Subscriber = Box::new(move |_| {
            told.blocking_send(()).unwrap();
            // Whoever does not wait for this has its turn here.
            let _ = released.lock().recv_timeout(Duration::from_millis(100));
            done.store(true, Ordering::Release);
        });
        feed.subscribe(vec![slow]).await;
        let published = Published {
            image: Arc::default(),
            changes: Changes {
                features: true,
                ..Changes::default()
            },
        };
        let publishing = tokio::spawn({
            let feed = feed.clone();
            async move { feed.publish(published).await }
        });
        is_told.recv().await.unwrap();
        feed.subscribe(Vec::new()).await;
        assert!(is_done.load(Ordering::Acquire));
        drop(release);
        publishing.await.unwrap();
    }
}
