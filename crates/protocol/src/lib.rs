//! (door to come)

pub mod batch;
pub mod batch_builder;
pub mod compress;
pub mod epochs;
