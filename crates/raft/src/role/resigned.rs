//! Led this epoch and leads it no more: after a shutdown, or because the file says that an earlier
//! life of this node led it. It must not lead the same epoch again, since its log may have lost
//! what it once acknowledged as leader.

#[derive(Debug)]
pub(crate) struct Resigned;
