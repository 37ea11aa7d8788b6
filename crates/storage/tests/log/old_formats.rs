//! Messages of magic 0 and 1, as logs of before Kafka 0.11 hold them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ottla_protocol::batch::legacy::written::{message, packed};
use ottla_protocol::batch::{Batch, peek, stamp};
use ottla_protocol::batch_builder::{BatchBuilder, modern};
use ottla_protocol::compress::Codec;
use ottla_storage::{
    Disk, Isolation, Log, LogConfig, LogView, OffsetQuery, OpenLog, Outcome, ReadFrom,
};

use crate::compacting::{Owner, clean};
use crate::stand::*;

const SECOND: i64 = 1000;

/// Three records, of which the middle one is the newest; `last` is the offset of the last.
fn three(magic: i8, codec: Codec, last: i64, timestamp: i64) -> Vec<u8> {
    let mut inner = Vec::new();
    for (i, at) in [(0, 0), (1, 9), (2, 5)] {
        let offset = if magic == 0 { last - 2 + i } else { i };
        let (key, value) = (format!("packed {i}"), format!("{last}"));
        let place = (offset, timestamp + at);
        inner.extend(message(
            magic,
            0,
            place,
            Some(key.as_bytes()),
            Some(value.as_bytes()),
        ));
    }
    packed(magic, codec, (last, timestamp + 9), &inner)
}

fn one(magic: i8, offset: i64, key: &str) -> Vec<u8> {
    let value = format!("{offset}");
    let place = (offset, NOW + offset * SECOND);
    message(
        magic,
        0,
        place,
        Some(key.as_bytes()),
        Some(value.as_bytes()),
    )
}

/// Of both formats, packed and not; then a batch of today.
fn relics() -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..20 {
        bytes.extend(one((n % 2) as i8, n, &format!("k{}", n % 5)));
    }
    for (n, codec) in [Codec::Gzip, Codec::Snappy, Codec::Lz4]
        .into_iter()
        .enumerate()
    {
        let last = 24 + n as i64 * 5;
        bytes.extend(three((n % 2) as i8, codec, last, NOW + last * SECOND));
    }
    let mut batch = BatchBuilder::data(Codec::None);
    batch.push(NOW + 50 * SECOND, Some(b"k1"), Some(b"40"));
    let mut batch = batch.finish().to_vec();
    stamp(&mut batch, 40, 4);
    bytes.extend(batch);
    bytes
}

fn write(place: &Path) {
    fs::write(place.join("leader-epoch-checkpoint"), "0\n2\n0 0\n3 20\n").unwrap();
    fs::write(place.join("00000000000000000000.log"), relics()).unwrap();
}

fn fetch(view: &LogView, offset: i64) -> Vec<u8> {
    let from = ReadFrom {
        offset,
        isolation: Isolation::LogEnd,
        max_bytes: 1 << 20,
        at_least_one: true,
        with_aborted: false,
    };
    bytes_of(&view.read(from).unwrap().slice.unwrap())
}

/// Offset to key and value.
fn records(bytes: &[u8]) -> BTreeMap<i64, (String, String)> {
    let mut found = BTreeMap::new();
    for batch in ottla_protocol::batch::batches(&modern(bytes).unwrap()) {
        for record in batch.unwrap().payload(1 << 20).unwrap().records() {
            let record = record.unwrap();
            let text = |field: Option<&[u8]>| String::from_utf8_lossy(field.unwrap()).into_owned();
            found.insert(record.offset, (text(record.key), text(record.value)));
        }
    }
    found
}

#[test]
fn they_are_served_as_they_lie_and_found_by_offset_and_time() {
    for is_clean in [true, false] {
        let place = tempfile::tempdir().unwrap();
        write(place.path());
        let log = Log::open(OpenLog {
            is_clean,
            high_watermark: i64::MAX,
            ..how(place.path(), small(), Disk::new())
        })
        .unwrap();
        assert_eq!((log.start(), log.end()), (0, 41));
        // They name no leader epoch; the file does.
        let epochs = log.epochs().entries().iter();
        let epochs: Vec<_> = epochs.map(|it| (it.epoch, it.start_offset)).collect();
        assert_eq!(epochs, [(0, 0), (3, 20), (4, 40)], "{is_clean}");
        let view = log.view();
        assert!(fetch(&view, 0) == relics());
        // Of a packed message all is sent, whichever record was asked for.
        let packed = fetch(&view, 23);
        assert_eq!(peek(&packed).unwrap().unwrap().offset, 24);
        assert!(fetch(&view, 20) == packed && relics().ends_with(&packed));
        let at = |timestamp| {
            let found = view.find_offset(OffsetQuery::At(timestamp), Isolation::LogEnd);
            found
                .unwrap()
                .map(|found| (found.timestamp - NOW, found.offset))
        };
        // Magic 0 has no times: the next one that has.
        assert_eq!(at(NOW + 2 * SECOND), Some((3 * SECOND, 3)));
        assert_eq!(at(NOW + 29 * SECOND), Some((29 * SECOND, 27)));
        assert_eq!(at(NOW + 29 * SECOND + 1), Some((29 * SECOND + 9, 28)));
        assert_eq!(at(NOW + 29 * SECOND + 10), Some((50 * SECOND, 40)));
        let newest = view.find_offset(OffsetQuery::MaxTimestamp, Isolation::LogEnd);
        assert_eq!(newest.unwrap().unwrap().offset, 40);
        let indexes = files_ending(place.path(), "index");
        assert!(
            indexes.values().all(|index| !index.is_empty()),
            "{indexes:?}"
        );
    }
}

#[test]
fn a_message_with_a_broken_checksum_ends_the_log() {
    let place = tempfile::tempdir().unwrap();
    let mut bytes = relics();
    bytes[30] ^= 1;
    fs::write(place.path().join("00000000000000000000.log"), bytes).unwrap();
    assert_eq!(open(place.path(), small()).end(), 1);
}

#[test]
fn compaction_keeps_the_newest_of_each_key_and_makes_batches_of_them() {
    let place = tempfile::tempdir().unwrap();
    write(place.path());
    let config = LogConfig {
        cleanup_compact: true,
        ..small()
    };
    let mut log = open(place.path(), config);
    let before = records(&fetch(&log.view(), 0));
    assert_eq!(before.len(), 30);
    log.roll(NOW).unwrap();
    append(&mut log, &keyed()).unwrap();
    let owner = Owner::of(log);
    let outcome = clean(&owner, 0, NOW).unwrap();
    assert!(
        matches!(outcome, Outcome::Done(ref done) if done.end == 41),
        "{outcome:?}"
    );
    let log = owner.take();
    let bytes = fetch(&log.view(), 0);
    let mut at = 0;
    while let Ok(batch) = Batch::parse(&bytes[at..]) {
        batch.verify_crc().unwrap();
        at += batch.size();
    }
    assert_eq!(at, bytes.len(), "all of magic 2");
    let mut expected: BTreeMap<String, (i64, String)> = BTreeMap::new();
    for (offset, (key, value)) in before {
        expected.insert(key, (offset, value));
    }
    let after: BTreeMap<String, (i64, String)> = records(&bytes)
        .into_iter()
        .map(|(offset, (key, value))| (key, (offset, value)))
        .collect();
    assert_eq!(after, expected);
    assert_eq!(records(&bytes).len(), expected.len());
}

fn keyed() -> bytes::Bytes {
    let mut batch = BatchBuilder::data(Codec::None);
    batch.push(NOW, Some(b"k"), Some(b"v"));
    batch.finish()
}
