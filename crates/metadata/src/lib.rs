//! (door to come)

pub mod config;
