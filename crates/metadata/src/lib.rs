//! What the cluster is, and how it may change: records → image → decisions. All pure.
//!
//! | folder | says |
//! |---|---|
//! | `records` | what is written to the metadata log |
//! | `image` | what is true because of it: immutable, cheap to clone |
//! | `controller` | what may change: request + image → records + reply |
//! | `config` | the catalogue of settings |
//! | `quotas` | which of the image's client quotas counts for whom |
//! | `scram` | what is kept of a password |
//!
//! The first three hold the same file names, one per subject: topics, nodes, configs, …
//!
//! What must stay true: an image is exactly what the records say, whether it was built from the
//! log, from a snapshot, or by the controller that wrote them.

pub mod records;
pub mod image;
pub mod controller;
pub mod config;
pub mod quotas;
pub mod scram;
