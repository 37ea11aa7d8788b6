//! Directories that a real Kafka wrote: opened, left unchanged, rebuilt to the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_protocol::batch::batches;
use ottla_protocol::{TopicPartition, Uuid};
use ottla_storage::{
    Directories, Disk, Isolation, LoadedLogs, Log, LogConfig, MetadataSnapshots, NoEvents,
    OpenDirectories, OpenLog, ReadFrom,
};

use crate::stand::*;

const TOPICS: [(&str, i64, i64); 6] = [
    ("gzip", 0, 120),
    ("lz4", 0, 120),
    ("none", 5, 120),
    ("snappy", 0, 120),
    ("txn", 0, 218),
    ("zstd", 0, 120),
];

fn testdata(which: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/kafka-4.3.1")
        .join(which)
}

/// What the topics were made with.
fn config() -> LogConfig {
    LogConfig {
        segment_ms: 400,
        index_interval_bytes: 300,
        retention_ms: -1,
        ..LogConfig::default()
    }
}

fn copy(which: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    copy_directory(&testdata(which), place.path());
    for (topic, _, _) in TOPICS.iter().copied().chain([("__cluster_metadata", 0, 0)]) {
        let name = format!("{topic}-0");
        copy_directory(&testdata(which).join(&name), &place.path().join(&name));
    }
    place
}

fn load(place: &Path) -> (Directories, LoadedLogs) {
    let directories = Directories::open(OpenDirectories {
        disk: Disk::new(),
        paths: vec![place.to_owned()],
        metadata_path: place.to_owned(),
        node_id: 0,
        events: Arc::new(NoEvents),
    })
    .unwrap();
    let mut loaded = directories.load(&|_| config(), 2, NOW_THEN).unwrap();
    loaded
        .logs
        .sort_by(|a, b| a.log.partition().cmp(b.log.partition()));
    (directories, loaded)
}

/// When the directories were written, so that no producer has expired.
const NOW_THEN: i64 = 1_795_252_000_000;

fn count(log: &Log) -> usize {
    let view = log.view();
    let mut n = 0;
    let mut offset = view.start();
    while offset < view.end() {
        let from = ReadFrom {
            offset,
            isolation: Isolation::LogEnd,
            max_bytes: usize::MAX,
            at_least_one: true,
            with_aborted: false,
        };
        for batch in batches(&bytes_of(&view.read(from).unwrap().slice.unwrap())) {
            let batch = batch.unwrap();
            offset = batch.next_offset();
            if !batch.is_control() {
                n += batch
                    .payload(1 << 20)
                    .unwrap()
                    .records()
                    .map(Result::unwrap)
                    .count();
            }
        }
    }
    n
}

#[test]
fn a_clean_directory_is_served_and_left_as_it_is() {
    let place = copy("clean");
    let before: Vec<_> = TOPICS
        .iter()
        .map(|(topic, ..)| files(&place.path().join(format!("{topic}-0"))))
        .collect();
    let (directories, loaded) = load(place.path());
    assert_eq!(directories.cluster_id(), "MkU3OEVBNTcwNTJENDM2Qg");
    assert_eq!(loaded.previous_broker_epoch, Some(15));
    assert_eq!(directories.metadata().n_logs(), 6);
    let mut closed = Vec::new();
    for (found, (topic, start, end)) in loaded.logs.into_iter().zip(TOPICS) {
        let log = found.log;
        assert_eq!(log.partition(), &TopicPartition::new(topic, 0));
        assert!(log.topic_id().is_some());
        assert_eq!(
            (log.start(), log.high_watermark(), log.end()),
            (start, end, end),
            "{topic}"
        );
        assert_eq!((log.last_stable(), log.flushed()), (end, end), "{topic}");
        assert_eq!(log.epochs().latest_epoch(), Some(0));
        assert_eq!(log.flush_plan().unwrap().map(|plan| plan.up_to()), None);
        // Batch aligned: the batch that holds the start is read as a whole.
        let n_markers = if topic == "txn" { 7 } else { 0 };
        assert!(
            count(&log) as i64 >= end - start - n_markers,
            "{topic}: {}",
            count(&log)
        );
        let partition = log.partition().clone();
        closed.push((partition, log.close().unwrap()));
    }
    let after: Vec<_> = TOPICS
        .iter()
        .map(|(topic, ..)| files(&place.path().join(format!("{topic}-0"))))
        .collect();
    assert!(before == after, "opening and closing changed files");
    // The same checkpoints too, as far as the directories are here.
    directories.metadata().write_closed(&closed).unwrap();
    let starts = fs::read_to_string(place.path().join("log-start-offset-checkpoint")).unwrap();
    assert_eq!(starts, "0\n1\nnone 0 5\n");
    let high = fs::read_to_string(place.path().join("replication-offset-checkpoint")).unwrap();
    assert_eq!(
        high,
        "0\n6\ngzip 0 120\nlz4 0 120\nnone 0 120\nsnappy 0 120\ntxn 0 218\nzstd 0 120\n"
    );
}

