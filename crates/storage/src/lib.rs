//! (door to come)

pub mod producer;
pub mod validate;
