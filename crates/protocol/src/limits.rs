//! What we refuse to parse, and why. Memory asked for by a stranger is bounded by what it sent.

/// Largest frame by default: `socket.request.max.bytes`.
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Elements reserved before the first one was seen; beyond that a vector grows as they arrive.
pub const ARRAY_RESERVE_MAX: usize = 1024;

/// Memory that decoded arrays may take, per byte of the message. The worst honest case is a list
/// of one-letter strings: two bytes on the wire, 32 in memory.
pub const MEMORY_PER_BYTE: usize = 16;

/// What every message may take besides, so that small ones need no care.
pub const MEMORY_ALLOWANCE: usize = 64 * 1024;

/// The most that the arrays of one message may take, however large its frame: a frame near the
/// limit is records, and those are never copied.
pub const MEMORY_MAX: usize = 256 * 1024 * 1024;

/// Memory for the arrays of a message of this length.
pub const fn memory_budget(message_bytes: usize) -> usize {
    let budget = message_bytes
        .saturating_mul(MEMORY_PER_BYTE)
        .saturating_add(MEMORY_ALLOWANCE);
    if budget < MEMORY_MAX {
        budget
    } else {
        MEMORY_MAX
    }
}
