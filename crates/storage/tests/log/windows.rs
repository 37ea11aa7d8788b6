//! What a log hands out for the page cache, and that nothing is lost by giving it back.

use bytes::Bytes;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::{Isolation, Log, LogConfig, ReadFrom};

use crate::stand::*;

const MIB: usize = 1 << 20;

fn batch() -> Bytes {
    let mut builder = BatchBuilder::data(Codec::None);
    builder.push(NOW, None, Some(&vec![b'x'; MIB - 1000]));
    builder.finish()
}

fn read(log: &Log, offset: i64) -> Vec<u8> {
    let from = ReadFrom {
        offset,
        isolation: Isolation::LogEnd,
        max_bytes: 1,
        at_least_one: true,
        with_aborted: false,
    };
    bytes_of(&log.view().read(from).unwrap().slice.unwrap())
}

#[test]
fn a_window_is_handed_out_once_it_is_full_and_reads_as_before_when_given_back() {
    let place = tempfile::tempdir().unwrap();
    let mut log = open(place.path(), LogConfig::default());
    let batch = batch();
    let mut windows = Vec::new();
    for _ in 0..17 {
        append(&mut log, &batch).unwrap();
        windows.extend(log.take_window());
    }
    assert_eq!(
        windows.len(),
        1,
        "17 MiB less 17 KB: the second is not full"
    );
    let before = read(&log, 0);
    log.flush().unwrap();
    windows[0].begin_write_out();
    windows[0].give_back();
    assert_eq!(read(&log, 0), before);
    assert_holds_bytes(&log, 17);
}

fn assert_holds_bytes(log: &Log, n: i64) {
    for offset in 0..n {
        assert!(read(log, offset).len() > MIB - 1000, "{offset}");
    }
}

#[test]
fn who_reads_in_an_older_segment_is_awaited_and_who_follows_the_end_is_not() {
    let place = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 10 * MIB as u32,
        ..LogConfig::default()
    };
    let mut log = open(place.path(), config);
    let batch = batch();
    let mut windows = Vec::new();
    while windows.len() < 2 {
        append(&mut log, &batch).unwrap();
        windows.extend(log.take_window());
    }
    assert_eq!(log.n_segments(), 2);
    read(&log, log.end() - 1);
    assert!(!windows[0].is_awaited());
    read(&log, 0);
    assert!(windows[0].is_awaited() && windows[1].is_awaited());
}
