//! The ledger as a whole: scripts, random histories, and bytes that a real Kafka wrote.

mod host;
mod script;
mod judge;
mod history;
mod golden;
