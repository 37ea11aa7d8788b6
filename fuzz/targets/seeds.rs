//! First inputs for the targets: every message filled, batches of every codec, small logs.
//! `seeds FOLDER` writes `FOLDER/request`, `FOLDER/batch` and `FOLDER/directory`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ottla_fuzz::directory::{NAMES, place, seed};
use ottla_protocol::batch::legacy::written::{message, packed};
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_protocol::field::write_body;
use ottla_protocol::frame;
use ottla_protocol::header::RequestHeader;
use ottla_protocol::messages::*;
use ottla_protocol::testing::{Sample, Sampler};
use ottla_protocol::{TopicPartition, Versioned};
use ottla_storage::producer::{Appender, TransactionVersion, Verified};
use ottla_storage::validate::{Origin, check};
use ottla_storage::{Disk, LeaderAppend, Log, LogConfig, NoEvents, OpenLog};

#[path = "../../crates/protocol/tests/every/mod.rs"]
mod every;

const RESPONSES_FROM: i16 = 0x4000;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).expect("seeds FOLDER"));
    requests(&folder.join("request"))?;
    batches(&folder.join("batch"))?;
    directories(&folder.join("directory"))
}

fn requests(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    macro_rules! one {
        ($message:ident) => {
            for version in $message::VERSIONS.0..=$message::VERSIONS.1 {
                let name = format!("{}-{version}", $message::NAME);
                if $message::NAME.ends_with("Request") {
                    std::fs::write(folder.join(name), request::<$message>(version))?;
                } else if $message::NAME.ends_with("Response") {
                    std::fs::write(folder.join(name), response::<$message>(version))?;
                }
            }
        };
    }
    every_message!(one);
    Ok(())
}

fn request<M: Versioned + Sample>(version: i16) -> Bytes {
    framed::<M>(version, M::KEY, true)
}

/// As the target reads it: the start of a request, then the response.
fn response<M: Versioned + Sample>(version: i16) -> Bytes {
    framed::<M>(version, M::KEY + RESPONSES_FROM, false)
}

fn framed<M: Versioned + Sample>(version: i16, api_key: i16, with_client: bool) -> Bytes {
    let mut writer = frame::open();
    if with_client {
        let client_id = Some("seed".into());
        let header = RequestHeader {
            api_key,
            api_version: version,
            correlation_id: 1,
            client_id,
        };
        header
            .encode(&mut writer, M::version(version).flexible)
            .expect("a header");
    } else {
        writer.i16(api_key);
        writer.i16(version);
        writer.i32(1);
    }
    let message = M::sample(&mut Sampler::full(1), M::version(version));
    write_body(&message, version, &mut writer).expect("a filled message");
    frame::close(writer).expect("a seed is small")
}

fn batches(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::data(codec).producer(7, 1, 3);
        builder.push(1_000, Some(b"key"), Some(&[b'v'; 100]));
        builder.push(1_001, None, None);
        let header: [(&[u8], Option<&[u8]>); 2] = [(b"a", Some(b"1")), (b"a", None)];
        builder.push_with_headers(999, Some(b""), Some(b"value"), &header);
        let batch = builder.finish();
        std::fs::write(folder.join(codec.name()), &batch)?;
        std::fs::write(
            folder.join(format!("{}-twice", codec.name())),
            [&batch[..], &batch].concat(),
        )?;
    }
    Ok(())
}

const NOW: i64 = 1_700_000_000_000;

