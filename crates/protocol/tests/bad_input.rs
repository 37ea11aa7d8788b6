//! Bytes that are no message: every message at every version ends in `Malformed`, without a panic
//! and without more memory than its bytes justify.

// The allocator below counts what one decode asks for; there is no safe way to write one.
#![allow(unsafe_code)]

mod every;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::RangeInclusive;

use bytes::Bytes;
use ottla_protocol::field::Why;
use ottla_protocol::limits::memory_budget;
use ottla_protocol::messages::*;
use ottla_protocol::testing::{Sample, Sampler};
use ottla_protocol::{Versioned, decode_body, encode_body};

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// A thread that ends has no counters left; what it frees then is of no interest.
fn count(held: impl FnOnce(usize) -> usize) {
    let _ = HELD.try_with(|cell| {
        cell.set(held(cell.get()));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(cell.get())));
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|held| held + layout.size());
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(|held| held.saturating_sub(layout.size()));
        // SAFETY: the pointer came from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that was held at once while `work` ran, beyond what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, PEAK.get().saturating_sub(before))
}

/// A vector that grows holds its old and its new half for a moment.
const GROWTH: usize = 3;

fn decode_within_bounds<M: Versioned>(bytes: Bytes, version: i16) -> Result<M, Why> {
    let n = bytes.len();
    let (result, peak) = peak_of(|| decode_body::<M>(bytes, version));
    assert!(
        peak <= GROWTH * memory_budget(n),
        "{} v{version}: {peak} bytes for a message of {n}",
        M::NAME
    );
    result.map_err(|malformed| malformed.why)
}

fn versions<M: Versioned>() -> RangeInclusive<i16> {
    M::VERSIONS.0..=M::VERSIONS.1
}

fn sample<M: Versioned + Sample>(version: i16, seed: u64) -> Bytes {
    let message = M::sample(&mut Sampler::full(seed), M::version(version));
    encode_body(&message, version).unwrap()
}

fn cut_anywhere<M: Versioned + Sample>() {
    for version in versions::<M>() {
        let whole = sample::<M>(version, 1);
        for n in 0..whole.len() {
            let cut = decode_within_bounds::<M>(whole.slice(..n), version);
            assert!(
                cut.is_err(),
                "{} v{version} cut at {n} of {}",
                M::NAME,
                whole.len()
            );
        }
        let surplus = [&whole[..], &[0]].concat();
        let surplus = decode_within_bounds::<M>(surplus.into(), version);
        assert!(surplus.is_err(), "{} v{version}", M::NAME);
    }
}

/// At every place: numbers that claim the largest, the most negative and the longest.
fn poisoned_anywhere<M: Versioned + Sample>() {
    let poisons: [&[u8]; 7] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xfe],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0xff],
        &[0],
    ];
    for version in versions::<M>() {
        let whole = sample::<M>(version, 2);
        for poison in poisons {
            for at in 0..whole.len() {
                let mut bytes = whole.to_vec();
                let end = bytes.len().min(at + poison.len());
                bytes[at..end].copy_from_slice(&poison[..end - at]);
                // A number may well be that large; only panics and memory are at stake.
                let _ = decode_within_bounds::<M>(bytes.into(), version);
            }
        }
    }
}

fn noise<M: Versioned + Sample>() {
    let mut sampler = Sampler::wild(3);
    for version in versions::<M>() {
        for _ in 0..200 {
            let mut bytes = sample::<M>(version, sampler.number() % 16).to_vec();
            for _ in 0..1 + sampler.number() % 4 {
                let n = bytes.len().max(1) as u64;
                let at = (sampler.number() % n) as usize;
                match sampler.number() % 3 {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at.min(bytes.len()), sampler.number() as u8),
                    _ => {
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = sampler.number() as u8;
                        }
                    }
                }
            }
            if let Ok(message) = decode_within_bounds::<M>(bytes.into(), version) {
                // What could be read can be said again, and means the same.
                let again = encode_body(&message, version);
                assert!(again.is_ok(), "{} v{version}: {again:?}", M::NAME);
            }
        }
    }
}

macro_rules! on_every_message {
    ($($check:ident)*) => {$(
        #[test]
        fn $check() {
            macro_rules! one {
                ($message:ident) => {
                    super::$check::<$message>()
                };
            }
            every_message!(one);
        }
    )*};
}

mod of_every_message {
    use super::*;

    on_every_message!(cut_anywhere poisoned_anywhere noise);
}

#[test]
fn huge_arrays_reserve_nothing() {
    // Four bytes that ask for two thousand million topics.
    let fixed = decode_within_bounds::<MetadataRequest>(Bytes::from_static(&[0x7f; 4]), 0);
    assert_eq!(fixed, Err(Why::TooManyElements));
    let compact = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
    assert_eq!(
        decode_within_bounds::<MetadataRequest>(compact, 12),
        Err(Why::TooManyElements)
    );
    // As many as the bytes can hold, each 32 times as large in memory as on the wire.
    let n = 1 << 20;
    let mut keys = vec![0, 0x81, 0x80, 0x40];
    keys.resize(keys.len() + n, 0);
    keys.push(0);
    let keys = decode_within_bounds::<FindCoordinatorRequest>(keys.into(), 6);
    assert_eq!(keys, Err(Why::OverBudget));
}

#[test]
fn each_kind_of_bad_length_has_its_name() {
    let why = |bytes: &'static [u8], version| {
        decode_body::<MetadataRequest>(Bytes::from_static(bytes), version)
            .unwrap_err()
            .why
    };
    assert_eq!(why(&[0, 0, 0, 1, 0xff, 0xfe], 4), Why::Null);
    assert_eq!(why(&[0, 0, 0, 1, 0xff, 0xff], 4), Why::Null);
    assert_eq!(why(&[0, 0, 0, 1, 0, 9, b'a'], 4), Why::Truncated);
    assert_eq!(why(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], 12), Why::LongVarint);
    assert_eq!(why(&[2, 0xff, 0xff, 0xff, 0xff, 0x7f], 9), Why::LongVarint);
    assert_eq!(why(&[0, 1, 0, 0], 9), Why::Truncated);
    assert_eq!(why(&[], 14), Why::Version);
}
