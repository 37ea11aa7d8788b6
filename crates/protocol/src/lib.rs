//! Words and bytes: the vocabulary that every floor shares, and how it looks on the wire and in files.
//!
//! Everything here is pure: bytes in, values out. No clocks, files, sockets or threads.
//!
//! | file | what lives there |
//! |---|---|
//! | `names` | offsets, epochs, ids, topic ids |
//! | `refusal` | Kafka's error codes as answers |
//! | `scram` | the mechanisms of SCRAM |
//! | `limits` | what we refuse to parse, and why |
//! | `field` | the codec runtime under the `Message` derive |
//! | `frame`, `header` | what stands around a message |
//! | `messages` | one file per API |
//! | `fetch_reply` | a Fetch response around file slices |
//! | `batch`, `batch_builder`, `compress`, `epochs` | record batches and leader epochs |

// The derive writes paths that start with `::ottla_protocol`, also inside this crate.
extern crate self as ottla_protocol;

// Vocabulary.
pub mod names;
pub mod refusal;
pub mod scram;

// The codec, and what stands around a message.
pub mod limits;

pub mod field;

pub mod frame;
pub mod header;

pub mod messages;

pub mod fetch_reply;

// Record batches.
pub mod batch;
pub mod batch_builder;
pub mod compress;
pub mod epochs;

#[doc(hidden)]
pub mod testing;

pub use field::{
    Malformed, Message, Reader, Request, Unsupported, Version, Versioned, Writer, decode_body,
    decode_request, encode_body,
};
pub use names::{
    LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, Text, TopicPartition, Uuid,
};
pub use refusal::{NONE, Refusal, Refused};
pub use scram::ScramMechanism;