/// Two segments of a producer in transactions, one of them aborted; with each set of flags.
fn directories(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let place = place();
    let directory = place.join(NAMES.log);
    for codec in [Codec::None, Codec::Lz4] {
        let _ = std::fs::remove_dir_all(&directory);
        fill(&directory, codec);
        let mut files = Vec::new();
        for (number, name) in (0..).zip(NAMES.of_log) {
            if let Ok(contents) = std::fs::read(directory.join(name)) {
                files.push((number, contents));
            }
        }
        let n_names = NAMES.of_log.len() as u8;
        for (number, _) in (n_names..).zip(NAMES.checkpoints) {
            files.push((number, b"0\n1\nt 0 4\n".to_vec()));
        }
        let slices = |files: &[(u8, Vec<u8>)]| -> Vec<u8> {
            let slices: Vec<(u8, &[u8])> = files.iter().map(|(n, f)| (*n, &f[..])).collect();
            seed(0, &slices)
        };
        let n_of_log = files.len() - NAMES.checkpoints.len();
        for flags in 0..8 {
            let mut all = slices(&files);
            all[0] = flags;
            std::fs::write(folder.join(format!("{}-{flags}", codec.name())), all)?;
            let mut log = slices(&files[..n_of_log]);
            log[0] = flags;
            std::fs::write(folder.join(format!("{}-log-{flags}", codec.name())), log)?;
        }
    }
    for flags in 0..8 {
        let log = messages();
        let far = seed(flags, &[(0, &log), (4, &[])]);
        std::fs::write(folder.join(format!("messages-{flags}")), far)?;
    }
    std::fs::remove_dir_all(place)
}

/// Of magic 0 and 1, packed and not, the last one further away than an index can say.
fn messages() -> Vec<u8> {
    let mut all = Vec::new();
    for (magic, codec, last) in [
        (0, Codec::Gzip, 3),
        (1, Codec::Lz4, 9),
        (1, Codec::Snappy, 1 << 32),
    ] {
        all.extend(message(
            magic,
            0,
            (last - 3, NOW),
            Some(b"key"),
            Some(b"value"),
        ));
        let offset = if magic == 0 { last } else { 0 };
        let inner = message(magic, 0, (offset, NOW), Some(b"key"), None);
        all.extend(packed(magic, codec, (last, NOW), &inner));
    }
    all
}

fn fill(directory: &Path, codec: Codec) {
    let how = OpenLog {
        disk: Disk::new(),
        directory: directory.to_owned(),
        partition: TopicPartition::new("t", 0),
        config: LogConfig {
            segment_bytes: 240,
            index_interval_bytes: 50,
            ..LogConfig::default()
        },
        recovery_point: 0,
        is_point_ours: true,
        start: 0,
        high_watermark: 0,
        is_clean: true,
        now_ms: NOW,
        events: Arc::new(NoEvents),
    };
    let id = ottla_protocol::Uuid::from_u128(77);
    let mut log = Log::create(how, Some(id)).expect("a log");
    // Four offsets in the first segment, three in the second.
    let records = |builder: BatchBuilder| {
        let mut batch = builder;
        batch.push(NOW, Some(b"key"), Some(b"value"));
        batch.push(NOW + 1, Some(b"other"), None);
        batch.finish()
    };
    let producer = BatchBuilder::data(codec).producer(7, 0, 0).transactional();
    append(&mut log, records(producer), 0, Appender::Client);
    append(
        &mut log,
        records(BatchBuilder::data(codec)),
        0,
        Appender::Client,
    );
    let marker = EndMarker {
        is_commit: false,
        coordinator_epoch: 0,
    };
    append(&mut log, marker.batch(7, 0, NOW), 0, Appender::Coordinator);
    append(
        &mut log,
        records(BatchBuilder::data(codec)),
        1,
        Appender::Client,
    );
    assert_eq!((log.end(), log.n_segments()), (7, 2));
    log.close().expect("it closes");
}

fn append(log: &mut Log, batch: Bytes, leader_epoch: i32, appender: Appender) {
    let origin = match appender {
        Appender::Client => Origin::Client { may_use_zstd: true },
        Appender::Coordinator => Origin::Coordinator,
    };
    let checked = check(&batch, origin, &log.config().rules(), NOW).expect("a good batch");
    let how = LeaderAppend {
        leader_epoch,
        appender,
        transaction_version: TransactionVersion::SameEpoch,
        verified: Verified::NotAsked,
        now_ms: NOW,
    };
    log.append_as_leader(&batch, &checked, how)
        .expect("it fits");
}
