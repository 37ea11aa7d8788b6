//! From committed records to published images, in the order of the log.
//!
//! What stands in an open metadata transaction is held back until its end, and dropped if it is
//! aborted: a listener never sees half of one.

use std::sync::Arc;

use super::{Changes, Corrupt, Delta, Image, Provenance};
use crate::records::Record;

/// An image to hand to whoever listens.
#[derive(Debug, Clone)]
pub struct Published {
    pub image: Arc<Image>,
    pub changes: Changes,
}

#[derive(Debug, Clone)]
pub struct Loader {
    delta: Delta,
    /// What stood before the open transaction.
    before: Option<Delta>,
    provenance: Provenance,
    published: Arc<Image>,
}

impl Default for Loader {
    fn default() -> Self {
        Self::new(Image::default())
    }
}

impl Loader {
    /// Begin with an image from a snapshot, or an empty one.
    pub fn new(image: Image) -> Self {
        Self {
            delta: Delta::new(&image),
            before: None,
            provenance: image.provenance,
            published: Arc::new(image),
        }
    }

    /// The records of one committed batch. `through` is where it ends.
    pub fn replay<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
        through: Provenance,
    ) -> Result<(), Corrupt> {
        for record in records {
            self.replay_one(record)?;
        }
        self.provenance = through;
        Ok(())
    }

    fn replay_one(&mut self, record: &Record) -> Result<(), Corrupt> {
        match record {
            Record::BeginTransaction(_) if self.before.is_some() => {
                Err(Corrupt::new("a metadata transaction begins inside another"))
            }
            Record::BeginTransaction(_) => {
                self.before = Some(self.delta.clone());
                Ok(())
            }
            Record::EndTransaction(_) => self.close().map(|_| ()),
            Record::AbortTransaction(_) => {
                self.delta = self.close()?;
                Ok(())
            }
            record => self.delta.replay(record),
        }
    }

    fn close(&mut self) -> Result<Delta, Corrupt> {
        self.before
            .take()
            .ok_or_else(|| Corrupt::new("no metadata transaction is open"))
    }

    pub fn is_in_transaction(&self) -> bool {
        self.before.is_some()
    }

    /// What was published last.
    pub fn image(&self) -> &Arc<Image> {
        &self.published
    }

    /// The next image; `None` inside a transaction, or if no record came since the last one. An
    /// image may differ in nothing but how far it goes.
    pub fn publish(&mut self) -> Option<Published> {
        if self.is_in_transaction() || self.provenance == self.published.provenance {
            return None;
        }
        let delta = std::mem::replace(&mut self.delta, Delta::new(&self.published));
        let (image, changes) = delta.apply(self.provenance);
        self.delta = Delta::new(&image);
        self.published = Arc::new(image);
        Some(Published {
            image: self.published.clone(),
            changes,
        })
    }
}
