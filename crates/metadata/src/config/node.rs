//! Settings of a node.

use super::definition::Definition;

pub(super) static NODE: &[Definition] = &[];
