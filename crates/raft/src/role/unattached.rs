//! Knows an epoch, perhaps who leads it, but follows nobody.

use ottla_protocol::NodeId;

#[derive(Debug)]
pub(crate) struct Unattached {
    /// Known from the file, its endpoint not.
    pub(crate) leader: Option<NodeId>,
}
