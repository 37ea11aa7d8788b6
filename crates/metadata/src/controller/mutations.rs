//! What `controller_mutation_rate` says of partitions that are about to be made or deleted.

use ottla_protocol::Refused;

/// Asked once for each topic, when all else is in order.
pub trait Mutations {
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED`
    fn take(&mut self, n_partitions: usize) -> Result<(), Refused>;
}

/// Nobody's quota.
#[derive(Debug, Clone, Copy)]
pub struct Unmetered;

impl Mutations for Unmetered {
    fn take(&mut self, _: usize) -> Result<(), Refused> {
        Ok(())
    }
}
