//! Any bytes as record batches: parsed, verified, walked in both ways, decompressed within a bound,
//! and built anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ottla_fuzz::{Counting, peak_of};
use ottla_protocol::batch::{Batch, batches, scan};
use ottla_protocol::batch_builder::rebuild;
use ottla_protocol::compress::Codec;

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a batch may decompress to here.
const OPENED_MAX: usize = 1 << 20;
/// The opened bytes while their vector grows, what a codec keeps for itself, and the batch.
const MEMORY_MAX: usize = 3 * OPENED_MAX + (4 << 20);

fuzz_target!(|input: &[u8]| {
    for batch in batches(input).map_while(Result::ok) {
        let (_, peak) = peak_of(|| one_batch(batch));
        assert!(
            peak <= MEMORY_MAX + 3 * input.len(),
            "{peak} bytes for {}",
            input.len()
        );
    }
});

fn one_batch(batch: Batch<'_>) {
    let _ = batch.verify_crc();
    let _ = (
        batch.last_offset(),
        batch.next_offset(),
        batch.last_sequence(),
        batch.n_offsets(),
    );
    let _ = (batch.delete_horizon(), batch.timestamp_kind());
    let walked = walk(batch);
    let mut n_scanned = 0;
    let scanned = scan(batch, OPENED_MAX, |_| n_scanned += 1);
    assert_eq!(
        walked.is_some(),
        scanned.is_ok(),
        "one walk liked it: {walked:?} {scanned:?}"
    );
    let Some(n_walked) = walked else { return };
    assert_eq!(n_walked, n_scanned);
    if let Ok(built) = rebuild(batch, Codec::None.into(), OPENED_MAX) {
        let again = Batch::parse(&built).expect("what we build can be parsed");
        again.verify_crc().expect("and has the right CRC");
        assert_eq!(walk(again), Some(n_walked));
    }
}

/// How many records there are; `None` where the batch is broken.
fn walk(batch: Batch<'_>) -> Option<usize> {
    let payload = batch.payload(OPENED_MAX).ok()?;
    let mut n = 0;
    for record in payload.records() {
        let record = record.ok()?;
        let in_headers: usize = record.headers.iter().map(|header| header.key.len()).sum();
        assert!(in_headers <= record.size);
        n += 1;
    }
    Some(n)
}
