//! Settings of a group, and of a client metrics subscription.

use super::definition::Definition;

pub(super) static GROUP: &[Definition] = &[];
pub(super) static CLIENT_METRICS: &[Definition] = &[];
