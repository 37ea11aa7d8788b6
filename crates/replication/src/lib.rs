//! How the copies of one partition stay equal, as arithmetic: no files, no sockets, no clock.
//!
//! The host (`node`) owns the log and tells the rules what happened to it; the rules answer with
//! commands:
//!
//! ```text
//!   appended(end) ─┐                        ┌─> AssignEpoch { epoch, start }
//!   flushed(end)  ─┼─> Leader ─next_command─┼─> HighWatermark(offset)
//!   metadata      ─┘                        └─> (nothing)
//! ```
//!
//! What must stay true: `start ≤ last stable ≤ high watermark ≤ counted end ≤ end`, where the
//! counted end is the durable end if an acknowledgement means "on the disk", and the written end
//! if it means Kafka's habit. The high watermark never falls while one leader epoch lasts.
//!
//! Not here: the log itself (`storage`), who waits for a watermark (`node/parked.rs`).

mod leader;
mod in_sync;
mod watermark;
mod command;

pub use command::Command;
pub use in_sync::InSync;
pub use leader::{Acknowledgement, Assignment, InSyncChange, Leader, LogEnds};
pub use watermark::{Durability, high_watermark, last_stable};
