//! Any bytes as a connection's input: frames, headers, requests of every key and version. Keys from
//! 0x4000 on are read as responses, which our client gets from strangers too.
//!
//! Nothing may panic or take more memory than its bytes justify, and what can be read can be
//! written, and then says the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ottla_fuzz::{Counting, peak_of};
use ottla_protocol::header::RequestStart;
use ottla_protocol::limits::memory_budget;
use ottla_protocol::messages::*;
use ottla_protocol::{Reader, Versioned, decode_body, encode_body, frame};

#[path = "../../crates/protocol/tests/every/mod.rs"]
mod every;

#[global_allocator]
static COUNTING: Counting = Counting;

const FRAME_MAX: usize = 1 << 20;
const RESPONSES_FROM: i16 = 0x4000;
/// A vector that grows holds its old and its new half for a moment.
const GROWTH: usize = 3;

fuzz_target!(|input: &[u8]| {
    let mut buffer = BytesMut::from(input);
    while let Ok(Some(frame)) = frame::take(&mut buffer, FRAME_MAX) {
        one_frame(frame);
    }
    let _ = frame::at_end(&buffer, FRAME_MAX);
});

fn one_frame(frame: Bytes) {
    let mut reader = Reader::new(frame);
    let Ok(start) = RequestStart::decode(&mut reader) else {
        return;
    };
    let version = start.api_version;
    macro_rules! one {
        ($message:ident) => {
            let is_request = $message::NAME.ends_with("Request");
            let is_response = $message::NAME.ends_with("Response");
            if is_request && start.api_key == $message::KEY && $message::knows(version) {
                let flexible = $message::version(version).flexible;
                if start.rest(&mut reader, flexible).is_ok() {
                    return body::<$message>(reader.rest(), version);
                }
                return;
            }
            if is_response && start.api_key == $message::KEY + RESPONSES_FROM {
                return body::<$message>(reader.rest(), version);
            }
        };
    }
    every_message!(one);
}

fn body<M: Versioned>(bytes: Bytes, version: i16) {
    let n = bytes.len();
    let (read, peak) = peak_of(|| decode_body::<M>(bytes, version));
    assert!(
        peak <= GROWTH * memory_budget(n),
        "{}: {peak} bytes for {n}",
        M::NAME
    );
    let Ok(message) = read else { return };
    let written = encode_body(&message, version).expect("what was read can be written");
    let again = decode_body::<M>(written.clone(), version).expect("and read again");
    assert_eq!(
        encode_body(&again, version).expect("and written again"),
        written
    );
}
