//! Length-prefixed frames in and out of a buffer.