#[test]
fn a_crashed_directory_is_recovered() {
    let place = copy("running");
    let (_directories, loaded) = load(place.path());
    assert_eq!(loaded.previous_broker_epoch, None);
    for (found, (topic, start, end)) in loaded.logs.into_iter().zip(TOPICS) {
        let log = found.log;
        // The start was raised to 5, and that is checkpointed once a minute.
        assert!(start <= 5 && log.start() == 0);
        assert_eq!(log.end(), end, "{topic}");
        drop(log);
        // What the shutdown in order made of the same segments, recovery does.
        for (name, bytes) in files(&testdata("clean").join(format!("{topic}-0"))) {
            if topic == "none" && name == "leader-epoch-checkpoint" {
                continue;
            }
            let ours = fs::read(place.path().join(format!("{topic}-0")).join(&name)).unwrap();
            assert!(ours == bytes, "{topic}: {name} differs");
        }
    }
}

#[test]
fn indexes_and_snapshots_are_rebuilt_to_the_same_bytes() {
    for (topic, start, end) in TOPICS {
        let theirs = testdata("clean").join(format!("{topic}-0"));
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in files(&theirs) {
            if name.ends_with(".log") || name == "partition.metadata" {
                fs::write(place.path().join(name), bytes).unwrap();
            }
        }
        let how = OpenLog {
            now_ms: NOW_THEN,
            start,
            ..how(place.path(), config(), Disk::new())
        };
        let mut log = Log::open(how).unwrap();
        assert_eq!(log.end(), end);
        settle(&mut log);
        for (name, bytes) in files(&theirs) {
            let ours = fs::read(place.path().join(&name)).unwrap();
            assert!(ours == bytes, "{topic}: {name} differs");
        }
    }
}

#[test]
fn the_same_batches_make_the_same_files() {
    for (topic, start, end) in TOPICS {
        let theirs = testdata("clean").join(format!("{topic}-0"));
        let place = tempfile::tempdir().unwrap();
        let how = OpenLog {
            now_ms: NOW_THEN,
            ..how(place.path(), config(), Disk::new())
        };
        let mut log = Log::create(how, None).unwrap();
        for bytes in files_ending(&theirs, ".log").into_values() {
            for batch in batches(&bytes) {
                let batch = batch.unwrap();
                log.append_as_follower(batch.bytes(), 0, NOW_THEN)
                    .unwrap()
                    .unwrap();
                // Followers hear of the high watermark with the next fetch.
                log.set_high_watermark(log.end());
            }
        }
        assert_eq!(log.end(), end);
        log.raise_start(start).unwrap();
        log.close().unwrap();
        let names = |directory: &Path| -> Vec<String> {
            let mut names: Vec<String> = files(directory).into_keys().collect();
            names.retain(|name| name != "partition.metadata");
            names
        };
        assert_eq!(names(place.path()), names(&theirs), "{topic}");
        for (name, bytes) in files(&theirs) {
            if name == "partition.metadata" {
                continue;
            }
            let ours = fs::read(place.path().join(&name)).unwrap();
            assert!(ours == bytes, "{topic}: {name} differs");
        }
    }
}

#[test]
fn the_metadata_log_and_its_snapshot_are_read() {
    for which in ["clean", "running"] {
        let place = copy(which);
        let (directories, _loaded) = load(place.path());
        let config = LogConfig::metadata(1 << 30, i64::MAX);
        let log = directories.open_metadata_log(config, NOW_THEN).unwrap();
        assert_eq!(log.topic_id(), Some(Uuid::METADATA_TOPIC));
        assert_eq!(log.start(), 0);
        assert!(log.end() > 100, "it ends at {}", log.end());
        let snapshots = MetadataSnapshots::open(Disk::new(), log.directory().to_owned()).unwrap();
        let id = snapshots.latest().unwrap();
        assert_eq!((id.end_offset, id.epoch), (0, 0));
        let bytes = snapshots.read(id).unwrap();
        assert!(batches(&bytes).all(|batch| batch.unwrap().verify_crc().is_ok()));
        assert!(
            MetadataSnapshots::read_bootstrap(&Disk::new(), place.path())
                .unwrap()
                .is_some()
        );
    }
}
