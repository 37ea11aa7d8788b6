//! Chance, for spreading pauses and choosing among equals. Not for secrets.

/// From 0 up to 1.
pub(crate) fn fraction() -> f64 {
    f64::from(number()) / (f64::from(u32::MAX) + 1.0)
}

/// One of `n`; 0 if there is nothing to choose.
pub(crate) fn below(n: usize) -> usize {
    (number() as usize).checked_rem(n).unwrap_or_default()
}

/// Enough for a name that nobody else has.
pub(crate) fn bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    for part in bytes.chunks_exact_mut(4) {
        part.copy_from_slice(&number().to_be_bytes());
    }
    bytes
}

/// Where the system has no chance to give, everybody chooses the same; nothing depends on it.
fn number() -> u32 {
    getrandom::u32().unwrap_or_default()
}
