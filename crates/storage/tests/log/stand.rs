//! A log in a directory of its own, and batches to put in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_protocol::TopicPartition;
use ottla_protocol::batch::batches;
use ottla_protocol::batch_builder::BatchBuilder;
use ottla_protocol::compress::Codec;
use ottla_storage::producer::{Appender, TransactionVersion, Verified};
use ottla_storage::validate::{Origin, check};
use ottla_storage::{
    AbortedTransaction, AppendOutcome, Disk, FetchSlice, Isolation, LeaderAppend, Log, LogConfig,
    LogView, NoEvents, NotDone, OpenLog, ReadFrom,
};

pub(crate) const NOW: i64 = 1_700_000_000_000;

/// Small segments with many index entries.
pub(crate) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 200,
        ..LogConfig::default()
    }
}

pub(crate) fn how(directory: &Path, config: LogConfig, disk: Disk) -> OpenLog {
    OpenLog {
        disk,
        directory: directory.to_owned(),
        partition: TopicPartition::new("orders", 0),
        config,
        recovery_point: 0,
        is_point_ours: true,
        start: 0,
        high_watermark: 0,
        is_clean: false,
        now_ms: NOW,
        events: Arc::new(NoEvents),
    }
}

pub(crate) fn open(directory: &Path, config: LogConfig) -> Log {
    fs::create_dir_all(directory).unwrap();
    Log::open(how(directory, config, Disk::new())).unwrap()
}

pub(crate) fn open_clean(directory: &Path, config: LogConfig) -> Log {
    Log::open(OpenLog {
        is_clean: true,
        ..how(directory, config, Disk::new())
    })
    .unwrap()
}

/// Records whose values say which they are, one millisecond apart.
pub(crate) fn records(first: i64, n: i64) -> Bytes {
    records_with(BatchBuilder::data(Codec::None), first, n)
}

pub(crate) fn records_with(mut builder: BatchBuilder, first: i64, n: i64) -> Bytes {
    for i in first..first + n {
        let value = format!("record {i:08} {}", "x".repeat(20));
        builder.push(NOW + i, None, Some(value.as_bytes()));
    }
    builder.finish()
}

pub(crate) fn append(log: &mut Log, batch: &Bytes) -> Result<AppendOutcome, NotDone> {
    append_in(log, batch, 0, Appender::Client)
}

pub(crate) fn append_in(
    log: &mut Log,
    batch: &Bytes,
    leader_epoch: i32,
    appender: Appender,
) -> Result<AppendOutcome, NotDone> {
    let origin = match appender {
        Appender::Client => Origin::Client { may_use_zstd: true },
        Appender::Coordinator => Origin::Coordinator,
    };
    let checked = check(batch, origin, &log.config().rules(), NOW).unwrap();
    let transaction_version = TransactionVersion::SameEpoch;
    let append = LeaderAppend {
        leader_epoch,
        appender,
        transaction_version,
        verified: Verified::NotAsked,
        now_ms: NOW,
    };
    log.append_as_leader(batch, &checked, append)
}

/// Appends batches of three records until the log ends at `end` (a multiple of three).
pub(crate) fn fill(log: &mut Log, end: i64) {
    while log.end() < end {
        append(log, &records(log.end(), 3)).unwrap();
    }
}

/// Moves the recovery point to the end.
pub(crate) fn settle(log: &mut Log) {
    if let Some(target) = log.recovery_plan().unwrap() {
        target.sync().unwrap();
        log.flushed_to(&target);
    }
    assert_eq!(log.recovery_point(), log.end());
}

pub(crate) fn bytes_of(slice: &FetchSlice) -> Vec<u8> {
    let mut bytes = vec![0; slice.length];
    slice
        .file()
        .read_exact_at(&mut bytes, slice.position)
        .unwrap();
    bytes
}

/// Offsets and values of all records from `start` to the bound.
pub(crate) fn read_all(view: &LogView, isolation: Isolation) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut offset = view.start();
    loop {
        let from = ReadFrom {
            offset,
            isolation,
            max_bytes: usize::MAX,
            at_least_one: true,
            with_aborted: false,
        };
        let Some(slice) = view.read(from).unwrap().slice else {
            return found;
        };
        let bytes = bytes_of(&slice);
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.verify_crc().unwrap();
            offset = batch.next_offset();
            if batch.is_control() {
                continue;
            }
            for record in batch.payload(1 << 20).unwrap().records() {
                let record = record.unwrap();
                if record.offset >= view.start() {
                    let value = String::from_utf8_lossy(record.value.unwrap()).into_owned();
                    found.push((record.offset, value));
                }
            }
        }
    }
}

/// The transactions that a reader of the whole log is told to skip.
pub(crate) fn aborted(log: &Log, isolation: Isolation) -> Vec<AbortedTransaction> {
    let from = ReadFrom {
        offset: log.start(),
        isolation,
        max_bytes: usize::MAX,
        at_least_one: true,
        with_aborted: true,
    };
    log.view().read(from).unwrap().aborted
}

/// The log holds the records `[start, end)`, each where it was put.
pub(crate) fn assert_holds(log: &Log, start: i64, end: i64) {
    assert_eq!((log.start(), log.end()), (start, end));
    let found = read_all(&log.view(), Isolation::LogEnd);
    let offsets: Vec<i64> = found.iter().map(|(offset, _)| *offset).collect();
    assert_eq!(offsets, (start..end).collect::<Vec<_>>());
    for (offset, value) in found {
        assert!(
            value.starts_with(&format!("record {offset:08}")),
            "{offset}: {value}"
        );
    }
}

/// The contents of all files of a directory, by name.
pub(crate) fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

/// Only the files with this ending.
pub(crate) fn files_ending(directory: &Path, ending: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(directory);
    files.retain(|name, _| name.ends_with(ending));
    files
}

pub(crate) fn copy_directory(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for (name, bytes) in files(source) {
        fs::write(target.join(name), bytes).unwrap();
    }
}

/// The newest file with this ending.
pub(crate) fn last_file(directory: &Path, ending: &str) -> PathBuf {
    let (name, _) = files_ending(directory, ending).pop_last().unwrap();
    directory.join(name)
}
