//! Settings of a topic.

use super::definition::Definition;

pub(super) static TOPIC: &[Definition] = &[];
