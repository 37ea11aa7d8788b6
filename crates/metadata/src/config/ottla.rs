//! Ottla's own settings. They come from file, environment or flag only and never enter the metadata log.

use super::definition::Definition;

pub(super) static OTTLA: &[Definition] = &[];
