//! The ledger as a whole: scripts, random histories, and bytes that a real Kafka wrote.

mod host;
mod script;
mod mixed;
mod history;
mod consumers;
mod consumer_rules;
mod consumer_history;
mod foreseen;
mod golden;
mod run;
