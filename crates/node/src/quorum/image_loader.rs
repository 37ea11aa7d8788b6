//! Where the newest image is, and who is told when it changes.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ottla_metadata::image::{Image, Published};
use parking_lot::Mutex;

/// Takes in what changed; may touch disks, so it runs on a blocking thread.
pub(crate) type Subscriber = Box<dyn Fn(&Published) + Send + Sync>;

/// The newest published image. Readers take it without waiting.
pub struct ImageFeed {
    image: ArcSwap<Image>,
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

    /// Who is told of every image from now on, in this order.
    pub(crate) fn subscribe(&self, subscribers: Vec<Subscriber>) {
        *self.subscribers.lock() = Arc::new(subscribers);
    }

    /// Shows an image, and returns when everyone has taken it in.
    pub(crate) async fn publish(self: &Arc<Self>, published: Published) {
        let subscribers = self.subscribers.lock().clone();
        self.image.store(published.image.clone());
        if published.changes.is_empty() || subscribers.is_empty() {
            return;
        }
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
